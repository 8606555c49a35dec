package loop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/homeostat/homeostat/engine"
)

// actuator is a function as an actuator that does not look at ctx.
type actuator func(engine.Action) (engine.Result, string, error)

func (f actuator) Perform(_ context.Context, a engine.Action) (engine.Result, string, error) {
	return f(a)
}

// patient is a function as an actuator.
type patient func(context.Context, engine.Action) (engine.Result, string, error)

func (f patient) Perform(ctx context.Context, a engine.Action) (engine.Result, string, error) {
	return f(ctx, a)
}

// spikes feeds a fleet with three sick series and returns the decisions to act.
func spikes(t *testing.T, take func(engine.Event), j *memory) []engine.Decision {
	t.Helper()
	fleet := gauges(20)
	rng := rand.New(rand.NewPCG(9, 9))
	for r := range 300 {
		at := start + int64(r)*15_000
		take(batchOf(fleet, at, func(i int) float64 {
			v := 100 + 5*rng.NormFloat64()
			if i < 3 && r >= 250 && r < 270 {
				v += 300
			}
			return v
		}))
		take(engine.Tick{Now: at + 14_000})
	}
	var decided []engine.Decision
	for _, rec := range j.records() {
		if d, ok := rec.(engine.Decision); ok && d.Verb == engine.Act {
			decided = append(decided, d)
		}
	}
	return decided
}

// answers are the results in the log, by action.
func answers(j *memory) map[engine.ActionID]engine.Performed {
	out := map[engine.ActionID]engine.Performed{}
	for _, r := range j.records() {
		if p, ok := r.(engine.Performed); ok {
			out[p.Action] = p
		}
	}
	return out
}

// perform runs a loop over an actuator, asks it for actions, and returns the
// answers that were journaled when the loop had ended.
func perform(t *testing.T, cfg Config, actions ...engine.Action) (map[engine.ActionID]engine.Performed, Stats) {
	t.Helper()
	var j memory
	l := New(cfg, newEngine(t, 1), &j)
	err := live(l, func(ctx context.Context) {
		// Between rounds is where the loop's own goroutine starts actions.
		if err := l.Query(ctx, func(*engine.Engine) {
			for _, a := range actions {
				l.actions.perform(a)
			}
		}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
	if err != nil {
		t.Errorf("Run: %v", err)
	}
	return answers(&j), l.Stats()
}

func TestPerformConcludes(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name   string
		act    patient
		a      engine.Action
		want   engine.Result
		detail string
		tries  int32
		took   time.Duration
	}{
		{name: "done", act: func(context.Context, engine.Action) (engine.Result, string, error) {
			return engine.ResultDone, "told", nil
		}, want: engine.ResultDone, detail: "told", tries: 1},
		{name: "no result is unknown", act: func(context.Context, engine.Action) (engine.Result, string, error) {
			return 0, "?", nil
		}, want: engine.ResultUnknown, detail: "?", tries: 1},
		{name: "an error is unknown and never tried again", act: func(context.Context, engine.Action) (engine.Result, string, error) {
			return engine.ResultDone, "", boom
		}, want: engine.ResultUnknown, detail: "boom", tries: 1},
		{name: "an error that is sure to have done nothing", act: func(context.Context, engine.Action) (engine.Result, string, error) {
			return engine.ResultFailed, "", boom
		}, want: engine.ResultFailed, detail: "boom", tries: 1},
		{name: "retryable is tried three times, with 1 s and 2 s between", act: func(context.Context, engine.Action) (engine.Result, string, error) {
			return 0, "", fmt.Errorf("boom: %w", ErrRetryable)
		}, want: engine.ResultFailed, detail: "boom: " + ErrRetryable.Error(), tries: 3, took: 3 * time.Second},
		{name: "no deadline is a minute", act: func(ctx context.Context, _ engine.Action) (engine.Result, string, error) {
			<-ctx.Done()
			return 0, "", ctx.Err()
		}, want: engine.ResultUnknown, detail: context.DeadlineExceeded.Error(), tries: 1, took: time.Minute},
		{name: "retries end at the deadline", act: func(context.Context, engine.Action) (engine.Result, string, error) {
			return 0, "", ErrRetryable
		}, a: engine.Action{Deadline: 1500}, want: engine.ResultFailed, detail: ErrRetryable.Error(), tries: 2, took: 1500 * time.Millisecond},
		{name: "a deadline that passed is not performed", act: func(context.Context, engine.Action) (engine.Result, string, error) {
			return engine.ResultDone, "", nil
		}, a: engine.Action{Deadline: -1}, want: engine.ResultFailed, detail: "not performed: its deadline had passed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				c.a.ID = 1
				if c.a.Deadline != 0 {
					c.a.Deadline += begin.UnixMilli()
				}
				var tries atomic.Int32
				act := patient(func(ctx context.Context, a engine.Action) (engine.Result, string, error) {
					tries.Add(1)
					return c.act(ctx, a)
				})
				got, _ := perform(t, Config{Actuator: act, ActionDrain: time.Hour}, c.a)
				p := got[1]
				if p.Result != c.want || p.Detail != c.detail {
					t.Errorf("got %v, %q; want %v, %q", p.Result, p.Detail, c.want, c.detail)
				}
				if tries.Load() != c.tries {
					t.Errorf("performed %d times, want %d", tries.Load(), c.tries)
				}
				if at := time.UnixMilli(p.At).Sub(begin); at != c.took {
					t.Errorf("answered after %v, want %v", at, c.took)
				}
			})
		})
	}
}

