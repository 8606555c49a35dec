package engine

import (
	"math"
	"slices"

	"github.com/homeostat/homeostat/models"
)

// How labels move thresholds. A step is 5 % of a threshold, a day holds at most
// three (16 %), and no label brings a threshold under 74 % or over twice of what
// is configured.
const (
	stepRatio   = 1.05
	minSteps    = -6
	maxSteps    = 14
	stepsPerDay = 3
	dayMillis   = 24 * 60 * 60 * 1000
)

// movedThreshold is how far labels moved the threshold of one series. A point
// later than From is held against Steps, an earlier one against Prev, so that
// what a point is held against does not depend on when it arrived.
type movedThreshold struct {
	Steps   int8
	Prev    int8
	From    int64
	Version uint32
	Cause   string
}

func (t *movedThreshold) at(at int64) steps {
	if at > t.From {
		return steps(t.Steps)
	}
	return steps(t.Prev)
}

// steps is a number of steps of a threshold, up or down.
type steps int8

// apply moves a threshold by the steps.
func (n steps) apply(open models.Score) models.Score {
	if n == 0 {
		return open
	}
	return models.ScoreOf(open.Float() * math.Pow(stepRatio, float64(n)))
}

// configuredFor is the opening threshold of a channel that one false alarm in so
// many days comes to, at an interval in seconds: log10 of how many points they
// hold, about one of which alarms by chance.
func configuredFor(c Channel, days, interval float64) models.Score {
	switch c {
	case ChannelSlow:
		return slowOpen(days)
	case ChannelDeep:
		return deepOpen(configuredFor(ChannelMain, days, interval))
	}
	return models.ScoreOf(math.Log10(math.Max(10, days*86400/interval)))
}

// standing is the threshold in force for a point, as records tell it.
func (s *Shard) standing(x *point, in thresholds) Threshold {
	t := Threshold{Open: in.open, Close: in.close, Cause: "config"}
	if x.part.slots[x.slot].flags&flagMoved != 0 {
		mv := x.part.moved[x.slot]
		if x.at > mv.From {
			t.Version, t.Cause = mv.Version, mv.Cause
		} else if mv.Version > 0 {
			t.Version = mv.Version - 1
		}
	}
	return t
}

// fold is how many steps the labels of one series come to, in the order in
// which they were given. The last label on an anomaly counts, in the place of
// the first.
func fold(labels []Label) steps {
	last := map[AnomalyID]Judgement{}
	for _, l := range labels {
		last[l.Anomaly] = l.Judgement
	}
	var n, today int
	var day int64 = math.MinInt64
	for _, l := range labels {
		j, ok := last[l.Anomaly]
		if !ok {
			continue
		}
		delete(last, l.Anomaly)
		if d := l.At / dayMillis; d != day {
			day, today = d, 0
		}
		if today >= stepsPerDay {
			continue
		}
		today++
		switch j {
		case JudgedFalse:
			n++
		case JudgedTrue:
			n--
		}
		n = min(max(n, minSteps), maxSteps)
	}
	return steps(n)
}

// move brings the threshold of a series to the given steps. It reports false
// when there is nothing to move.
func (e *Engine) move(id SeriesID, number uint8, n steps, cause string, t Tick) (ThresholdMove, bool) {
	p := e.partition(number)
	i, ok := p.index[id]
	if !ok || p.slots[i].measure == 0 {
		return ThresholdMove{}, false
	}
	mv := p.moved[i]
	if mv == nil {
		mv = &movedThreshold{}
	}
	if steps(mv.Steps) == n {
		return ThresholdMove{}, false
	}
	base := e.shardOf(number).configured(p, &p.measures[p.slots[i].measure-1])
	before := Threshold{Open: steps(mv.Steps).apply(base), Version: mv.Version, Cause: mv.Cause}
	after := Threshold{Open: n.apply(base), Version: mv.Version + 1, Cause: cause}
	before.Close, after.Close = before.Open/2, after.Open/2
	if before.Cause == "" {
		before.Cause = "config"
	}
	p.moved[i] = &movedThreshold{Steps: int8(n), Prev: mv.Steps, From: t.Now, Version: mv.Version + 1, Cause: cause}
	p.slots[i].flags |= flagMoved
	p.touch(i)
	return ThresholdMove{
		Series: id, Partition: number, Before: before, After: after, Steps: int(n),
		From: t.Now, Epoch: e.settle.open - EpochMillis, At: t.Now,
	}, true
}

