package engine

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

// everything is a floor for all series.
func everything(labels.Labels) bool { return true }

// depths is a gauge of mean 100 with spikes of 15 and of 40 in it, one an hour.
func depths(r *rig, points int, after func(n int, at int64)) {
	s, rng := newShop(1), rand.New(rand.NewPCG(5, 6))
	for n := range points {
		at := shopStart + int64(n)*60_000
		v := 100 + 0.5*rng.NormFloat64()
		if n > 600 && n%60 < 4 {
			v += []float64{15, 40}[n/60%2]
		}
		r.step(&Batch{Sender: "a", Samples: []Sample{s.sample(at, v, "__name__", "queue_depth", "job", "a")}})
		r.tick(at + 1000)
		if after != nil {
			after(n, at)
		}
	}
}

// A floor decides who is told and nothing else: every score, expectation and so
// everything that is learnt is the same with it and without, to the last bit,
// and what was held back is counted.
func TestAFloorChangesNoScore(t *testing.T) {
	plain := newRig(t, Config{Trace: true}, 1)
	depths(plain, 2400, nil)
	floored := newRig(t, Config{Trace: true, Floors: []Floor{{Match: everything, Below: 20}}}, 1)
	depths(floored, 2400, nil)
	if len(plain.trace) != len(floored.trace) {
		t.Fatalf("%d points were scored, with a floor %d", len(plain.trace), len(floored.trace))
	}
	small, large, held := 0, 0, 0
	for i, a := range plain.trace {
		b := floored.trace[i]
		if a.Reading != b.Reading {
			t.Fatalf("point %d: %+v, with a floor %+v", i, a.Reading, b.Reading)
		}
		off := math.Abs(b.Value - b.Reading.Expected)
		switch {
		case b.Opened && off < 20:
			t.Errorf("point %d opens an anomaly %v from what is expected, under the floor", i, off)
		case b.Opened:
			large++
		case a.Opened && off < 20:
			small++
		}
		if b.Reading.Score >= 276 && !b.Alarm {
			held++
		}
	}
	if small < 10 || large < 10 {
		t.Errorf("%d alarms are held and %d told: that shows little", small, large)
	}
	if floored.total.Held != held || plain.total.Held != 0 {
		t.Errorf("%d points are counted as held, %d were; without a floor %d", floored.total.Held, held, plain.total.Held)
	}
}

// An episode that is open ends as it would without a floor, although what it has
// come to by then is under it.
func TestAFloorLeavesAnOpenEpisodeAlone(t *testing.T) {
	ends := func(cfg Config) map[int64]int64 {
		r, out := newRig(t, cfg, 1), map[int64]int64{}
		depths(r, 2400, nil)
		for _, rec := range r.records {
			if a, ok := rec.(*Anomaly); ok && a.Revision == Closed {
				out[a.OpenedAt] = a.At
			}
		}
		return out
	}
	with, without := ends(Config{Floors: []Floor{{Match: everything, Below: 20}}}), ends(Config{})
	if len(with) < 10 || len(without) < len(with)+10 {
		t.Fatalf("%d episodes ended with a floor, %d without", len(with), len(without))
	}
	for opened, ended := range with {
		if without[opened] != ended {
			t.Errorf("an episode of %d ended at %d with a floor, and at %d without", opened, ended, without[opened])
		}
	}
}

// Labels move thresholds and never a floor: after as many true alarms as a
// threshold can take, what is under the floor is as quiet as before, and after
// as many false ones the floor is where it was.
func TestLabelsMoveNoFloor(t *testing.T) {
	for _, j := range []Judgement{JudgedTrue, JudgedFalse} {
		r := newRig(t, Config{Floors: []Floor{{Match: everything, Below: 20}}}, 1)
		told, n := 0, 0
		depths(r, 12000, func(int, int64) {
			for ; n < len(r.records); n++ {
				a, ok := r.records[n].(*Anomaly)
				if !ok || a.Revision != Opened {
					continue
				}
				if off := math.Abs(a.Value - a.Expected); off < 20 {
					t.Errorf("%v labels: an anomaly %v from what is expected is told", j, off)
				}
				told++
				r.event(Label{
					RequestID: a.ID.String(), Anomaly: a.ID, Series: a.Series.ID, Partition: a.Series.Partition, Judgement: j, By: "ann", At: a.At,
				})
			}
		})
		b, ok := r.engine.Baseline(newShop(1).sample(0, 0, "__name__", "queue_depth", "job", "a").Series.ID)
		if !ok || b.Ignored != 20 || b.Upper < b.Expected+19.99 {
			t.Errorf("%v labels: the floor ignores %v, and up to %v is quiet where %v is expected", j, b.Ignored, b.Upper, b.Expected)
		}
		if b.Threshold.Version == 0 || told < 5 {
			t.Errorf("%v labels: %d alarms were told and moved the threshold %d times: that shows little", j, told, b.Threshold.Version)
		}
	}
}

