package engine

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/models"
)

// told are the alerts that records tell of, but for silences and faults of the
// data: series, channel, opening and, once it has ended, peak.
func told(records []Record) []string {
	last := map[AnomalyID]*Anomaly{}
	for _, r := range records {
		if a, ok := r.(*Anomaly); ok {
			last[a.ID] = a
		}
	}
	var out []string
	for _, a := range last {
		c, ok := channelFor(a)
		if !ok {
			continue
		}
		out = append(out, alertName(a.Series, c, a.OpenedAt, a.Peak))
	}
	slices.Sort(out)
	return out
}

func alertName(s *Series, c Channel, at int64, peak models.Score) string {
	return fmt.Sprintf("%s %v %d %d", s.Text(), c, at, peak)
}

// tried are the alerts that a rule makes of tail points.
func tried(t *testing.T, points []TailPoint, rule Rule) (base, cand []string) {
	t.Helper()
	trial := NewTrial(TrialConfig{Rule: rule})
	for i := range points {
		if err := trial.Take(&points[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, tr := range trial.tracks {
		for _, a := range tr.base.alerts {
			base = append(base, alertName(a.Series, a.Channel, a.OpenedAt, a.Peak))
		}
		for _, a := range tr.cand.alerts {
			cand = append(cand, alertName(a.Series, a.Channel, a.OpenedAt, a.Peak))
		}
	}
	slices.Sort(base)
	slices.Sort(cand)
	return base, cand
}

// burstyDays are three days of a gauge with bursts of many heights, a leak and a
// silence: what thresholds of every height tell apart.
func burstyDays(r *rig) {
	s := newShop(3)
	for n := range 3 * 5760 {
		at := shopStart + int64(n)*15_000
		var all []Sample
		for i := range 4 {
			v := 100 + 5*s.rng.NormFloat64()
			if s.rng.IntN(300) == 0 {
				v += 80 * s.rng.Float64()
				if s.rng.IntN(8) == 0 {
					v += 3000
				}
			}
			if i == 1 && n > 5760 {
				v += float64(n-5760) / 30
			}
			if i == 2 && n%4000 > 3000 && n%4000 < 3100 {
				continue
			}
			all = append(all, s.sample(at, v, "__name__", "depth", "job", "api", "instance", fmt.Sprint(i)))
		}
		r.deliver(all, nil)
		r.tick(at + 14_000)
	}
}

// What a trial says of another threshold is what an engine with that threshold
// says of the same samples: alert by alert, with its peak, in every channel.
func TestATrialSaysWhatAnEngineWouldHaveDone(t *testing.T) {
	for name, drive := range map[string]func(*rig){
		"shop": func(r *rig) { day(r, rand.New(rand.NewPCG(1, 1)), 1020) },
		"long": burstyDays,
	} {
		cfg := Config{UpdateEvery: 1, Deep: Deep{Match: func(ls labels.Labels) bool { return ls.Get("instance") == "0" }}}
		live := newRig(t, cfg, 2)
		drive(live)
		for _, days := range []float64{2, 5, 14, 60, 400, 3000} {
			cfg.FalseAlarmDays = days
			other := newRig(t, cfg, 1)
			drive(other)
			want := told(other.records)
			base, got := tried(t, live.tail, DaysRule(days))
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("%s, a false alarm in %v days (- engine, + trial of %d alerts):\n%.2000s", name, days, len(got), diff)
			}
			if diff := gocmp.Diff(told(live.records), base); diff != "" {
				t.Errorf("%s: what was in force (- live, + trial):\n%.2000s", name, diff)
			}
			if len(want) < 3 && days < 1000 {
				t.Errorf("%s at %v days opens %d alerts, too few to say anything", name, days, len(want))
			}
		}
	}
}

func TestATrialRefusesWhatWasNotKept(t *testing.T) {
	r := newRig(t, Config{}, 1)
	day(r, nil, -1)
	for _, rule := range []Rule{DaysRule(0.5), OpenRule(3 * models.ScoreUnit)} {
		trial := NewTrial(TrialConfig{Rule: rule})
		var err error
		for i := range r.tail {
			if err = trial.Take(&r.tail[i]); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrUnderFloor) {
			t.Errorf("a threshold under what was kept: %v", err)
		}
	}
}

// line makes tail points of one series at 15 s from scores; those under 2 are
// not kept.
func line(s *Series, scores ...float64) []TailPoint {
	var out []TailPoint
	under := ManyBefore
	for i, x := range scores {
		score := models.ScoreOf(x)
		if score < tailFloor {
			under = min(under+1, ManyBefore)
			continue
		}
		out = append(out, TailPoint{
			Series: s, Interval: 15, At: shopStart + int64(i)*15_000, Score: score, Base: 314, Open: 314, Close: 157, Before: uint8(under),
			Opened: score >= 314 && len(out) > 0 && out[0].Score < 314 || len(out) == 0 && score >= 314,
		})
		under = 0
	}
	return out
}

// quiet is n points under the floor.
func quiet(n int) []float64 { return make([]float64, n) }

func TestAWhatIfNamesWhatIsGainedAndLost(t *testing.T) {
	var n Naming
	api := n.NewSeries(labels.FromStrings("__name__", "a", "job", "api"), TypeGauge)
	web := n.NewSeries(labels.FromStrings("__name__", "b", "job", "web"), TypeGauge)
	rises := slices.Concat([]float64{3, 5, 6, 9}, quiet(60), []float64{5.2}, quiet(60), []float64{12}, quiet(5))
	small := slices.Concat([]float64{5.5}, quiet(5))
	judged := []Judged{
		{Anomaly: 1, Series: api.ID, OpenedAt: shopStart + 15_000, LastAt: shopStart + 60_000, Judgement: JudgedTrue, Request: "right"},
		{Anomaly: 2, Series: api.ID, OpenedAt: shopStart + 64*15_000, LastAt: shopStart + 70*15_000, Judgement: JudgedTrue, Request: "small"},
		{Anomaly: 3, Series: web.ID, OpenedAt: shopStart, LastAt: shopStart, Judgement: JudgedFalse, Request: "noise"},
		{Anomaly: 4, Series: web.ID, OpenedAt: shopStart - 1e9, LastAt: shopStart - 1e9, Judgement: JudgedTrue, Request: "long ago"},
	}
	up := NewTrial(TrialConfig{Rule: OpenRule(models.ScoreOf(6)), Judged: judged})
	down := NewTrial(TrialConfig{Rule: OpenRule(models.ScoreOf(4.1)), Judged: judged})
	points := append(line(api, rises...), line(web, small...)...)
	points = append(points, line(n.NewSeries(labels.FromStrings("__name__", "c", "job", "web"), TypeGauge), quiet(30)...)...)
	points = append(points, line(n.NewSeries(labels.FromStrings("__name__", "d", "job", "web"), TypeGauge), slices.Concat(quiet(10), []float64{4.5})...)...)
	for i := range points {
		if err := cmp.Or(up.Take(&points[i]), down.Take(&points[i])); err != nil {
			t.Fatal(err)
		}
	}
	r := up.Report()
	if r.Base.Alerts != 4 || r.Candidate.Alerts != 2 || r.Kept != 2 || len(r.Lost) != 2 || len(r.Gained) != 0 {
		t.Fatalf("up: %+v", r)
	}
	if a := r.Lost[0]; a.Series != web || a.OpenedAt != shopStart || a.Peak != models.ScoreOf(5.5) {
		t.Errorf("the first one lost is %+v", a)
	}
	if a := r.Lost[1]; a.Series != api || a.OpenedAt != shopStart+64*15_000 {
		t.Errorf("the second one lost is %+v", a)
	}
	if r.Later != 1 || r.Earlier != 0 || r.DelayMean != 7500 || r.DelayMax != 15_000 {
		t.Errorf("later %d, earlier %d, by %d ms, at most %d", r.Later, r.Earlier, r.DelayMean, r.DelayMax)
	}
	if len(r.HitsLost) != 1 || r.HitsLost[0].Request != "small" || r.HitsKept != 1 || r.FalseGone != 1 || r.FalseRemains != 0 {
		t.Errorf("hits lost %v, kept %d; false gone %d, remaining %d", r.HitsLost, r.HitsKept, r.FalseGone, r.FalseRemains)
	}
	r = down.Report()
	if len(r.Gained) != 1 || r.Gained[0].Series.Labels.Get("__name__") != "d" || len(r.Lost) != 0 || len(r.HitsLost) != 0 || r.Kept != 4 {
		t.Errorf("down: %+v", r)
	}
	if r.Series != 3 || r.Points != len(points) {
		t.Errorf("looked at %d points of %d series", r.Points, r.Series)
	}
}

// Alerts of one workload within the gap are one incident, and the week is the
// time that was looked at.
func TestAWhatIfCountsIncidents(t *testing.T) {
	var n Naming
	s := func(name, job string) *Series {
		return n.NewSeries(labels.FromStrings("__name__", name, "job", job), TypeGauge)
	}
	week := 7 * 5760
	trial := NewTrial(TrialConfig{Rule: InForce})
	for _, points := range [][]TailPoint{
		line(s("a", "api"), slices.Concat([]float64{9}, quiet(100), []float64{9}, quiet(week-102), []float64{2.1})...),
		line(s("b", "api"), slices.Concat(quiet(30), []float64{9})...), // within ten minutes of the first
		line(s("a", "web"), slices.Concat(quiet(30), []float64{9})...),
	} {
		for i := range points {
			if err := trial.Take(&points[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := trial.Report()
	if r.Base.Alerts != 4 || r.Base.Incidents != 3 || r.Base.IncidentsPerWeek < 2.99 || r.Base.IncidentsPerWeek > 3.01 {
		t.Errorf("%+v", r.Base)
	}
}

func TestADocketHoldsTheLastWordOnAnAnomaly(t *testing.T) {
	var n Naming
	s := n.NewSeries(labels.FromStrings("__name__", "a", "job", "api"), TypeGauge)
	d := NewDocket()
	for _, r := range []Record{
		&Anomaly{ID: 1, Revision: Opened, Series: s, Kind: KindSpike, At: 10, OpenedAt: 10},
		&Anomaly{ID: 1, Revision: Closed, Series: s, Kind: KindLevelShift, At: 90, OpenedAt: 10},
		&Anomaly{ID: 2, Revision: Opened, Series: s, Kind: KindSilence, At: 20, OpenedAt: 20},
		&Anomaly{ID: 3, Revision: Opened, Series: s, Kind: KindLeak, At: 30, OpenedAt: 30},
		Label{RequestID: "a", Anomaly: 1, Judgement: JudgedTrue},
		Label{RequestID: "b", Anomaly: 1, Judgement: JudgedFalse},
		Label{RequestID: "c", Anomaly: 2, Judgement: JudgedTrue},
		Label{RequestID: "d", Anomaly: 3, Judgement: JudgedTrue},
		Label{RequestID: "e", Anomaly: 3, Judgement: JudgedFalse},
		Undo{RequestID: "f", Label: "e"},
		Label{RequestID: "g", Anomaly: 99, Judgement: JudgedTrue},
	} {
		d.Take(r)
	}
	want := []Judged{
		{Anomaly: 1, Series: s.ID, OpenedAt: 10, LastAt: 90, Judgement: JudgedFalse, Request: "b"},
		{Anomaly: 3, Series: s.ID, Channel: ChannelSlow, OpenedAt: 30, LastAt: 30, Judgement: JudgedTrue, Request: "d"},
	}
	if diff := gocmp.Diff(want, d.Judged()); diff != "" {
		t.Errorf("(- want, + got):\n%s", diff)
	}
}
