package loop

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/homeostat/homeostat/engine"
)

// tailer keeps the tail in memory, and asks what is durable when it comes.
type tailer struct {
	journal *memory
	points  []engine.TailPoint
	early   int // openings that were told of before their record was durable
}

func (k *tailer) Keep(_ int64, points []engine.TailPoint) {
	for _, p := range points {
		if p.Opened && !slices.ContainsFunc(k.journal.records(), func(r engine.Record) bool {
			a, ok := r.(*engine.Anomaly)
			return ok && a.Series.ID == p.Series.ID && a.OpenedAt == p.At
		}) {
			k.early++
		}
	}
	k.points = append(k.points, points...)
}

// The tail is an observer: with it and without the log is the same, and what it
// is told opened an anomaly is durable by then.
func TestTheTailObserves(t *testing.T) {
	events := story(4, 20, 300)
	var want []string
	for _, with := range []bool{false, true} {
		var j memory
		tail := &tailer{journal: &j}
		cfg := Config{}
		if with {
			cfg.Tail = tail
		}
		d := NewDriver(cfg, newEngine(t, 2), &j)
		for _, ev := range events {
			if _, err := d.Take(ev); err != nil {
				t.Fatal(err)
			}
		}
		d.Close()
		if !with {
			want = text(j.log)
			continue
		}
		if diff := cmp.Diff(want, text(j.log)); diff != "" {
			t.Errorf("the log differs (-without +with):\n%.2000s", diff)
		}
		opened := 0
		for _, p := range tail.points {
			if p.Opened {
				opened++
			}
		}
		if opened == 0 || tail.early > 0 {
			t.Errorf("of %d points %d opened an anomaly, %d of them before it was durable", len(tail.points), opened, tail.early)
		}
	}
}
