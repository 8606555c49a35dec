package engine

import (
	"math"

	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/lean"
	"github.com/homeostat/homeostat/models/spread"
	"github.com/homeostat/homeostat/models/trend"
)

// The channels of a measurement, each with an episode and a threshold of its
// own.
const (
	channelMain   = iota // the baseline, or the counts of a ratio
	channelSlow          // the slow rise of a gauge
	channelQuiet         // silence, which has an episode and no alarm
	channelDeep          // what the deep tier never saw before
	channelLimit         // what is at its limit
	channelSpread        // what moves more, or less, than it used to
	numChannels
)

// alarm is the hysteresis of one channel.
type alarm = models.Alarm

// point is one measurement while it is scored.
type point struct {
	part     *partition
	slot     uint32
	channel  int
	at       int64
	value    float64
	unit     float64 // what one thing more adds to the value
	reading  *models.Reading
	failed   float64 // requests that failed, of a ratio,
	pooled   float64 // and all of them; 0 elsewhere
	slope    float64 // per hour, of the slow channel; for a lost season, what the season moves in its hours
	moved    float64 // what the value moved instead
	lost     bool    // the slow channel finds the season lost
	spread   spread.Change
	climb    float64 // the slow rise in terms of its usual size
	since    int64   // when the slow rise began, ms
	change   models.Change
	standing Threshold
}

// scoreGauge scores a measurement by the lean baseline, lets its episode take
// the score in, and then learns the value. Learning comes after, so that a
// value is never compared with itself. The unit is what one thing more adds to
// the value; 0 for what counts nothing.
func (s *Shard) scoreGauge(p *partition, i uint32, at int64, v, unit float64, c *cause) {
	sl := &p.slots[i]
	if sl.role == roleDerived {
		if at <= sl.lastAt {
			return
		}
		s.wake(p, i, at, v, c)
		sl.lastAt, sl.last = at, v
		sl.hush(c.quiet)
		p.touch(i)
		c.receipt.Derived++
	}
	m := p.measureOf(i)
	model, r := s.engine.model, &s.reading
	model.Score(&m.core, p.season(m), at, v, r)
	_, last := m.core.Last()
	few(r, v, last, unit)
	x := point{part: p, slot: i, at: at, value: v, unit: unit, reading: r}
	s.compare(&x, m, c)
	ln, moved := lean.LnStep(r)
	restless := moved && r.Warm && m.spread.Learn(at, ln, v == last)
	model.Learn(&m.core, p.season(m), at, v, r, m.weight(r.Score))
	if m.season == 0 && m.core.WantsSeason() {
		p.seasons = append(p.seasons, lean.Season{})
		m.season = uint32(len(p.seasons))
		model.MakeSeason(&m.core, p.season(m))
		if sl := &p.slots[i]; m.trend == 0 && sl.class == classTraffic {
			p.trends = append(p.trends, trend.Core{})
			m.trend = uint32(len(p.trends))
		}
	}
	if m.trend != 0 {
		s.scoreTrend(p, i, at, v, c)
	}
	s.scoreDeep(p, i, at, v, c)
	if restless {
		s.scoreSpread(p, i, at, c)
	}
	if m := p.measureOf(i); m.limit != 0 {
		s.scoreLimit(p, i, at, v, c)
	}
}

// scoreRatio scores failed of total requests by their counts.
func (s *Shard) scoreRatio(p *partition, i uint32, at int64, failed, total float64, c *cause) {
	sl := &p.slots[i]
	if at <= sl.lastAt {
		return
	}
	v := failed / total
	s.wake(p, i, at, v, c)
	sl.lastAt, sl.last = at, v
	sl.hush(c.quiet)
	p.touch(i)
	c.receipt.Derived++
	m := p.measureOf(i)
	core, r := &p.ratios[m.ratio-1], &s.reading
	s.engine.shares.Score(core, at, failed, total, r)
	x := point{part: p, slot: i, at: at, value: v, reading: r, failed: failed, pooled: total}
	s.compare(&x, m, c)
	s.engine.shares.Learn(core, at, failed, total, r, 1)
}

