package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

// TestMain lets the test binary be an instance too, as the program is: a shop of
// processes starts it again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == instanceCommand {
		if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func TestARealSecondIsFourMinutes(t *testing.T) {
	c := clock{began: time.Unix(1000, 0), start: start, compression: 240}
	for _, test := range []struct {
		real time.Duration
		want time.Duration
	}{
		{0, 0},
		{250 * time.Millisecond, time.Minute},
		{time.Second, 4 * time.Minute},
		{360 * time.Second, 24 * time.Hour},
		{-time.Second, -4 * time.Minute},
	} {
		real := c.began.Add(test.real)
		if got := c.offset(real); got != test.want {
			t.Errorf("after %v the recording is at %v: want %v", test.real, got, test.want)
		}
		if got := c.stretched(real); !got.Equal(start.Add(test.want)) {
			t.Errorf("after %v it is %v in the recording: want %v", test.real, got, start.Add(test.want))
		}
		if got := c.real(test.want); got != test.real {
			t.Errorf("%v of the recording take %v: want %v", test.want, got, test.real)
		}
	}
	// A millisecond is 0.24 s of the recording, which knows whole seconds.
	for ms, want := range map[int]int{1: 0, 2: 0, 3: 1, 4: 1, 7: 2} {
		at := c.stretched(c.began.Add(time.Duration(ms) * time.Millisecond))
		if got := at.Sub(start); got != time.Duration(want)*time.Second {
			t.Errorf("after %d ms the recording is at %v: want %d s", ms, got, want)
		}
	}
}

// sketch is a body that only knows what it was told.
type sketch struct{ told settings }

func (b *sketch) addresses() (api, scrape string) { return "127.0.0.1:1", "127.0.0.1:2" }
func (b *sketch) end() []late                     { return nil }
func (b *sketch) tell(s settings) error {
	b.told = s
	return nil
}

// sketchedShop is a shop without processes, for made time.
func sketchedShop(t *testing.T) *shop {
	t.Helper()
	s := newShop(func(spec) (body, error) { return &sketch{}, nil })
	s.fail = func(err error) { t.Error(err) }
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	s.clock = clock{began: time.Now(), start: start, compression: usualCompression}
	return s
}

// told is what the process of a pod was told, if one runs.
func told(p *pod) (s settings, runs bool) {
	p.changing.Lock()
	defer p.changing.Unlock()
	b, runs := p.body.(*sketch)
	if runs {
		s = b.told
	}
	return s, runs
}

