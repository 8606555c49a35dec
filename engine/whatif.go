package engine

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/homeostat/homeostat/models"
)

// ErrUnderFloor says that thresholds cannot be asked about: they would close an
// alert at a score that was not kept.
var ErrUnderFloor = errors.New("engine: under the floor of what was kept")

// Rule gives the thresholds that a candidate has for a point.
type Rule func(*TailPoint) (open, close models.Score)

// InForce is the rule that held when the points were scored.
func InForce(p *TailPoint) (open, close models.Score) { return p.Open, p.Close }

// DaysRule is what Config.FalseAlarmDays would have made, in all channels. The
// steps that labels moved a threshold by are kept.
func DaysRule(days float64) Rule {
	return func(p *TailPoint) (open, close models.Score) {
		base := configuredFor(p.Channel, days, float64(p.Interval))
		open = stepsBetween(p.Base, p.Open).apply(base)
		return open, closeOf(p.Channel, open, base)
	}
}

// OpenRule is one opening threshold for the main channel; the others stay.
func OpenRule(open models.Score) Rule {
	return func(p *TailPoint) (models.Score, models.Score) {
		if p.Channel != ChannelMain {
			return p.Open, p.Close
		}
		return open, open / 2
	}
}

// stepsBetween is how many steps lie between a configured threshold and the one
// in force.
func stepsBetween(base, open models.Score) steps {
	if base <= 0 || open <= 0 {
		return 0
	}
	n := math.Round(math.Log(open.Float()/base.Float()) / math.Log(stepRatio))
	return steps(min(max(n, minSteps), maxSteps))
}

// Alert is what a threshold makes of the tail: what an episode is to live.
type Alert struct {
	Series   *Series
	Channel  Channel
	OpenedAt int64
	LastAt   int64 // of the last point that kept it open, ms
	Peak     models.Score
	Interval uint32 // between points, seconds
}

// end is when the alert ended, or about when: the points under the floor that
// ended it are known by number and not by time.
func (a *Alert) end() int64 { return a.LastAt + models.QuietPoints*1000*int64(a.Interval) }

func (a *Alert) overlaps(b *Alert) bool { return a.OpenedAt <= b.LastAt && b.OpenedAt <= a.LastAt }

// Judged is an anomaly that a person judged.
type Judged struct {
	Anomaly   AnomalyID
	Series    SeriesID
	Channel   Channel
	OpenedAt  int64
	LastAt    int64 // of its newest revision, ms
	Judgement Judgement
	Request   string // of the label that counts
}

func (j *Judged) overlaps(a *Alert) bool {
	return a.Channel == j.Channel && a.OpenedAt <= j.LastAt && j.OpenedAt <= a.LastAt
}

// Trial holds a candidate's thresholds and those that were in force against the
// tail of the same time: both go through the hysteresis that scores live points.
// Points of a series come in order.
type Trial struct {
	cfg    TrialConfig
	tracks map[trackKey]*track
	points int
	from   int64 // of the first point, ms
	to     int64
}

// TrialConfig says what is asked.
type TrialConfig struct {
	Rule     Rule
	From, To int64    // alerts that open in between count; 0 for no bound, ms
	Gap      int64    // Config.IncidentGap, ms; 0 for its default
	Judged   []Judged // what people said of the alerts of the time
	Most     int      // alerts listed each way. Default 1,000.
}

type trackKey struct {
	series  SeriesID
	channel Channel
}

// track is one channel of a series under both rules.
type track struct {
	series     *Series
	last       int64
	base, cand watch
	opened     int // live openings that the base did not make, and the other way round
}

// watch is one rule's hysteresis over a track, and what it opened.
type watch struct {
	alarm  models.Alarm
	alerts []Alert
}

// TailScan reads kept points, those of a series in order of time: it calls fn
// with each of the series that are wanted, all when wanted is nil, from one time
// to another, both included and 0 for no bound, until fn fails. Without fn it
// only looks what there is.
type TailScan func(from, to int64, wanted func(*Series) bool, fn func(*TailPoint) error) (TailReport, error)

// trialWarm is how long before the time that is asked about points are looked
// at, so that an alert which stands when it begins is not taken for a new one.
const trialWarm = dayMillis

