package loop

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/homeostat/homeostat/engine"
)

// ticks are the ticks of a recording, as offsets from the bubble's beginning.
func ticks(tp *tape, begin time.Time) []time.Duration {
	var out []time.Duration
	for _, ev := range tp.events {
		if t, ok := ev.(engine.Tick); ok {
			out = append(out, time.UnixMilli(t.Now).Sub(begin))
		}
	}
	return out
}

// ticking runs a loop with a Tick over the clock until body returns.
func ticking(t *testing.T, cfg Config, now func() time.Time, body func(l *Loop)) {
	t.Helper()
	l := New(cfg, newEngine(t, 1), &memory{})
	if err := live(l, func(context.Context) {
		ctx, cancel := context.WithCancel(context.Background())
		var ticker sync.WaitGroup
		ticker.Go(func() {
			if err := Tick(ctx, l, now); err != nil {
				t.Errorf("Tick: %v", err)
			}
		})
		body(l)
		cancel()
		ticker.Wait()
	}); err != nil {
		t.Error(err)
	}
}

func TestTicksByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var tp tape
		ticking(t, Config{Recorder: &tp}, nil, func(*Loop) { <-time.After(3500 * time.Millisecond) })
		want := []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second}
		if diff := cmp.Diff(want, ticks(&tp, begin)); diff != "" {
			t.Errorf("ticks (-want +got):\n%s", diff)
		}
	})
}

// The loop is busy for five seconds and a half: one tick waits, no other is
// made, and the next brings the time to the present.
func TestTicksDoNotQueueUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var tp tape
		busy := true
		tp.onRecord = func(ev engine.Event) error {
			if ev.(engine.Tick).Now > begin.UnixMilli() && busy {
				busy = false
				<-time.After(5500 * time.Millisecond)
			}
			return nil
		}
		most := 0
		ticking(t, Config{Recorder: &tp}, nil, func(l *Loop) {
			for range 90 {
				<-time.After(100 * time.Millisecond)
				most = max(most, l.Stats().QueuedEvents)
			}
		})
		// Go's ticker keeps one beat: it comes as soon as the loop is free.
		want := []time.Duration{0, time.Second, 6500 * time.Millisecond, 7 * time.Second, 8 * time.Second, 9 * time.Second}
		got := ticks(&tp, begin)
		if n := len(got); n == 0 || n < len(want)-1 {
			t.Fatalf("ticks %v", got)
		}
		if diff := cmp.Diff(want[:len(want)-1], got[:len(want)-1]); diff != "" {
			t.Errorf("ticks (-want +got):\n%s", diff)
		}
		if most > 1 {
			t.Errorf("%d ticks waited", most)
		}
	})
}

// A clock that is set back is waited for; one that leaps is followed at once.
func TestTicksNeverGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		now := func() time.Time {
			switch d := time.Since(begin); {
			case d < 2*time.Second:
				return begin.Add(d)
			case d < 5*time.Second:
				return begin.Add(d - 3*time.Second) // set back by 3 s
			default:
				return begin.Add(d + time.Hour) // the machine slept
			}
		}
		var tp tape
		ticking(t, Config{Recorder: &tp}, now, func(*Loop) { <-time.After(6500 * time.Millisecond) })
		want := []time.Duration{0, time.Second, time.Hour + 5*time.Second, time.Hour + 6*time.Second}
		if diff := cmp.Diff(want, ticks(&tp, begin)); diff != "" {
			t.Errorf("ticks (-want +got):\n%s", diff)
		}
	})
}

func TestTickEndsWithTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{}, newEngine(t, 1), &memory{})
		ended := make(chan error, 1)
		if err := live(l, func(context.Context) {
			go func() { ended <- Tick(context.Background(), l, nil) }()
			<-time.After(1500 * time.Millisecond)
		}); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, ErrStopped) {
			t.Errorf("Tick: %v, want ErrStopped", err)
		}
	})
}