// unusual says what is not as usual, in a word each.
func (s *shop) unusual() []string {
	found := map[string]bool{}
	for service, all := range s.pods {
		for _, p := range all {
			c, runs := told(p)
			if !runs {
				found[service+" gone"] = true
			}
			for word, is := range map[string]bool{
				"slow":   c.Slower > 1,
				"fails":  c.Fails > 0,
				"silent": c.Mute,
				"leaks":  c.Kept > 0,
				"pool":   c.Workers > 0,
				"v2":     p.version() == "v2",
			} {
				if is {
					found[service+" "+word] = true
				}
			}
		}
	}
	s.weather.Lock()
	defer s.weather.Unlock()
	if s.crowd != 1 {
		found["crowd"] = true
	}
	if s.extra != 0 {
		found["job"] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// signs are what a kind of event must be seen by.
func signs(e event) []string {
	switch e.kind {
	case scorecard.Latency, noisyNeighbour:
		return []string{e.service + " slow"}
	case scorecard.Errors:
		return []string{e.service + " fails"}
	case scorecard.Instance:
		return []string{e.service + " fails", e.service + " slow"}
	case scorecard.Deploy:
		return []string{e.service + " fails", e.service + " slow", e.service + " v2"}
	case scorecard.Silence:
		return []string{e.service + " silent"}
	case restart:
		return []string{e.service + " gone"}
	case scorecard.Saturation:
		return []string{e.service + " pool"}
	case scorecard.Leak:
		return []string{e.service + " leaks"}
	case scorecard.Surge, scorecard.Drop:
		return []string{"crowd"}
	case batchJob:
		return []string{"job"}
	}
	return nil
}

// rollback is how long after its end an event may still be seen.
func rollback(e event) time.Duration {
	if e.kind == scorecard.Deploy {
		return time.Duration(instances[e.service]-1) * rolloutStep
	}
	return 0
}

// TestTheTruthIsWhatIsDone lives through whole schedules, in made time: while an
// event lasts its signs are seen, all of them and nothing else, and when none
// lasts the shop is as usual.
func TestTheTruthIsWhatIsDone(t *testing.T) {
	for _, name := range scenarioNames() {
		for seed := range uint64(3) {
			synctest.Test(t, func(t *testing.T) {
				p, err := schedule(name, seed)
				if err != nil {
					t.Fatal(err)
				}
				s := sketchedShop(t)
				var live sync.WaitGroup
				live.Go(func() { s.live(t.Context(), p.events) })
				expect := func(at time.Duration, want []string) {
					t.Helper()
					if !s.until(t.Context(), at) {
						t.Fatal("the test was ended")
					}
					synctest.Wait()
					if got := s.unusual(); !slices.Equal(got, want) {
						t.Errorf("%s, seed %d, after %v: unusual is %q: want %q", name, seed, at, got, want)
					}
				}
				for _, e := range p.events {
					expect(e.from-time.Minute, nil)
					expect(e.from+time.Second, signs(e))
					expect(e.to-time.Second, signs(e))
					expect(e.to+rollback(e)+time.Second, nil)
				}
				live.Wait()
			})
		}
	}
}

// TestADeployGoesFromInstanceToInstance holds the steps of a rollout.
func TestADeployGoesFromInstanceToInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sketchedShop(t)
		var live sync.WaitGroup
		deploy := event{kind: scorecard.Deploy, service: payment, instance: -1, from: time.Hour, to: 2 * time.Hour, size: 2}
		live.Go(func() { s.live(t.Context(), []event{deploy}) })
		for _, test := range []struct {
			at  time.Duration
			new int
		}{
			{59 * time.Minute, 0},
			{61 * time.Minute, 1},
			{64 * time.Minute, 2},
			{67 * time.Minute, 3},
			{119 * time.Minute, 3},
			{121 * time.Minute, 2},
			{124 * time.Minute, 1},
			{127 * time.Minute, 0},
		} {
			s.until(t.Context(), test.at)
			synctest.Wait()
			n := 0
			for _, p := range s.pods[payment] {
				if c, _ := told(p); p.version() == "v2" && c.Slower == 2 {
					n++
				}
			}
			if n != test.new {
				t.Errorf("after %v %d instances are new: want %d", test.at, n, test.new)
			}
		}
		live.Wait()
	})
}

func TestALeakIsAsLargeAsItsWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sketchedShop(t)
		leak := event{kind: scorecard.Leak, service: cart, instance: 1, from: time.Hour, to: 7 * time.Hour, size: 3}
		var live sync.WaitGroup
		live.Go(func() { s.live(t.Context(), []event{leak}) })
		s.until(t.Context(), leak.to-time.Second)
		synctest.Wait()
		kept := func(n int) int64 {
			c, _ := told(s.pods[cart][n])
			return c.Kept
		}
		if got := float64(kept(1)) / (1 << 20); got < 17.9 || got > 18.1 {
			t.Errorf("after six hours of 3 MiB an hour %.2f MiB are leaked: want 18", got)
		}
		if got := kept(0); got != 0 {
			t.Errorf("the other instance leaked %d bytes", got)
		}
		live.Wait()
		if got := kept(1); got != 0 {
			t.Errorf("after the restart %d bytes are leaked", got)
		}
	})
}

func TestWhatIsDoneEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sketchedShop(t)
		ctx, cancel := context.WithCancel(t.Context())
		var live sync.WaitGroup
		live.Go(func() {
			s.live(ctx, []event{
				{kind: scorecard.Leak, service: payment, instance: 0, from: time.Minute, to: 9 * time.Hour, size: 3},
				{kind: scorecard.Saturation, service: cart, instance: -1, from: time.Hour, to: 9 * time.Hour, size: 2},
			})
		})
		s.until(ctx, 2*time.Hour)
		cancel()
		live.Wait() // hangs, and so fails, if one of them does not hear it
	})
}

// TestAPoolLosesWorkersAndGetsThemBack shrinks a pool under load.
func TestAPoolLosesWorkersAndGetsThemBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInstance(spec{Service: payment, Version: "v1", Work: 25 * time.Millisecond, Pool: 32})
		var customers sync.WaitGroup
		var most int
		come := func(n int, want error) {
			t.Helper()
			for range n {
				customers.Go(func() {
					if err := in.answer(t.Context()); errors.Is(err, errBusy) != (want == errBusy) {
						t.Errorf("a request ended with %v: want %v", err, want)
					}
				})
			}
			synctest.Wait()
			most = int(in.busy.Load())
		}
		come(32, nil) // all workers are busy, and still lost one by one
		var shrunk sync.WaitGroup
		shrunk.Go(func() { in.shrink(t.Context(), 2) })
		customers.Wait()
		shrunk.Wait()
		if got := in.pool - len(in.lost); got != 2 || len(in.working) != 2 {
			t.Errorf("%d workers are left and %d free: want 2", got, len(in.working))
		}
		come(10, nil)
		if most != 2 {
			t.Errorf("%d of 2 workers work", most)
		}
		if got := in.waiting.Load(); got != 8 {
			t.Errorf("%d requests wait: want 8", got)
		}
		customers.Wait()
		in.shrink(t.Context(), in.pool)
		if len(in.working) != 32 || len(in.lost) != 0 || in.busy.Load() != 0 || in.waiting.Load() != 0 {
			t.Errorf("afterwards %d are free, %d lost, %d busy and %d wait: want 32, 0, 0 and 0",
				len(in.working), len(in.lost), in.busy.Load(), in.waiting.Load())
		}
		in.state.Store(&settings{Slower: 1000})
		come(32, nil)
		come(1, errBusy) // nobody has time for it in two seconds
		customers.Wait()
	})
}

// TestTwoShrinksOfAPoolDoNotFight ends one before the other has all it wants.
func TestTwoShrinksOfAPoolDoNotFight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInstance(spec{Service: payment, Version: "v1", Work: 25 * time.Millisecond, Pool: 32})
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { _ = in.answer(t.Context()) })
		}
		synctest.Wait() // all workers are busy
		all.Go(func() { in.shrink(t.Context(), 2) })
		synctest.Wait() // and it waits for them
		all.Go(func() { in.shrink(t.Context(), in.pool) })
		all.Wait()
		if len(in.working) != 32 || len(in.lost) != 0 {
			t.Errorf("%d workers are free and %d lost: want 32 and 0", len(in.working), len(in.lost))
		}
	})
}

// TestADayHasItsCustomers holds the shape of the day: never none, and what one
// hears of as the usual number is the mean.
func TestADayHasItsCustomers(t *testing.T) {
	sum, least, most := 0.0, rate(0), rate(0)
	for m := range 24 * 60 {
		v := rate(time.Duration(m) * time.Minute)
		sum, least, most = sum+v, min(least, v), max(most, v)
	}
	if mean := sum / (24 * 60); mean < usualCustomers-1 || mean > usualCustomers+1 {
		t.Errorf("%.1f customers a second come on the average: want %d", mean, usualCustomers)
	}
	if least < 80 || most > 600 {
		t.Errorf("from %.0f to %.0f customers a second come: want 80 to 600", least, most)
	}
}
