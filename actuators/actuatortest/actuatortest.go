// Package actuatortest is the contract of an actuator as a test that each one
// runs.
package actuatortest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
)

// Subject is an actuator under test with a target of its own.
type Subject struct {
	Actuator loop.Actuator
	// Kinds are the kinds of action that it performs.
	Kinds []engine.ActionKind
	// Performed is how many actions it has performed, repeats not counted; a dry
	// run counts those that it told.
	Performed func() int
	// Touched is how many effects the target saw. nil where the actuator is the
	// only witness; then Performed stands for it.
	Touched func() int
	// DryRun says that the target must see nothing.
	DryRun bool
	// Refuse makes the target refuse whatever it is asked, before anything is
	// done, until the returned function is called. nil for a target that cannot.
	Refuse func() (restore func())
	// Hang makes the target answer nothing until the returned function is
	// called. nil for a target that cannot.
	Hang func() (restore func())
}

func (s Subject) touched() int {
	switch {
	case s.DryRun || s.Touched != nil:
		return s.Touched()
	}
	return s.Performed()
}

// effects is what n performed actions do to the target.
func (s Subject) effects(n int) int {
	if s.DryRun {
		return 0
	}
	return n
}

// answerWithin bounds how long an actuator may take to heed its ctx.
const answerWithin = 5 * time.Second

// Run tests that an actuator is idempotent by Action.ID, heeds ctx, says whether
// an error may be retried, refuses what it does not know, and touches nothing in
// a dry run. factory makes a fresh subject.
func Run(t *testing.T, factory func(t *testing.T) Subject) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(t *testing.T, s Subject)
	}{
		{"performs each kind once", performsOnce},
		{"performs once for many at the same time", performsOnceAtOnce},
		{"tells actions apart by ID", tellsApart},
		{"does nothing when ctx has ended", heedsEnd},
		{"returns when ctx ends", heedsHang},
		{"says that a refusal may be retried", refusalRetryable},
		{"refuses an action without a kind", refusesNoKind},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, factory(t)) })
	}
}

// action is one that is worth performing.
func action(id engine.ActionID, k engine.ActionKind) engine.Action {
	return engine.Action{
		ID: id, Incident: engine.IncidentID(id) + 1000, Kind: k,
		Target: `namespace="shop",deployment="api"`, Text: "checkout latency is high",
	}
}

func (s Subject) perform(t *testing.T, a engine.Action) {
	t.Helper()
	result, detail, err := s.Actuator.Perform(t.Context(), a)
	if err != nil || result != engine.ResultDone {
		t.Fatalf("%s: got %v (%q), %v; want done", a.Kind, result, detail, err)
	}
}

// want compares what was performed and what the target saw.
func (s Subject) want(t *testing.T, n int) {
	t.Helper()
	if got := s.Performed(); got != n {
		t.Errorf("%d actions performed, want %d", got, n)
	}
	if got := s.touched(); got != s.effects(n) {
		t.Errorf("the target saw %d effects, want %d", got, s.effects(n))
	}
}

func performsOnce(t *testing.T, s Subject) {
	if len(s.Kinds) == 0 {
		t.Fatal("the subject names no kind")
	}
	for i, k := range s.Kinds {
		for range 3 {
			s.perform(t, action(engine.ActionID(i+1), k))
		}
		s.want(t, i+1)
	}
}

func performsOnceAtOnce(t *testing.T, s Subject) {
	const askers = 16
	var wg sync.WaitGroup
	for range askers {
		wg.Go(func() {
			_, _, err := s.Actuator.Perform(t.Context(), action(1, s.Kinds[0]))
			// Whoever comes second while the first is at it may be sent away, but
			// only in a way that lets them come again.
			if err != nil && !errors.Is(err, loop.ErrRetryable) {
				t.Errorf("asked at the same time: %v", err)
			}
		})
	}
	wg.Wait()
	s.perform(t, action(1, s.Kinds[0]))
	s.want(t, 1)
}

func tellsApart(t *testing.T, s Subject) {
	for id := range engine.ActionID(5) {
		s.perform(t, action(id+1, s.Kinds[0]))
	}
	s.want(t, 5)
}

func heedsEnd(t *testing.T, s Subject) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := action(1, s.Kinds[0])
	result, _, err := s.Actuator.Perform(ctx, a)
	if err == nil {
		t.Errorf("performed under a ctx that had ended: %v", result)
	}
	if result != engine.ResultFailed && !errors.Is(err, loop.ErrRetryable) {
		t.Errorf("got %v, %v: nothing was done, which is failed or retryable", result, err)
	}
	s.want(t, 0)
	s.perform(t, a)
	s.want(t, 1)
}

func heedsHang(t *testing.T, s Subject) {
	if s.Hang == nil {
		return // the target cannot hang, so that there is nothing to wait for
	}
	restore := s.Hang()
	defer restore()
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		result, _, err := s.Actuator.Perform(ctx, action(1, s.Kinds[0]))
		if err == nil && result == engine.ResultDone {
			err = errors.New("done, although the target answered nothing")
		} else if err != nil {
			err = nil
		}
		answered <- err
	}()
	cancel()
	select {
	case err := <-answered:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(answerWithin):
		t.Fatalf("did not return within %v of the end of ctx", answerWithin)
	}
}

func refusalRetryable(t *testing.T, s Subject) {
	if s.Refuse == nil {
		return // the target cannot refuse
	}
	restore := s.Refuse()
	a := action(1, s.Kinds[0])
	_, _, err := s.Actuator.Perform(t.Context(), a)
	if !errors.Is(err, loop.ErrRetryable) {
		t.Errorf("the target refused before anything was done: got %v, want ErrRetryable", err)
	}
	s.want(t, 0)
	restore()
	s.perform(t, a)
	s.want(t, 1)
}

func refusesNoKind(t *testing.T, s Subject) {
	a := action(1, 0)
	result, _, err := s.Actuator.Perform(t.Context(), a)
	if result != engine.ResultFailed || err == nil || errors.Is(err, loop.ErrRetryable) {
		t.Errorf("got %v, %v; want failed, with an error that is not retryable", result, err)
	}
	s.want(t, 0)
}