// compare lets the episode of a point's channel take its score in and says what
// that came to.
func (s *Shard) compare(x *point, m *measure, c *cause) {
	if s.engine.cfg.Trace {
		defer func() { x.trace(m, c.fx) }()
	}
	if c.quiet {
		return
	}
	a := &m.alarm[x.channel]
	t := s.thresholds(x, m)
	kept := x.reading.Score >= TailFloor(Channel(x.channel), t.base)
	if !kept {
		m.before.passed(x.channel)
	}
	if a.Open || x.reading.Score >= t.open {
		s.step(x, m, t, c)
	}
	if kept {
		s.keepTail(x, m, t, c)
	}
}

// step lets the alarm of a point's channel take its score in.
func (s *Shard) step(x *point, m *measure, t thresholds, c *cause) {
	ep := x.part.episodes[episodeKey{x.slot, uint8(x.channel)}]
	if ep != nil && x.at <= ep.EventAt {
		return // what this point did was said before a crash
	}
	a := &m.alarm[x.channel]
	if !a.Open && s.floorOf(x.part, x.slot, m).holds(x.value, x.reading.Expected) {
		c.receipt.Held++
		return
	}
	x.standing = s.standing(x, t)
	score := x.reading.Score
	if a.Open && ep != nil && ep.Kind == KindSaturation && x.channel == channelMain && x.part.atLimit(m, x.value) {
		score = max(score, t.close) // a level that is learnt is at the limit all the same
	}
	x.change = a.Step(score, t.open, t.close)
	s.tell(x, ep, c)
}

// trace tells of a scored point. The deep tier looks at the point that the
// baseline looked at last.
func (x *point) trace(m *measure, fx *Effects) {
	switch x.channel {
	case channelMain:
		fx.Scored = append(fx.Scored, Scored{
			Series: x.part.slots[x.slot].series, At: x.at, Value: x.value, Reading: *x.reading,
			Alarm: m.alarm[channelMain].Open, Opened: x.change == models.Opened,
		})
	case channelDeep:
		last := &fx.Scored[len(fx.Scored)-1]
		last.Deep, last.DeepOpen = *x.reading, deepOpen(models.Score(m.open))
	}
}

// weight is how much of a value is learnt: all of it while the score is
// ordinary, less as it rises, so that an incident does not become normal, and
// never nothing, so that a true level shift is learnt in the end.
func (m *measure) weight(score models.Score) float64 {
	return models.WeightOf(score)
}

// thresholds are those of a point: the opening one as configured, and what is in
// force.
type thresholds struct{ base, open, close models.Score }

// thresholds are those in force for a point.
func (s *Shard) thresholds(x *point, m *measure) thresholds {
	t := thresholds{base: s.configured(x.part, m)}
	switch x.channel {
	case channelSlow:
		t.base = s.engine.slowOpen
	case channelDeep:
		t.base = deepOpen(t.base)
	case channelLimit:
		t.base = s.engine.limitOpen
	case channelSpread:
		t.base = s.engine.spreadOpen
	}
	t.open = t.base
	if x.part.slots[x.slot].flags&flagMoved != 0 {
		t.open = x.part.moved[x.slot].at(x.at).apply(t.base)
	}
	t.close = closeOf(Channel(x.channel), t.open, t.base)
	return t
}

// closeOf is the closing threshold of an opening one, given the configured one:
// half of it, and of the deep channel what news that is held counts for. It is
// never under the floor of the tail.
func closeOf(c Channel, open, base models.Score) models.Score {
	if c == ChannelDeep {
		return min(open, deepClose)
	}
	return max(open/2, TailFloor(c, base))
}

// configured is the threshold that one false alarm in FalseAlarmDays comes to
// at the measurement's interval.
func (s *Shard) configured(p *partition, m *measure) models.Score {
	var interval float64
	if m.ratio != 0 {
		interval = p.ratios[m.ratio-1].Interval()
	} else {
		interval = m.core.Step() / 1000
	}
	whole := uint32(math.Max(1, math.Round(interval)))
	if whole != m.openFor {
		m.openFor = whole
		m.open = int16(configuredFor(ChannelMain, s.engine.cfg.FalseAlarmDays, float64(whole)))
	}
	return models.Score(m.open)
}
