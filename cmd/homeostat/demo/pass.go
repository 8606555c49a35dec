package demo

import (
	"context"
	"slices"
	"time"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
	"github.com/homeostat/homeostat/models"
)

// alarm is an incident of which a person is told, and what became of it. Those
// that are only held, such as faults of the data, are none.
type alarm struct {
	opened  *engine.Incident
	last    *engine.Incident  // its newest revision
	first   *engine.Anomaly   // the anomaly that it opened with
	members []*engine.Anomaly // as each opened
	told    bool
	scorecard.Judged
}

// pass is what one replay of a recording came to.
type pass struct {
	alarms       []*alarm // in order of time
	held         int      // incidents in the scored stretch of which nobody is told
	card         scorecard.Card
	moves        []engine.ThresholdMove
	stats        loop.Stats
	series       int
	measurements int

	loudest tally                       // of all that lies outside faults
	culprit []map[engine.SeriesID]tally // of each fault's workload while it lasts
}

// tally is how high one series scored.
type tally struct {
	series *engine.Series
	at     int64
	score  models.Score
	points int
}

// run replays a recording with labels in place and holds what it found against
// the truth.
func (r *recording) run(ctx context.Context, labels []engine.Label, done func(events int)) (*pass, error) {
	p := &pass{culprit: make([]map[engine.SeriesID]tally, len(r.truth.Faults))}
	for i := range p.culprit {
		p.culprit[i] = map[engine.SeriesID]tally{}
	}
	g := &gathering{anomalies: map[engine.AnomalyID]*engine.Anomaly{}, incidents: map[engine.IncidentID]*alarm{}}
	stats, e, err := r.replay(ctx, watcher{
		labels: labels, records: g, done: done,
		scored: func(points []engine.Scored) { p.listen(&r.truth, points) },
	})
	if err != nil {
		return nil, err
	}
	p.stats, p.moves = stats, g.moves
	p.series, p.measurements = e.Size()
	p.alarms = g.alarms
	for _, a := range g.incidents {
		if !a.told && a.opened.At >= r.truth.ScoredFrom.UnixMilli() {
			p.held++
		}
	}
	slices.SortStableFunc(p.alarms, func(a, b *alarm) int { return int(min(max(a.opened.At-b.opened.At, -1), 1)) })
	alarms := make([]scorecard.Alarm, len(p.alarms))
	for i, a := range p.alarms {
		alarms[i] = scorecard.Alarm{At: time.UnixMilli(a.opened.At).UTC(), Workload: string(a.opened.Workload)}
		if a.first != nil {
			alarms[i].Text = a.first.Why()
		}
	}
	p.card = scorecard.Judge(&r.truth, alarms)
	for i, a := range p.alarms {
		a.Judged = p.card.Alarms[i]
		for _, m := range a.last.Members {
			if x := g.anomalies[m.Anomaly]; x != nil {
				a.members = append(a.members, x)
			}
		}
	}
	return p, nil
}

// listen keeps who scored highest, for the pictures of what no alarm names.
func (p *pass) listen(t *scorecard.Truth, points []engine.Scored) {
	for i := range points {
		x := &points[i]
		at := time.UnixMilli(x.At)
		if at.Before(t.ScoredFrom) {
			continue
		}
		during := false
		for n := range t.Faults {
			f := &t.Faults[n]
			if at.Before(f.Start) || at.After(f.End.Add(scorecard.Aftermath)) {
				continue
			}
			during = true
			if string(x.Series.Workload) == f.Workload && !at.After(f.End) {
				was := p.culprit[n][x.Series.ID]
				now := tally{x.Series, was.at, was.score, was.points + 1}
				if x.Reading.Score >= was.score {
					now.at, now.score = x.At, x.Reading.Score
				}
				p.culprit[n][x.Series.ID] = now
			}
		}
		if !during && (p.loudest.series == nil || x.Reading.Score > p.loudest.score) {
			p.loudest = tally{series: x.Series, at: x.At, score: x.Reading.Score}
		}
	}
}

// of lists the alarms that have a verdict.
func (p *pass) of(v scorecard.Verdict) []*alarm {
	var out []*alarm
	for _, a := range p.alarms {
		if a.Verdict == v {
			out = append(out, a)
		}
	}
	return out
}

// found is how many faults were found.
func (p *pass) found() int {
	n := 0
	for _, l := range p.card.Lines {
		if l.Found {
			n++
		}
	}
	return n
}

// gathering puts anomalies and incidents together as they are told.
type gathering struct {
	anomalies map[engine.AnomalyID]*engine.Anomaly
	incidents map[engine.IncidentID]*alarm
	alarms    []*alarm
	moves     []engine.ThresholdMove
}

// Deliver takes records in.
func (g *gathering) Deliver(_ uint64, records []engine.Record) {
	for _, rec := range records {
		switch r := rec.(type) {
		case *engine.Anomaly:
			if r.Revision == engine.Opened {
				g.anomalies[r.ID] = r
			}
		case *engine.Incident:
			if r.Revision == engine.Opened {
				a := &alarm{opened: r}
				if len(r.Members) > 0 {
					a.first = g.anomalies[r.Members[0].Anomaly]
				}
				g.incidents[r.ID] = a
			}
			if a := g.incidents[r.ID]; a != nil {
				a.last = r
			}
		case engine.Decision:
			// The decision comes with the incident's first record and bears its time.
			if a := g.incidents[r.Incident]; a != nil && r.Verb == engine.Act && !a.told {
				a.told = true
				g.alarms = append(g.alarms, a)
			}
		case engine.ThresholdMove:
			g.moves = append(g.moves, r)
		}
	}
}

// worst is the worst measurement among the members, nil when there is none: of
// silence and of a data fault there is nothing to see. The worst is the one
// of which score and length come to most; a score over fullScore says no more.
func (a *alarm) worst(t *scorecard.Truth) (worst *engine.Series, weight float64) {
	for _, m := range a.last.Members {
		i := slices.IndexFunc(a.members, func(x *engine.Anomaly) bool { return x.ID == m.Anomaly })
		if i < 0 || m.Kind == engine.KindDataFault || m.Kind == engine.KindSilence {
			continue
		}
		end := m.ClosedAt
		if end == 0 {
			end = t.End.UnixMilli()
		}
		w := min(m.Peak.Float(), fullScore) * float64(max(end-m.OpenedAt, 1))
		if worst == nil || w > weight {
			worst, weight = a.members[i].Series, w
		}
	}
	return worst, weight
}

const fullScore = 10

// ended is when the last member ended, in milliseconds; the end of the recording
// when one is open.
func (a *alarm) ended(t *scorecard.Truth) int64 {
	end := a.opened.OpenedAt
	for _, m := range a.last.Members {
		if m.ClosedAt == 0 {
			return t.End.UnixMilli()
		}
		end = max(end, m.ClosedAt)
	}
	return end
}
