package engine

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/models/deep"
)

func all(labels.Labels) bool { return true }

// deepDay drives two series through a day and a half of learning, a slow shift of
// the first, and some hours after it. At a minute a point.
const (
	deepShiftAt = 2200
	deepEnd     = 2700
)

func deepDays(r *rig, from, to int, cut *rand.Rand, each func(n int)) {
	s := newShop(9)
	for n := range to {
		v := 100 + 6*s.rng.NormFloat64()
		w := 100 + 6*s.rng.NormFloat64()
		if n < from {
			continue
		}
		at := shopStart + int64(n)*60_000
		r.deliver([]Sample{
			s.sample(at, v+min(max(float64(n-deepShiftAt)/5, 0), 20), "__name__", "queue_depth", "job", "api", "instance", "a"),
			s.sample(at, w, "__name__", "queue_depth", "job", "api", "instance", "b"),
			s.sample(at, w, "__name__", "queue_depth", "job", "web", "instance", "c"),
		}, cut)
		r.tick(at + 1000)
		r.tick(at + 50_000)
		if each != nil {
			each(n)
		}
	}
}

func deepAnomalies(records []Record) (deeper, others []*Anomaly) {
	for _, rec := range records {
		if a, ok := rec.(*Anomaly); ok {
			if a.Tier == "deep" {
				deeper = append(deeper, a)
			} else {
				others = append(others, a)
			}
		}
	}
	return deeper, others
}

// What the deep tier finds is the same on any number of shards, however requests
// are cut, and with a restart before, within and after its anomaly.
func TestTheDeepTierFindsTheSameHoweverItIsDriven(t *testing.T) {
	cfg := Config{Deep: Deep{Match: all}}
	plain := newRig(t, cfg, 1)
	deepDays(plain, 0, deepEnd, nil, nil)
	want := canonical(plain.records)
	found, _ := deepAnomalies(plain.records)
	if len(found) < 2 || found[0].Revision != Opened || found[0].OpenedAt < shopStart+deepShiftAt*60_000 {
		t.Fatalf("the shift was not found: %v", found)
	}
	opened := int((found[0].OpenedAt - shopStart) / 60_000)
	restarted := func(at, shards int) func() *rig {
		return func() *rig {
			r := newRig(t, cfg, 2)
			deepDays(r, 0, deepEnd, nil, func(n int) {
				if n == at {
					r.restart(shards)
				}
			})
			return r
		}
	}
	for name, run := range map[string]func() *rig{
		"2 shards": func() *rig { r := newRig(t, cfg, 2); deepDays(r, 0, deepEnd, nil, nil); return r },
		"7 shards, cut": func() *rig {
			r := newRig(t, cfg, 7)
			deepDays(r, 0, deepEnd, rand.New(rand.NewPCG(8, 8)), nil)
			return r
		},
		"restarted before":      restarted(opened-40, 7),
		"restarted as it opens": restarted(opened, 1),
		"restarted within":      restarted(opened+2, 3),
		"restarted after":       restarted(deepEnd-20, 7),
	} {
		t.Run(name, func(t *testing.T) {
			if got := canonical(run().records); !slices.Equal(got, want) {
				t.Errorf("%d records, want %d: %s", len(got), len(want), firstDifference(want, got))
			}
		})
	}
}

// The shop's day is the same in all that the baseline says of it, to the last
// bit, whether the deep tier looks too or not.
func TestTheBaselineIsTheSameWithAndWithoutTheDeepTier(t *testing.T) {
	run := func(d Deep) (anomalies []Record, found int, trace []Scored) {
		r := newRig(t, Config{Deep: d, Trace: true}, 2)
		day(r, nil, -1)
		deeper, others := deepAnomalies(r.records)
		for _, a := range others {
			anomalies = append(anomalies, a)
		}
		for i := range r.trace {
			r.trace[i].Deep, r.trace[i].DeepOpen = Scored{}.Deep, 0
		}
		return anomalies, len(deeper), r.trace
	}
	plain, none, trace := run(Deep{})
	with, found, deepTrace := run(Deep{Match: all})
	if none != 0 {
		t.Errorf("without a deep tier it found %d", none)
	}
	t.Logf("%d records of the deep tier, %d of the baseline", found, len(with))
	if a, b := canonical(plain), canonical(with); !slices.Equal(a, b) {
		t.Errorf("%d records with, %d without: %s", len(b), len(a), firstDifference(a, b))
	}
	if !slices.EqualFunc(trace, deepTrace, func(a, b Scored) bool { return a.At == b.At && a.Reading == b.Reading && a.Alarm == b.Alarm }) {
		t.Error("the baseline's scores differ")
	}
}

// There is room for two of three: the first two by ID have it on any number of
// shards, keep it over a restart, and the third is counted.
func TestWhoFindsNoRoomInTheDeepTierIsCounted(t *testing.T) {
	cfg := Config{Deep: Deep{Match: all, MaxBytes: 2*deep.Bytes + 100}}
	var want []SeriesID
	for _, shards := range []int{1, 2, 7} {
		r := newRig(t, cfg, shards)
		check := func(when string) {
			t.Helper()
			series, refused, bytes := r.engine.DeepSize()
			if series != 2 || refused != 1 || bytes != 2*deep.Bytes {
				t.Errorf("%d shards, %s: %d series of %d bytes and %d refused, want 2 and 1", shards, when, series, bytes, refused)
			}
			got := r.deepSeries()
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d shards, %s: the deep tier looks at %v, want %v", shards, when, got, want)
			}
		}
		deepDays(r, 0, 30, nil, nil)
		check("at first")
		r.restart(3)
		deepDays(r, 30, 40, nil, nil)
		check("after a restart")
		r.cfg.Deep.MaxBytes = deep.Bytes
		r.restart(shards)
		deepDays(r, 40, 50, nil, nil)
		if series, refused, _ := r.engine.DeepSize(); series != 1 || refused != 2 {
			t.Errorf("with room for one: %d series and %d refused, want 1 and 2", series, refused)
		}
	}
}