// So many are performed at a time, so many wait, and one more is answered.
func TestPerformBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		act := patient(func(ctx context.Context, _ engine.Action) (engine.Result, string, error) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			wait(ctx, time.Second)
			return engine.ResultDone, "", nil
		})
		var actions []engine.Action
		for id := range engine.ActionID(20) {
			actions = append(actions, engine.Action{ID: id + 1})
		}
		got, s := perform(t, Config{Actuator: act, ActionWorkers: 2, ActionQueue: 5}, actions...)
		if len(got) != 20 {
			t.Errorf("%d of 20 actions were answered", len(got))
		}
		if most.Load() != 2 {
			t.Errorf("%d performed at a time, want 2", most.Load())
		}
		// The queue's five, and up to two that the workers took meanwhile.
		if s.ActionsDone < 5 || s.ActionsDone > 7 || s.ActionsRefused != 20-s.ActionsDone || s.ActionsFailed != s.ActionsRefused {
			t.Errorf("done %d, refused %d, failed %d; want 5 to 7 done and the others refused", s.ActionsDone, s.ActionsRefused, s.ActionsFailed)
		}
		if s.ActionsWaiting != 0 {
			t.Errorf("%d actions wait after the end", s.ActionsWaiting)
		}
	})
}

// At the end running actions are waited for up to the bound. Then those that
// heed their ctx are answered as unknown, and one that does not is left behind
// with nothing in the log, so that the next life finds it unanswered.
func TestEndWaitsForActions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deaf := make(chan struct{})
		act := patient(func(ctx context.Context, a engine.Action) (engine.Result, string, error) {
			switch a.ID {
			case 1: // in time
				wait(ctx, 2*time.Second)
				return engine.ResultDone, "", nil
			case 2: // heeds its end
				<-ctx.Done()
				return 0, "", ctx.Err()
			}
			<-deaf
			return engine.ResultDone, "too late", nil
		})
		begin := time.Now()
		got, s := perform(t, Config{Actuator: act, ActionDrain: 5 * time.Second},
			engine.Action{ID: 1}, engine.Action{ID: 2}, engine.Action{ID: 3})
		if took := time.Since(begin); took > 8*time.Second {
			t.Errorf("the end took %v, want the 5 s of the bound and 1 or 2 s for those cancelled", took)
		}
		if got[1].Result != engine.ResultDone || got[2].Result != engine.ResultUnknown {
			t.Errorf("answers %+v; want 1 done, 2 unknown", got)
		}
		if _, ok := got[3]; ok || s.ActionsWaiting != 1 {
			t.Errorf("the deaf one: answered %v, %d wait; want unanswered, 1", ok, s.ActionsWaiting)
		}
		close(deaf)
		synctest.Wait()
	})
}

// Decisions whose answer is not in the log are unknown in the next life: their
// answers are its first inputs, and the actuator is not asked again.
func TestReconcile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j memory
		var asked atomic.Int32
		act := actuator(func(engine.Action) (engine.Result, string, error) {
			asked.Add(1)
			return engine.ResultDone, "", nil
		})
		l := New(Config{Actuator: act}, newEngine(t, 1), &j)
		l.Reconcile([]engine.Action{{ID: 5}, {ID: 6}})
		if err := live(l, func(ctx context.Context) {
			if err := l.Send(ctx, engine.Undo{RequestID: "later"}); err != nil {
				t.Error(err)
			}
		}); err != nil {
			t.Error(err)
		}
		log := j.records()
		if len(log) != 3 {
			t.Fatalf("log %v, want two answers and the undo", text(log))
		}
		for i, id := range []engine.ActionID{5, 6} {
			if p, ok := log[i].(engine.Performed); !ok || p.Action != id || p.Result != engine.ResultUnknown {
				t.Errorf("record %d is %+v, want the unknown answer of action %v", i+1, log[i], id)
			}
		}
		if asked.Load() != 0 {
			t.Errorf("the actuator was asked %d times", asked.Load())
		}
	})
}

// Live, from sample to answer: decided, durable, performed once, answered.
func TestLoopPerforms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j memory
		asked := make(chan engine.Action, 100)
		act := actuator(func(a engine.Action) (engine.Result, string, error) {
			decided := false
			for _, r := range j.records() {
				if d, ok := r.(engine.Decision); ok && d.Action.ID == a.ID {
					decided = true
				}
			}
			if !decided {
				t.Errorf("action %s was performed before its decision was durable", a.ID)
			}
			asked <- a
			return engine.ResultDone, "told", nil
		})
		// The data's deadlines are of 2023 and the bubble's clock is of 2000.
		l := New(Config{Actuator: act, Now: func() time.Time { return time.UnixMilli(start) }}, newEngine(t, 2), &j)
		var decided []engine.Decision
		if err := live(l, func(ctx context.Context) {
			decided = spikes(t, func(ev engine.Event) {
				if err := l.Send(ctx, ev); err != nil {
					t.Fatal(err)
				}
			}, &j)
			synctest.Wait()
		}); err != nil {
			t.Error(err)
		}
		if len(decided) == 0 || len(asked) != len(decided) || len(answers(&j)) != len(decided) {
			t.Errorf("%d decided, %d performed, %d answered", len(decided), len(asked), len(answers(&j)))
		}
	})
}
