package loop

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/homeostat/homeostat/engine"
)

// sized is a batch of n samples.
func sized(n int) *engine.Batch {
	return batchOf(gauges(n), start, func(int) float64 { return 1 })
}

// runOut runs a loop that has not run yet until it has answered everybody who
// waits.
func runOut(t *testing.T, l *Loop) {
	t.Helper()
	if err := live(l, func(context.Context) {}); err != nil {
		t.Errorf("Run: %v", err)
	}
	synctest.Wait()
}

func TestQueueHoldsExactlyItsBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{QueueBatches: 3}, newEngine(t, 1), &memory{})
		answered := make(chan error, 3)
		for range 3 {
			go func() {
				_, err := l.Submit(context.Background(), sized(1))
				answered <- err
			}()
		}
		synctest.Wait()
		if s := l.Stats(); s.Queued != 3 || s.BusyBatches != 0 {
			t.Fatalf("queued %d, busy %d; want 3, 0", s.Queued, s.BusyBatches)
		}
		if _, err := l.Submit(context.Background(), sized(1)); !errors.Is(err, ErrBusy) {
			t.Errorf("the fourth batch: %v, want ErrBusy", err)
		}
		if s := l.Stats(); s.Queued != 3 || s.BusyBatches != 1 {
			t.Errorf("queued %d, busy %d; want 3, 1", s.Queued, s.BusyBatches)
		}
		runOut(t, l)
		for range 3 {
			if err := <-answered; err != nil {
				t.Errorf("a batch that was queued: %v", err)
			}
		}
		if s := l.Stats(); s.Batches != 3 || s.Queued != 0 {
			t.Errorf("took %d batches, %d wait; want 3, 0", s.Batches, s.Queued)
		}
	})
}

func TestQueueHoldsExactlyItsSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{QueueSamples: 10}, newEngine(t, 1), &memory{})
		submit := func(n int) { go l.Submit(context.Background(), sized(n)) }
		submit(4)
		submit(6)
		synctest.Wait()
		if s := l.Stats(); s.QueuedSamples != 10 {
			t.Fatalf("%d samples wait, want 10: the bound itself fits", s.QueuedSamples)
		}
		if _, err := l.Submit(context.Background(), sized(1)); !errors.Is(err, ErrBusy) {
			t.Errorf("the eleventh sample: %v, want ErrBusy", err)
		}
		if s := l.Stats(); s.BusySamples != 1 || s.BusyBatches != 0 {
			t.Errorf("busy by samples %d, by batches %d; want 1, 0", s.BusySamples, s.BusyBatches)
		}
		runOut(t, l)
	})
}

// TestQueueBoundsChangeWhileBatchesWait raises and lowers them under a full queue.
func TestQueueBoundsChangeWhileBatchesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{QueueBatches: 1}, newEngine(t, 1), &memory{})
		submit := func() { go l.Submit(context.Background(), sized(1)) }
		submit()
		synctest.Wait()
		if err := l.SetQueue(2, 10); err != nil {
			t.Fatal(err)
		}
		submit()
		synctest.Wait()
		if s := l.Stats(); s.Queued != 2 {
			t.Errorf("%d batches wait, want 2 after the bound was raised", s.Queued)
		}
		if err := l.SetQueue(1, 10); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Submit(context.Background(), sized(1)); !errors.Is(err, ErrBusy) {
			t.Errorf("a batch beyond the lowered bound: %v, want ErrBusy", err)
		}
		if s := l.Stats(); s.Queued != 2 {
			t.Errorf("%d batches wait: a lowered bound took one out", s.Queued)
		}
		if err := l.SetQueue(-1, 0); err == nil {
			t.Error("a negative bound was accepted")
		}
		runOut(t, l)
	})
}

// A batch that is larger than the bound would otherwise never get in.
func TestQueueLetsOneLargeBatchIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{QueueSamples: 10}, newEngine(t, 1), &memory{})
		go l.Submit(context.Background(), sized(11))
		synctest.Wait()
		if s := l.Stats(); s.QueuedSamples != 11 {
			t.Errorf("%d samples wait, want the 11 of the one batch", s.QueuedSamples)
		}
		if _, err := l.Submit(context.Background(), sized(1)); !errors.Is(err, ErrBusy) {
			t.Errorf("a batch behind it: %v, want ErrBusy", err)
		}
		runOut(t, l)
	})
}

