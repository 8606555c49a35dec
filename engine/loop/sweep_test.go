package loop

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/homeostat/homeostat/engine"
)

// A sweep stores every page that was dirty when it began, evenly over
// SweepEvery of the ticks, a bounded number of bytes at a time, and ends with
// the settle record; then the next begins.
func TestSweepTakesItsTime(t *testing.T) {
	const every = 10 * time.Minute
	var j memory
	e := newEngine(t, 2)
	l := New(Config{SweepEvery: every}, e, &j)
	fleet := gauges(300)
	rng := rand.New(rand.NewPCG(1, 1))
	if err := live(l, func(ctx context.Context) {
		send := func(ev engine.Event) {
			t.Helper()
			if err := l.Send(ctx, ev); err != nil {
				t.Fatal(err)
			}
		}
		send(calm(fleet, start, rng))
		var dirty int
		if err := l.Query(ctx, func(e *engine.Engine) { dirty = len(e.DirtyPages()) }); err != nil {
			t.Fatal(err)
		}
		if dirty < 50 {
			t.Fatalf("%d pages dirty, too few to see the pace", dirty)
		}
		// The sweep begins after the first tick's round; a query follows the
		// steps that its tick led to.
		begin := int64(start + 1000)
		for s := int64(0); s <= int64(every/time.Second); s++ {
			send(engine.Tick{Now: begin + s*1000})
			if err := l.Query(ctx, func(*engine.Engine) {}); err != nil {
				t.Fatal(err)
			}
			if s == int64(every/time.Second) {
				break
			}
			share := float64(s) / every.Seconds()
			if got, want := int(l.Stats().Pages), int(share*float64(dirty)); got < want-1 || got > want+1 {
				t.Fatalf("%d of %d pages stored after %d s, want about %d", got, dirty, s, want)
			}
		}
		// The last step follows its round; one more round is behind it for sure.
		send(engine.Tick{Now: begin + every.Milliseconds() + 1})
		s := l.Stats()
		if int(s.Pages) != dirty || s.Sweeps != 1 || s.SweptAt < begin+every.Milliseconds() {
			t.Errorf("%d of %d pages stored, %d sweeps completed at %d", s.Pages, dirty, s.Sweeps, s.SweptAt)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if j.early != 0 {
		t.Errorf("%d pages or settle records as of what was not durable", j.early)
	}
	for id, n := range j.pages {
		if n > 2 {
			t.Errorf("page %v was stored %d times, in one sweep and at the end", id, n)
		}
	}
}

// After a jump of the time the sweep is due at once, and still no step stores
// more than its bytes; it goes on while nothing waits.
func TestSweepStepIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 4000
		var j memory
		e := newEngine(t, 1)
		l := New(Config{SweepBytes: most}, e, &j)
		if err := live(l, func(ctx context.Context) {
			for _, ev := range []engine.Event{
				batchOf(gauges(300), start, func(int) float64 { return 1 }),
				engine.Tick{Now: start + 1000},
				engine.Tick{Now: start + 3*time.Hour.Milliseconds()},
			} {
				if err := l.Send(ctx, ev); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			if s := l.Stats(); s.Sweeps != 1 || s.Pages == 0 {
				t.Errorf("%d sweeps, %d pages after the jump; want one whole sweep", s.Sweeps, s.Pages)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if len(j.steps) < 10 {
			t.Errorf("%d steps, too few to show the bound", len(j.steps))
		}
		for _, n := range j.steps {
			if n > most+most/2 {
				t.Errorf("a step of %d bytes, want at most %d and the rest of a page", n, most)
			}
		}
	})
}

// While nothing is admitted no page is stored; the sweep goes on afterwards.
func TestSweepWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		var j memory
		l := New(Config{SweepEvery: time.Minute, Admit: func() error {
			if full.Load() {
				return errDisk
			}
			return nil
		}}, newEngine(t, 1), &j)
		err := live(l, func(ctx context.Context) {
			send := func(ev engine.Event) {
				t.Helper()
				if err := l.Send(ctx, ev); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			send(batchOf(gauges(50), start, func(int) float64 { return 1 }))
			send(engine.Tick{Now: start + 1000})
			full.Store(true)
			send(engine.Tick{Now: start + 90_000})
			if s := l.Stats(); s.Pages != 0 || s.Sweeps != 0 {
				t.Errorf("%d pages, %d sweeps stored on a full disk", s.Pages, s.Sweeps)
			}
			full.Store(false)
			send(engine.Tick{Now: start + 91_000})
			if s := l.Stats(); s.Pages == 0 || s.Sweeps != 1 {
				t.Errorf("%d pages, %d sweeps once there is room", s.Pages, s.Sweeps)
			}
			full.Store(true)
		})
		if !errors.Is(err, errDisk) {
			t.Errorf("the end on a full disk: %v, want to be told that the last sweep was left out", err)
		}
	})
}

func TestSweepErrorStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &memory{onPages: func([]Page) error { return errDisk }}
		l := New(Config{}, newEngine(t, 1), j)
		err := live(l, func(ctx context.Context) {
			for _, ev := range []engine.Event{sized(5), engine.Tick{Now: start}, engine.Tick{Now: start + time.Hour.Milliseconds()}} {
				if err := l.Send(ctx, ev); err != nil {
					t.Errorf("%v", err)
				}
			}
			synctest.Wait()
			if err := l.Send(ctx, sized(1)); !errors.Is(err, ErrStopped) || !errors.Is(err, errDisk) {
				t.Errorf("after the error: %v", err)
			}
		})
		if !errors.Is(err, errDisk) {
			t.Errorf("Run: %v", err)
		}
	})
}