// labelBook holds the labels that count, so that taking one back is exact: the
// threshold is folded from those that are left.
type labelBook struct {
	Labels  []Label  // in the order given
	Pending []string // request IDs of labels that have not moved anything yet
	Undos   []Undo   // that wait for the next settle
	Undone  []string // request IDs of undos done, the newest last
}

// maxUndone bounds the undos remembered for idempotence.
const maxUndone = 1000

func (b *labelBook) known(request string) bool {
	for i := range b.Labels {
		if b.Labels[i].RequestID == request {
			return true
		}
	}
	return false
}

// take takes a label in; one that is known changes nothing.
func (b *labelBook) take(l Label, most int) {
	if b.known(l.RequestID) {
		return
	}
	b.Labels = append(b.Labels, l)
	b.Pending = append(b.Pending, l.RequestID)
	if len(b.Labels) > most {
		b.Labels = append(b.Labels[:0], b.Labels[len(b.Labels)-most:]...)
	}
}

// drop takes back the label that an undo names.
func (b *labelBook) drop(u Undo) {
	b.Labels = slices.DeleteFunc(b.Labels, func(l Label) bool { return l.RequestID == u.Label })
	b.Undone = append(b.Undone, u.RequestID)
	b.Undone = b.Undone[max(0, len(b.Undone)-maxUndone):]
}

// labelWhy and undoCause name the label behind an outcome or a moved threshold.
func labelWhy(request string) string  { return "label " + request }
func undoCause(request string) string { return "undo " + request }

// of is the labels of one series.
func (b *labelBook) of(id SeriesID) []Label {
	var out []Label
	for _, l := range b.Labels {
		if l.Series == id {
			out = append(out, l)
		}
	}
	return out
}

// learn turns the labels and undos that came since the last settle into moved
// thresholds and outcomes.
func (e *Engine) learn(t Tick, fx *Effects) {
	b := &e.settle.book
	for _, request := range b.Pending {
		for _, l := range b.Labels {
			if l.RequestID == request {
				e.learnLabel(l, t, fx)
				break
			}
		}
	}
	b.Pending = nil
	for _, u := range b.Undos {
		e.learnUndo(u, t, fx)
	}
	b.Undos = nil
}

func (e *Engine) learnLabel(l Label, t Tick, fx *Effects) {
	if mv, ok := e.move(l.Series, l.Partition, fold(e.settle.book.of(l.Series)), l.RequestID, t); ok {
		fx.Records = append(fx.Records, mv)
	}
	verdict := VerdictTrue
	if l.Judgement == JudgedFalse {
		verdict = VerdictFalseAlarm
	}
	fx.Records = append(fx.Records, Outcome{
		Incident: e.settle.incidentOf(l.Anomaly), Anomaly: l.Anomaly, Verdict: verdict, By: l.By,
		Why: labelWhy(l.RequestID), Epoch: e.settle.open - EpochMillis, At: t.Now,
	})
}

func (e *Engine) learnUndo(u Undo, t Tick, fx *Effects) {
	b := &e.settle.book
	for _, l := range b.Labels {
		if l.RequestID != u.Label {
			continue
		}
		b.drop(u)
		if mv, ok := e.move(l.Series, l.Partition, fold(b.of(l.Series)), undoCause(u.Label), t); ok {
			fx.Records = append(fx.Records, mv)
		}
		return
	}
}
