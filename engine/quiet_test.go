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
