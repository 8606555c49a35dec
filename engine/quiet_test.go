package engine

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// playHistory plays hours of a Prometheus' history quietly: one series that goes on
// to the end and one, of a target long gone, that ended hours before. Live data
// of the first follow from another sender.
func playHistory(t *testing.T, r *rig, live bool) {
	t.Helper()
	s := newShop(5)
	rng := rand.New(rand.NewPCG(1, 1))
	at := shopStart
	for n := range 1600 {
		at = shopStart + int64(n)*15_000
		r.step(&Batch{Sender: "bootstrap", Quiet: true, Samples: func() []Sample {
			out := []Sample{s.sample(at, 100+rng.NormFloat64(), "__name__", "depth", "job", "kept", "instance", "a")}
			if n < 800 {
				out = append(out, s.sample(at, 100+rng.NormFloat64(), "__name__", "depth", "job", "gone", "instance", "b"))
			}
			if n < 1590 {
				out = append(out, s.sample(at, 100+rng.NormFloat64(), "__name__", "depth", "job", "leaving", "instance", "c"))
			}
			return out
		}()})
		r.tick(at + 1000)
	}
	if !live {
		return
	}
	// Reading the history took ten minutes.
	for n := range 240 {
		at := at + 600_000 + int64(n)*15_000
		r.step(&Batch{Sender: "192.0.2.1", Samples: []Sample{s.sample(at, 100+rng.NormFloat64(), "__name__", "depth", "job", "kept", "instance", "a")}})
		r.tick(at + 1000)
	}
}

func TestHistoryIsToldOfNobody(t *testing.T) {
	for _, live := range []bool{false, true} {
		t.Run(fmt.Sprintf("live=%v", live), func(t *testing.T) {
			r := newRig(t, Config{}, 2)
			playHistory(t, r, live)
			for _, rec := range r.records {
				t.Errorf("%+v", rec)
			}
		})
	}
}

// What is derived of history is history, too: the quantiles of an instance that
// was slow last week, its error ratio, the sum over all. When live data show the
// same, it is told.
func TestWhatIsDerivedOfHistoryIsToldOfNobody(t *testing.T) {
	for _, quiet := range []bool{true, false} {
		r, s := newRig(t, Config{}, 2), newShop(6)
		for n := range 700 {
			at := shopStart + int64(n)*15_000
			fault, failed := 1.0, 0.002
			if n >= 600 && n < 620 {
				fault, failed = 8, 0.4
			}
			batch := &Batch{Sender: "p", Quiet: quiet}
			for _, instance := range []string{"a:80", "b:80"} {
				batch.Samples = append(batch.Samples, s.scrape(at, "api", instance, fault, failed)...)
			}
			r.step(batch)
			r.tick(at + 1000)
		}
		told := map[string]bool{}
		for _, rec := range r.records {
			if a, ok := rec.(*Anomaly); ok {
				told[a.Series.Labels.Get("__name__")] = true
			}
		}
		for _, name := range []string{"http_seconds:p50", "http_requests_total:error_ratio", "http_requests_total:sum:error_ratio"} {
			if told[name] == quiet {
				t.Errorf("quiet=%v: told of %s: %v", quiet, name, told[name])
			}
		}
		if quiet && len(r.records) > 0 {
			t.Errorf("%d records came of history, the first %+v", len(r.records), r.records[0])
		}
	}
}
