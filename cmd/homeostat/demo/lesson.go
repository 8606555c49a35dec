package demo

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
	"github.com/homeostat/homeostat/engine"
)

// lesson is what labels come to: the same recording with them in place.
type lesson struct {
	story    *story
	labelled []*alarm
	after    *pass
	// What became of the false alarms: gone; told later or of shorter life;
	// still there; and new ones.
	gone, later, stay, fresh []*alarm
}

// teach labels the weakest false alarm of all recordings and replays its
// recording, and then all false alarms of that recording. It returns what each
// came to, nothing when there is nothing that a label could quiet.
func teach(ctx context.Context, stories []*story) ([]*lesson, error) {
	var from *story
	var weakest *alarm
	for _, s := range stories {
		for _, a := range s.pass.of(scorecard.False) {
			if a.teachable() && (weakest == nil || a.excess() < weakest.excess()) {
				from, weakest = s, a
			}
		}
	}
	if weakest == nil {
		return nil, nil
	}
	one, err := from.relabelled(ctx, []*alarm{weakest})
	if err != nil {
		return nil, err
	}
	var all []*alarm
	for _, a := range from.pass.of(scorecard.False) {
		if a.teachable() {
			all = append(all, a)
		}
	}
	if len(all) == 1 {
		return []*lesson{one}, nil
	}
	more, err := from.relabelled(ctx, all)
	if err != nil {
		return nil, err
	}
	return []*lesson{one, more}, nil
}

// teachable says whether a threshold decides over the alarm: silence and data
// faults have none.
func (a *alarm) teachable() bool {
	return len(a.members) > 0 && !slices.ContainsFunc(a.members, func(m *engine.Anomaly) bool { return m.Threshold.Open == 0 })
}

// excess is how far over its threshold the worst member went at most, as a
// ratio.
func (a *alarm) excess() float64 {
	most := 0.0
	for i, m := range a.last.Members {
		if i < len(a.members) {
			most = max(most, m.Peak.Float()/a.members[i].Threshold.Open.Float())
		}
	}
	return most
}

// labelStep is the factor by which one label moves a threshold, and maxLabels how
// many move it at most: labels at most double one.
const (
	labelStep = 1.05
	maxLabels = 14
)

// labelsNeeded is how many labels on the series of its worst member bring the
// threshold above the alarm.
func (a *alarm) labelsNeeded() int {
	return int(math.Floor(math.Log(a.excess())/math.Log(labelStep))) + 1
}

// relabelled replays the story's recording with a false-alarm label on every
// anomaly of the alarms, given before the first of them could be told.
func (s *story) relabelled(ctx context.Context, alarms []*alarm) (*lesson, error) {
	var labels []engine.Label
	for _, a := range alarms {
		for _, m := range a.members {
			labels = append(labels, engine.Label{
				RequestID: "demo-" + m.ID.String(), Anomaly: m.ID, Series: m.Series.ID, Partition: m.Series.Partition,
				Judgement: engine.JudgedFalse, By: "demo", At: s.rec.truth.ScoredFrom.UnixMilli(),
			})
		}
	}
	after, err := s.rec.run(ctx, labels, nil)
	if err != nil {
		return nil, fmt.Errorf("the second pass of %s: %w", s.rec.truth.Name, err)
	}
	l := &lesson{story: s, labelled: alarms, after: after}
	l.compare()
	return l, nil
}

// count is how many labels were given.
func (l *lesson) count() int {
	n := 0
	for _, a := range l.labelled {
		n += len(a.members)
	}
	return n
}

// compare says which false alarms are gone. One that merely opens later in the
// time of the old one isn't.
func (l *lesson) compare() {
	t := &l.story.rec.truth
	was, is := l.story.pass.of(scorecard.False), l.after.alarms
	for _, a := range was {
		i := slices.IndexFunc(is, func(b *alarm) bool { return a.meets(b, t) })
		switch {
		case i < 0:
			l.gone = append(l.gone, a)
		case is[i].opened.At > a.opened.At:
			l.later = append(l.later, a)
		default:
			l.stay = append(l.stay, a)
		}
	}
	for _, b := range l.after.of(scorecard.False) {
		if !slices.ContainsFunc(l.story.pass.alarms, func(a *alarm) bool { return a.meets(b, t) }) {
			l.fresh = append(l.fresh, b)
		}
	}
}

// meets says that two alarms of two passes are of one workload and overlap.
func (a *alarm) meets(b *alarm, t *scorecard.Truth) bool {
	return a.Workload == b.Workload && a.opened.DataFault == b.opened.DataFault &&
		a.opened.OpenedAt <= b.ended(t) && b.opened.OpenedAt <= a.ended(t)
}

// moved lists the thresholds that the labels moved, each once, with the series
// that it belongs to, in the order in which the anomalies opened.
func (l *lesson) moved() []movedSeries {
	var out []movedSeries
	for _, mv := range l.after.moves {
		i := slices.IndexFunc(out, func(m movedSeries) bool { return m.series.ID == mv.Series })
		if i >= 0 {
			out[i].move.After, out[i].move.Steps = mv.After, mv.Steps
			continue
		}
		for _, a := range l.labelled {
			j := slices.IndexFunc(a.members, func(m *engine.Anomaly) bool { return m.Series.ID == mv.Series })
			if j >= 0 {
				out = append(out, movedSeries{a.members[j].Series, mv})
				break
			}
		}
	}
	slices.SortStableFunc(out, func(a, b movedSeries) int { return -cmp.Compare(a.move.Steps, b.move.Steps) })
	return out
}

type movedSeries struct {
	series *engine.Series
	move   engine.ThresholdMove
}