// Try runs a trial over what was kept, from its newest point back by a time in
// ms; 0 is all of it. cfg.From and cfg.To are set by it.
func Try(scan TailScan, wanted func(*Series) bool, last int64, cfg TrialConfig) (*WhatIf, TailReport, error) {
	rep, err := scan(0, 0, wanted, nil)
	if err != nil {
		return nil, rep, err
	}
	cfg.From, cfg.To = 0, rep.To
	if last > 0 {
		cfg.From = max(0, rep.To-last)
	}
	t := NewTrial(cfg)
	if rep, err = scan(max(0, cfg.From-trialWarm), cfg.To, wanted, t.Take); err != nil {
		return nil, rep, err
	}
	return t.Report(), rep, nil
}

// NewTrial begins a trial.
func NewTrial(cfg TrialConfig) *Trial {
	if cfg.Gap == 0 {
		cfg.Gap = defaultIncidentGap.Milliseconds()
	}
	if cfg.Most == 0 {
		cfg.Most = 1000
	}
	return &Trial{cfg: cfg, tracks: map[trackKey]*track{}}
}

// Take takes the next point. ErrUnderFloor, wrapped, says that the candidate
// cannot be asked about.
func (t *Trial) Take(p *TailPoint) error {
	open, close := t.cfg.Rule(p)
	if floor := p.Floor(); close < floor || open < floor {
		return fmt.Errorf("%w: opening at %.2f, an alert of %s would close at %.2f, and scores under %.2f are not kept",
			ErrUnderFloor, open.Float(), p.Series.Text(), close.Float(), floor.Float())
	}
	key := trackKey{p.Series.ID, p.Channel}
	tr := t.tracks[key]
	if tr == nil {
		tr = &track{series: p.Series, last: math.MinInt64}
		t.tracks[key] = tr
	}
	if p.At <= tr.last {
		return nil // it was scored a second time, after a crash
	}
	tr.last = p.At
	t.points++
	if t.from == 0 || p.At < t.from {
		t.from = p.At
	}
	t.to = max(t.to, p.At)
	if tr.base.step(p, p.Open, p.Close) != p.Opened {
		tr.opened++
	}
	tr.cand.step(p, open, close)
	return nil
}

// step lets the hysteresis take a point in, and those under the floor before it.
// It reports whether an alert opened.
func (w *watch) step(p *TailPoint, open, close models.Score) bool {
	for range p.Before {
		w.alarm.Step(0, open, close)
	}
	opened := w.alarm.Step(p.Score, open, close) == models.Opened
	if opened {
		w.alerts = append(w.alerts, Alert{Series: p.Series, Channel: p.Channel, OpenedAt: p.At, Interval: p.Interval})
	}
	if w.alarm.Open && p.Score >= close {
		a := &w.alerts[len(w.alerts)-1]
		a.LastAt, a.Peak = p.At, max(a.Peak, p.Score)
	}
	return opened
}

// WhatIf is what a trial came to.
type WhatIf struct {
	From, To  int64 // the time that was looked at, ms
	Series    int   // with a point in the tail
	Points    int
	Base      Tally // of what was in force
	Candidate Tally
	Gained    []Alert // what the candidate alone opens, in order of time
	Lost      []Alert // what it does not open
	// Of both, how many there are beyond TrialConfig.Most.
	MoreGained, MoreLost int

	Kept         int // alerts of both
	Later        int // of those, opened later by the candidate
	Earlier      int
	DelayMean    int64 // over those kept, ms; negative for earlier
	DelayMax     int64
	Differ       int // live openings that these points do not explain, and the other way round
	HitsKept     int // of what people said was right
	HitsLost     []Judged
	FalseGone    int // of what people said was false
	FalseRemains int
}

// Tally counts what a rule opens.
type Tally struct {
	Alerts           int
	Incidents        int
	IncidentsPerWeek float64
}

