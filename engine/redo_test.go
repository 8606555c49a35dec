package engine

import (
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

// crash is a rig whose pages are as old as the last sweep when it goes down,
// while its records are all in the log.
type crash struct {
	*rig
	pages  map[PageID][]byte
	settle []byte
	swept  int // records in the log when the pages were written
}

func (c *crash) sweep() {
	c.t.Helper()
	for _, id := range c.engine.DirtyPages() {
		b, err := c.engine.AppendPage(id, nil)
		if err != nil {
			c.t.Fatal(err)
		}
		c.pages[id] = b
	}
	b, err := c.engine.AppendSettle(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	c.settle, c.swept = b, len(c.records)
}

// goDown loses everything but the pages and the log.
func (c *crash) goDown() {
	c.t.Helper()
	next := newRig(c.t, c.cfg, c.shards)
	for id, b := range c.pages {
		if err := next.engine.LoadPage(id, b); err != nil {
			c.t.Fatal(err)
		}
	}
	if c.settle != nil {
		if err := next.engine.LoadSettle(c.settle); err != nil {
			c.t.Fatal(err)
		}
	}
	// Redoing more than needed must change nothing: the store does not know to
	// the record where a page stands.
	for _, r := range c.records[max(0, c.swept-50):] {
		if err := next.engine.Redo(r); err != nil {
			c.t.Fatal(err)
		}
	}
	c.engine = next.engine
}

// gaugeRun drives n points of a gauge with a fault from point 600 on.
func gaugeRun(r *rig, from, to int, fault func(n int) float64) {
	s := newShop(5)
	for n := range to {
		v := 100 + 5*s.rng.NormFloat64()
		if n < from {
			continue
		}
		at := shopStart + int64(n)*30_000
		x := s.sample(at, v+fault(n), "__name__", "queue_depth", "job", "api", "instance", "a")
		y := s.sample(at, v, "__name__", "queue_depth", "job", "api", "instance", "b")
		r.step(&Batch{Samples: []Sample{x, y}})
		r.tick(at + 1000)
		r.tick(at + 29_000)
	}
}

func TestAfterACrashNothingIsSaidTwiceAndNothingIsForgotten(t *testing.T) {
	fault := func(n int) float64 {
		if n >= 600 && n < 640 {
			return 300
		}
		return 0
	}
	// The crash comes before the fault, in the middle of it, between its end
	// and the incident's, and after everything.
	for _, at := range []int{590, 601, 620, 650, 700} {
		c := &crash{rig: newRig(t, Config{}, 2), pages: map[PageID][]byte{}}
		gaugeRun(c.rig, 0, 580, fault)
		c.sweep()
		gaugeRun(c.rig, 580, at, fault)
		c.goDown()
		// The writer did not see an answer for the last few and sends them again.
		gaugeRun(c.rig, at-3, 800, fault)

		opened := map[AnomalyID]int{}
		closed := map[AnomalyID]int{}
		incidents := map[IncidentID][]Revision{}
		decided := 0
		for _, rec := range c.records {
			switch rec := rec.(type) {
			case *Anomaly:
				switch rec.Revision {
				case Opened:
					opened[rec.ID]++
				case Closed:
					closed[rec.ID]++
				}
			case *Incident:
				if rec.Revision != Updated {
					incidents[rec.ID] = append(incidents[rec.ID], rec.Revision)
				}
			case Decision:
				decided++
			}
		}
		if len(opened) == 0 {
			t.Fatalf("crash at %d: the fault was not found", at)
		}
		for id, n := range opened {
			if n != 1 || closed[id] != 1 {
				t.Errorf("crash at %d: anomaly %v was opened %d times and closed %d times", at, id, n, closed[id])
			}
		}
		for id, revs := range incidents {
			if !slices.Equal(revs, []Revision{Opened, Closed}) {
				t.Errorf("crash at %d: incident %v has revisions %v", at, id, revs)
			}
		}
		if decided != len(incidents) {
			t.Errorf("crash at %d: %d decisions for %d incidents", at, decided, len(incidents))
		}
	}
}

func TestALabelSurvivesACrashBetweenItsJournalAndItsEffect(t *testing.T) {
	c := &crash{rig: newRig(t, Config{}, 1), pages: map[PageID][]byte{}}
	none := func(int) float64 { return 0 }
	gaugeRun(c.rig, 0, 300, none)
	c.sweep()
	ls := labels.FromStrings("__name__", "queue_depth", "job", "api", "instance", "a")
	s := Naming{}.NewSeries(ls, TypeUnknown)
	c.event(Label{RequestID: "r1", Anomaly: 7, Series: s.ID, Partition: s.Partition, Judgement: JudgedFalse, By: "ann", At: shopStart})
	c.goDown()
	gaugeRun(c.rig, 300, 310, none)
	moves := 0
	for _, rec := range c.records {
		if _, ok := rec.(ThresholdMove); ok {
			moves++
		}
	}
	if moves != 1 {
		t.Errorf("the label moved the threshold %d times, want once", moves)
	}
	b, ok := c.engine.Baseline(s.ID)
	if !ok || b.Threshold.Version != 1 || b.Threshold.Cause != "r1" {
		t.Errorf("threshold %+v", b.Threshold)
	}
}