// deepSeries are the series that the deep tier looks at, in order of ID.
func (r *rig) deepSeries() []SeriesID {
	var ids []SeriesID
	for number := range Partitions {
		p := r.engine.partition(uint8(number))
		for i := range p.slots {
			if m := p.slots[i].measure; m != 0 && p.measures[m-1].deep != 0 {
				ids = append(ids, p.slots[i].series.ID)
			}
		}
	}
	slices.SortFunc(ids, compareIDs)
	return ids
}

// A deep tier that is turned off while one of its anomalies is open ends it, and
// says why.
func TestAnAnomalyOfADeepTierThatIsGoneEnds(t *testing.T) {
	r := newRig(t, Config{Deep: Deep{Match: all}}, 2)
	var open bool
	deepDays(r, 0, deepEnd, nil, func(int) {
		found, _ := deepAnomalies(r.records)
		if !open && len(found) > 0 && found[len(found)-1].Revision != Closed {
			open = true
			r.cfg.Deep = Deep{}
			r.restart(3)
		}
	})
	found, _ := deepAnomalies(r.records)
	if !open || len(found) == 0 {
		t.Fatal("no anomaly was open")
	}
	last := found[len(found)-1]
	if last.Revision != Closed || last.Factors[0].Name != "tier" {
		t.Errorf("the anomaly was left %v: %+v", last.Revision, last.Factors)
	}
	if series, _, _ := r.engine.DeepSize(); series != 0 {
		t.Errorf("the deep tier looks at %d series still", series)
	}
}

// After a crash what the deep tier said is not said again, and what was open ends
// once.
func TestAfterACrashTheDeepTierSaysNothingTwice(t *testing.T) {
	cfg := Config{Deep: Deep{Match: all}}
	probe := newRig(t, cfg, 1)
	deepDays(probe, 0, deepEnd, nil, nil)
	found, _ := deepAnomalies(probe.records)
	if len(found) == 0 {
		t.Fatal("nothing was found")
	}
	opened := int((found[0].OpenedAt - shopStart) / 60_000)
	for _, at := range []int{opened + 1, opened + 3, opened + 200} {
		c := &crash{rig: newRig(t, cfg, 2), pages: map[PageID][]byte{}}
		deepDays(c.rig, 0, opened-20, nil, nil)
		c.sweep()
		deepDays(c.rig, opened-20, at, nil, nil)
		c.goDown()
		deepDays(c.rig, at-2, deepEnd, nil, nil)
		revs := map[AnomalyID][]Revision{}
		found, _ := deepAnomalies(c.records)
		for _, a := range found {
			if a.Revision != Updated {
				revs[a.ID] = append(revs[a.ID], a.Revision)
			}
		}
		if len(revs) == 0 {
			t.Errorf("crash at %d: nothing was found", at)
		}
		for id, got := range revs {
			if !slices.Equal(got, []Revision{Opened, Closed}) {
				t.Errorf("crash at %d: anomaly %v has revisions %v", at, id, got)
			}
		}
	}
}

// The value that the counterfactual names would have been quiet, and a
// thousandth of the way back to the value that there was is not.
func TestTheDeepTiersCounterfactualHolds(t *testing.T) {
	core, other := &deep.Core{Seed: 1}, 0
	r := newRig(t, Config{Deep: Deep{Match: all}}, 1)
	s := r.engine.shards[0]
	rng := rand.New(rand.NewPCG(4, 4))
	for n := range 3000 {
		x := 100 + 6*rng.NormFloat64()
		at := int64(n) * 60_000
		if n > 2500 && n%120 == 0 {
			x = 100 + 6*rng.NormFloat64()*10
		}
		core.Score(at, x, &s.reading)
		open := configuredFor(ChannelDeep, defaultFalseAlarmDays, 60)
		if s.reading.Score >= open {
			lower, upper := core.Bounds(at, x, open)
			for _, v := range []float64{lower, upper} {
				if core.Score(at, v, &s.reading); lower != upper && s.reading.Score >= open {
					t.Errorf("point %d: %v within %v to %v scores %v, not quiet", n, v, lower, upper, s.reading.Score.Float())
				}
			}
			edge := min(max(x, lower), upper)
			beyond := edge + (x-edge)/1000
			if core.Score(at, beyond, &s.reading); lower != upper && s.reading.Score < open {
				t.Errorf("point %d: %v, a step outside %v to %v, is quiet", n, beyond, lower, upper)
			}
			other++
		}
		core.Score(at, x, &s.reading)
		core.Learn(at, x, &s.reading, 1)
	}
	if other == 0 {
		t.Error("nothing was news")
	}
}

func TestDeepConfigIsStrict(t *testing.T) {
	for _, d := range []Deep{{MaxBytes: -1}, {MaxBytes: deep.Bytes - 1}} {
		if err := (Config{Deep: d}).Validate(); err == nil {
			t.Errorf("%+v is taken", d)
		}
	}
}