// Report says what the trial came to.
func (t *Trial) Report() *WhatIf {
	r := &WhatIf{From: max(t.cfg.From, t.from), To: t.to, Points: t.points}
	if t.cfg.To > 0 {
		r.To = min(r.To, t.cfg.To)
	}
	judged := map[SeriesID][]*Judged{}
	for i := range t.cfg.Judged {
		j := &t.cfg.Judged[i]
		judged[j.Series] = append(judged[j.Series], j)
	}
	var base, cand []Alert
	seen := map[SeriesID]bool{}
	var delays int64
	for _, key := range t.sorted() {
		tr := t.tracks[key]
		seen[key.series] = true
		r.Differ += tr.opened
		b, c := t.within(tr.base.alerts), t.within(tr.cand.alerts)
		base, cand = append(base, b...), append(cand, c...)
		delays += r.pair(b, c)
		for _, j := range judged[key.series] {
			r.judge(j, key.channel, b, c)
		}
	}
	r.Series = len(seen)
	if r.Kept > 0 {
		r.DelayMean = delays / int64(r.Kept)
	}
	weeks := float64(r.To-r.From) / (7 * dayMillis)
	r.Base, r.Candidate = t.tally(base, weeks), t.tally(cand, weeks)
	r.trim(t.cfg.Most)
	return r
}

func (t *Trial) sorted() []trackKey {
	keys := make([]trackKey, 0, len(t.tracks))
	for k := range t.tracks {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b trackKey) int {
		return cmp.Or(compareIDs(a.series, b.series), cmp.Compare(a.channel, b.channel))
	})
	return keys
}

// within are the alerts that open in the time that is asked about.
func (t *Trial) within(alerts []Alert) []Alert {
	return slices.DeleteFunc(slices.Clone(alerts), func(a Alert) bool {
		return a.OpenedAt < t.cfg.From || t.cfg.To > 0 && a.OpenedAt > t.cfg.To
	})
}

// pair says of one track's alerts which the two rules share, and returns by how
// much the candidate's open later, added up.
func (r *WhatIf) pair(base, cand []Alert) (delays int64) {
	for i := range base {
		at := slices.IndexFunc(cand, func(c Alert) bool { return c.overlaps(&base[i]) })
		if at < 0 {
			r.Lost = append(r.Lost, base[i])
			continue
		}
		r.Kept++
		late := cand[at].OpenedAt - base[i].OpenedAt
		switch {
		case late > 0:
			r.Later++
		case late < 0:
			r.Earlier++
		}
		delays += late
		r.DelayMax = max(r.DelayMax, late)
	}
	for i := range cand {
		if !slices.ContainsFunc(base, func(b Alert) bool { return b.overlaps(&cand[i]) }) {
			r.Gained = append(r.Gained, cand[i])
		}
	}
	return delays
}

// judge says what becomes of an anomaly that a person judged.
func (r *WhatIf) judge(j *Judged, c Channel, base, cand []Alert) {
	covers := func(a Alert) bool { return j.overlaps(&a) }
	if c != j.Channel || !slices.ContainsFunc(base, covers) {
		return // its time is not in the tail
	}
	stays := slices.ContainsFunc(cand, covers)
	switch {
	case j.Judgement == JudgedTrue && stays:
		r.HitsKept++
	case j.Judgement == JudgedTrue:
		r.HitsLost = append(r.HitsLost, *j)
	case stays:
		r.FalseRemains++
	default:
		r.FalseGone++
	}
}

// tally counts alerts, and the incidents that they make: those of a workload
// that follow each other within the gap are one.
func (t *Trial) tally(alerts []Alert, weeks float64) Tally {
	sorted := slices.Clone(alerts)
	slices.SortStableFunc(sorted, func(a, b Alert) int { return cmp.Compare(a.OpenedAt, b.OpenedAt) })
	n := Tally{Alerts: len(alerts)}
	ends := map[Workload]int64{}
	for i := range sorted {
		a := &sorted[i]
		if end, open := ends[a.Series.Workload]; !open || a.OpenedAt > end+t.cfg.Gap {
			n.Incidents++
		}
		ends[a.Series.Workload] = max(ends[a.Series.Workload], a.end())
	}
	if weeks > 0 {
		n.IncidentsPerWeek = float64(n.Incidents) / weeks
	}
	return n
}

// trim puts the lists in order of time, and bounds them.
func (r *WhatIf) trim(most int) {
	for _, list := range []struct {
		alerts *[]Alert
		more   *int
	}{{&r.Gained, &r.MoreGained}, {&r.Lost, &r.MoreLost}} {
		slices.SortStableFunc(*list.alerts, func(a, b Alert) int {
			return cmp.Or(cmp.Compare(a.OpenedAt, b.OpenedAt), compareIDs(a.Series.ID, b.Series.ID))
		})
		*list.more = max(0, len(*list.alerts)-most)
		*list.alerts = (*list.alerts)[:min(len(*list.alerts), most)]
	}
}
