package dryrun_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/homeostat/homeostat/actuators/actuatortest"
	"github.com/homeostat/homeostat/actuators/dryrun"
	"github.com/homeostat/homeostat/engine"
)

func TestContract(t *testing.T) {
	actuatortest.Run(t, func(t *testing.T) actuatortest.Subject {
		d := dryrun.New(dryrun.Config{Log: slog.New(slog.DiscardHandler)})
		return actuatortest.Subject{
			Actuator: d,
			Kinds:    []engine.ActionKind{engine.ActNotify},
			Performed: func() int {
				n := 0
				for _, c := range d.Counts().Kinds {
					n += int(c)
				}
				return n
			},
			Touched: func() int { return 0 },
			DryRun:  true,
		}
	})
}

func TestTellsInOneLine(t *testing.T) {
	var out bytes.Buffer
	d := dryrun.New(dryrun.Config{Log: slog.New(slog.NewTextHandler(&out, nil))})
	a := engine.Action{ID: 7, Kind: engine.ActNotify, Target: `service="api"`, Text: "two\nlines\x1b[31m"}
	for range 3 {
		if _, _, err := d.Perform(context.Background(), a); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("one action asked for three times made %d lines:\n%s", n, out.String())
	}
	for _, want := range []string{"kind=notify", "action=0000000000000007", `target="service=\"api\""`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the line has no %s: %s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("the line holds a control character: %q", out.String())
	}
	if c := d.Counts(); c.Kinds[engine.ActNotify] != 1 || c.Repeats != 2 {
		t.Errorf("counts %+v, want one notify and two repeats", c)
	}
}

// The memory of repeats is bounded: exactly Remember actions are recognised, and
// one more makes it forget the oldest.
func TestRemembersSoMany(t *testing.T) {
	d := dryrun.New(dryrun.Config{Log: slog.New(slog.DiscardHandler), Remember: 3})
	ask := func(id engine.ActionID) {
		t.Helper()
		if _, _, err := d.Perform(context.Background(), engine.Action{ID: id, Kind: engine.ActNotify}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []engine.ActionID{1, 2, 3, 1} {
		ask(id)
	}
	if c := d.Counts(); c.Repeats != 1 {
		t.Fatalf("%d repeats, want 1: the third action made it forget the first", c.Repeats)
	}
	ask(4) // forgets 1
	ask(2)
	ask(1) // forgets 2
	if c := d.Counts(); c.Repeats != 2 || c.Kinds[engine.ActNotify] != 5 {
		t.Errorf("counts %+v, want 5 told and 2 repeats", c)
	}
}

func TestRefusesNoKind(t *testing.T) {
	d := dryrun.New(dryrun.Config{Log: slog.New(slog.DiscardHandler)})
	result, _, err := d.Perform(context.Background(), engine.Action{ID: 1})
	if result != engine.ResultFailed || !errors.Is(err, dryrun.ErrKind) {
		t.Errorf("got %v, %v; want failed, ErrKind", result, err)
	}
}

func TestConfigBounds(t *testing.T) {
	for _, n := range []int{-1, 10_000_001} {
		if err := (dryrun.Config{Remember: n}).Validate(); err == nil {
			t.Errorf("Remember %d passes", n)
		}
	}
}