func TestTheFirstFloorThatMatchesHolds(t *testing.T) {
	named := func(name string) func(labels.Labels) bool {
		return func(ls labels.Labels) bool { return ls.Get("__name__") == name }
	}
	e, err := New(Config{Floors: []Floor{
		{Match: named("a"), Below: 1},
		{Match: named("b"), Relative: 0.5},
		{Match: named("a"), Below: 100},
	}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	s := e.shards[0]
	for name, want := range map[string]*Floor{"a": &e.cfg.Floors[0], "b": &e.cfg.Floors[1], "c": nil} {
		series := Naming{}.NewSeries(labels.FromStrings("__name__", name), TypeUnknown)
		p := e.partition(series.Partition)
		i := p.addSlot(series, roleGauge, 0)
		for range 2 {
			if got := s.floorOf(p, i, p.measureOf(i)); got != want {
				t.Errorf("%s has the floor %+v, want %+v", name, got, want)
			}
		}
	}
}

func TestAFloorsEdge(t *testing.T) {
	f := &Floor{Below: 5, Relative: 0.1}
	for _, c := range []struct {
		v, expected float64
		want        bool
	}{
		{104.9, 100, true},
		{109.9, 100, true},
		{110, 100, false},
		{90, 100, false},
		{90.1, 100, true},
		{4.9, 0, true},
		{5, 0, false},
		{-4.9, 0, true},
		{-109.9, -100, true},
		{-111, -100, false},
	} {
		if got := f.holds(c.v, c.expected); got != c.want {
			t.Errorf("%v where %v is expected is held: %v, want %v", c.v, c.expected, got, c.want)
		}
	}
	lower, upper, ok := f.widen(99, 101, 100, true)
	if !ok || !f.holds(lower, 100) || !f.holds(upper, 100) || upper < 109.99 || lower > 90.01 {
		t.Errorf("a band of 99 to 101 becomes %v to %v", lower, upper)
	}
	var none *Floor
	if lower, upper, ok := none.widen(0, 0, 100, false); none.holds(1, 1) || lower != 0 || upper != 0 || ok {
		t.Error("no floor does something")
	}
	if got := f.text(inSeconds); got != "ignored under 5 s or 10 % of what is usual, whichever is more" {
		t.Errorf("the floor says %q", got)
	}
}

func TestFloorsAreStrict(t *testing.T) {
	good := Floor{Match: everything, Below: 1}
	if err := (Config{Floors: []Floor{good}}).Validate(); err != nil {
		t.Error(err)
	}
	many := make([]Floor, maxFloors+1)
	for i := range many {
		many[i] = good
	}
	if err := (Config{Floors: many[1:]}).Validate(); err != nil {
		t.Error(err)
	}
	for says, fs := range map[string][]Floor{
		"entry 2: match is missing": {good, {Below: 1}},
		"ignore_below -1":           {{Match: everything, Below: -1}},
		"ignore_below NaN":          {{Match: everything, Below: math.NaN()}},
		"ignore_below +Inf":         {{Match: everything, Below: math.Inf(1)}},
		"ignore_relative -0.1":      {{Match: everything, Relative: -0.1}},
		"ignore_relative 11":        {{Match: everything, Relative: 11}},
		"ignore_relative NaN":       {{Match: everything, Relative: math.NaN()}},
		"it ignores nothing":        {{Match: everything}},
		"at most 1000":              many,
	} {
		if err := (Config{Floors: fs}).Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want something about %q", err, says)
		}
	}
}