// Events and queries have room of their own, each bounded.
func TestQueueKeepsRoomForEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{QueueBatches: 1, QueueEvents: 2}, newEngine(t, 1), &memory{})
		go l.Submit(context.Background(), sized(1))
		for range 2 {
			go l.Send(context.Background(), engine.Tick{Now: start})
			go l.Query(context.Background(), func(*engine.Engine) {})
		}
		synctest.Wait()
		if s := l.Stats(); s.Queued != 1 || s.QueuedEvents != 2 || s.QueuedQueries != 2 {
			t.Fatalf("%d batches, %d events and %d queries wait; want 1, 2, 2", s.Queued, s.QueuedEvents, s.QueuedQueries)
		}
		if err := l.Send(context.Background(), engine.Undo{}); !errors.Is(err, ErrBusy) {
			t.Errorf("the third event: %v, want ErrBusy", err)
		}
		if err := l.Query(context.Background(), func(*engine.Engine) {}); !errors.Is(err, ErrBusy) {
			t.Errorf("the third query: %v, want ErrBusy", err)
		}
		if s := l.Stats(); s.BusyEvents != 2 {
			t.Errorf("busy by events %d, want 2", s.BusyEvents)
		}
		// The answer of an actuator always gets in: it is what was done.
		l.Reconcile([]engine.Action{{ID: 1}, {ID: 2}})
		if s := l.Stats(); s.QueuedEvents != 4 {
			t.Errorf("%d events wait, want 4", s.QueuedEvents)
		}
		runOut(t, l)
	})
}

// A sender that gives up before its batch is in a round has sent nothing, and
// the room is free again.
func TestWithdrawnIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{QueueBatches: 1}, newEngine(t, 1), &memory{})
		ctx, cancel := context.WithCancel(context.Background())
		gone := make(chan error, 2)
		go func() {
			_, err := l.Submit(ctx, sized(7))
			gone <- err
		}()
		called := false
		go func() { gone <- l.Query(ctx, func(*engine.Engine) { called = true }) }()
		synctest.Wait()
		cancel()
		for range 2 {
			if err := <-gone; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
		}
		go l.Submit(context.Background(), sized(2))
		synctest.Wait()
		if s := l.Stats(); s.Queued != 1 || s.QueuedSamples != 2 || s.Withdrawn != 2 || s.BusyBatches != 0 {
			t.Errorf("%d batches of %d samples wait, %d withdrawn, %d refused; want 1, 2, 2, 0", s.Queued, s.QueuedSamples, s.Withdrawn, s.BusyBatches)
		}
		runOut(t, l)
		if called {
			t.Error("a query was called after its caller had gone")
		}
		if s := l.Stats(); s.Batches != 1 {
			t.Errorf("took %d batches, want the one that was not withdrawn", s.Batches)
		}
	})
}

func TestNotAdmitted(t *testing.T) {
	full := errors.New("the disk is nearly full")
	l := New(Config{Admit: func() error { return full }}, newEngine(t, 1), &memory{})
	_, err := l.Submit(t.Context(), sized(1))
	if !errors.Is(err, ErrBusy) || !errors.Is(err, full) {
		t.Errorf("got %v, want ErrBusy with the cause", err)
	}
	if s := l.Stats(); s.NotAdmitted != 1 || s.Queued != 0 {
		t.Errorf("not admitted %d, queued %d; want 1, 0", s.NotAdmitted, s.Queued)
	}
}

// A round is cut at its bounds, in order, and always takes something.
func TestCutBounds(t *testing.T) {
	for _, c := range []struct {
		name    string
		batches int // Config.RoundBatches
		samples int // Config.RoundSamples
		sizes   []int
		want    []int // batches in each round
	}{
		{"by batches", 2, 1000, []int{1, 1, 1, 1, 1}, []int{2, 2, 1}},
		{"by samples, exactly", 100, 10, []int{4, 6, 1}, []int{2, 1}},
		{"by samples, one over", 100, 10, []int{4, 7, 3}, []int{1, 2}},
		{"a large one alone", 100, 10, []int{50, 1}, []int{1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Config{RoundBatches: c.batches, RoundSamples: c.samples}.withDefaults()
			q := newQueue(cfg, newCounts(1))
			for _, n := range c.sizes {
				if err := q.push(&entry{event: &engine.Batch{}, samples: n}); err != nil {
					t.Fatal(err)
				}
			}
			var got []int
			for taken := q.cut(nil); len(taken) > 0; taken = q.cut(taken[:0]) {
				got = append(got, len(taken))
			}
			if len(got) != len(c.want) {
				t.Fatalf("rounds of %v batches, want %v", got, c.want)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Fatalf("rounds of %v batches, want %v", got, c.want)
				}
			}
			if q.batches != 0 || q.samples != 0 {
				t.Errorf("%d batches of %d samples counted after all were cut", q.batches, q.samples)
			}
		})
	}
}

func TestConfigBounds(t *testing.T) {
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
	for _, c := range []Config{
		{QueueBatches: -1}, {QueueSamples: -1}, {RoundBatches: 1<<20 + 1}, {SweepEvery: -1}, {ActionTries: 11},
	} {
		if err := c.Validate(); err == nil {
			t.Errorf("%+v passes", c)
		}
	}
}
