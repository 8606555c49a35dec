package engine

import (
	"math"

	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/deep"
	"github.com/homeostat/homeostat/models/spread"
)

// episodeKey names the episode of one channel of a slot.
type episodeKey struct {
	slot    uint32
	channel uint8
}

// episode is the life of one anomaly. A closed one is kept for as long as a
// crash could make its points come again.
type episode struct {
	ID        AnomalyID
	Kind      Kind
	Open      bool
	OpenedAt  int64
	UpdatedAt int64 // when it was last said anything of, ms
	EventAt   int64 // the newest point that caused a record; older ones cause none
	Peak      models.Score
	Side      int8    // the direction at opening
	From      float64 // what was expected then,
	To        float64 // and what came
	Points    int32   // since it opened
	Onside    int32   // of those, how many on that side
}

// A spike that lasts this many points and this long on one side is a level
// shift, as far as one can tell.
const (
	shiftPoints = 10
	shiftMillis = 10 * 60 * 1000
	shiftShare  = 0.8
)

// A queue that stays up for this long is one that does not drain.
const (
	queuePoints = 5
	queueMillis = 5 * minuteMillis
)

// tell turns what a point did to its channel's alarm into a record.
func (s *Shard) tell(x *point, ep *episode, c *cause) {
	r := x.reading
	switch {
	case x.change == models.Opened:
		side := int8(1)
		if r.Residual < 0 {
			side = -1
		}
		kind := x.kind(side)
		id := x.part.slots[x.slot].series.ID
		ep = &episode{
			ID: anomalyID(id, x.at, kind), Kind: kind, Open: true, OpenedAt: x.at, Peak: r.Score, Side: side, From: r.Expected, To: x.value,
			Points: 1, Onside: 1,
		}
		x.part.episodes[episodeKey{x.slot, uint8(x.channel)}] = ep
		s.say(x, ep, Opened, c)
	case ep == nil || !ep.Open:
		// The alarm was open in a page older than the episode's end; it ends
		// by itself.
	case x.change == models.Ended:
		ep.Open = false
		s.say(x, ep, Closed, c)
	default:
		ep.take(x)
		if x.at-ep.UpdatedAt >= s.engine.updateEvery && ep.fresh(x) {
			s.say(x, ep, Updated, c)
		}
	}
}

// kind names the trouble that a point opens.
func (x *point) kind(side int8) Kind {
	if x.channel == channelSlow && x.lost {
		return KindLostSeason
	}
	switch x.channel {
	case channelSlow:
		return KindLeak
	case channelDeep:
		if deep.Record(x.reading) {
			return KindNovelty
		}
		return KindShape
	}
	switch x.channel {
	case channelLimit:
		return KindSaturation
	case channelSpread:
		return KindVarianceChange
	}
	m := x.part.measureOf(x.slot)
	kind := kindOf(x.part.slots[x.slot].class, side)
	if kind == KindSpike && x.part.atLimit(m, x.value) {
		return KindSaturation
	}
	if (kind == KindSpike || kind == KindDip || kind == KindTrafficSurge || kind == KindTrafficDrop) && x.lostSeason() {
		return KindLostSeason
	}
	return kind
}

// lostSeason says that a value is unusual because it stayed where it was while
// the season went on: what moved away is what was expected, not the value.
func (x *point) lostSeason() bool {
	m := x.part.measureOf(x.slot)
	if m.season == 0 || m.ratio != 0 {
		return false
	}
	level := m.core.Level()
	return math.Abs(x.value-level) < lostShare*math.Abs(x.reading.Expected-level)
}

// lostShare is how little, of the way that the season went, a value may have
// moved for its season to be lost.
const lostShare = 0.3

// take counts a point of an open episode, and names the episode anew when its
// shape has become plain.
func (ep *episode) take(x *point) {
	r := x.reading
	ep.Peak = max(ep.Peak, r.Score)
	ep.Points++
	if (r.Residual < 0) == (ep.Side < 0) {
		ep.Onside++
	}
	if ep.Kind != KindSpike && ep.Kind != KindDip && ep.Kind != KindLevelShift {
		return
	}
	series := x.part.slots[x.slot].series
	lasts := func(points int32, millis int64) bool {
		return ep.Points >= points && x.at-ep.OpenedAt >= millis && float64(ep.Onside) >= shiftShare*float64(ep.Points)
	}
	switch {
	case ep.Side > 0 && x.part.atLimit(x.part.measureOf(x.slot), x.value),
		ep.Kind == KindSpike && isQueue(series) && lasts(queuePoints, queueMillis):
		ep.Kind = KindSaturation
	case ep.Kind != KindLevelShift && lasts(shiftPoints, shiftMillis):
		ep.Kind = KindLevelShift
	}
}

// fresh says whether there is something to say: the point itself is abnormal.
func (ep *episode) fresh(x *point) bool { return x.reading.Score >= x.standing.Close }

// say makes the record of a revision.
func (s *Shard) say(x *point, ep *episode, rev Revision, c *cause) {
	ep.UpdatedAt, ep.EventAt = x.at, x.at
	x.part.touch(x.slot)
	series := x.part.slots[x.slot].series
	a := &Anomaly{
		ID: ep.ID, Revision: rev, Series: series, Kind: ep.Kind, Epoch: c.epoch, At: x.at, OpenedAt: ep.OpenedAt,
		Value: x.value, Expected: x.reading.Expected, Score: x.reading.Score, Peak: ep.Peak,
		Threshold: x.standing, Tier: tierOf(ep.Kind), Direction: direction(x.reading.Residual),
	}
	a.Limit, a.LimitAt = x.limit(a)
	var bounded bool
	a.Lower, a.Upper, bounded = s.bounds(x)
	a.Factors = s.factors(x, ep, a)
	if rev == Opened {
		a.Quiet = s.quietIf(x, a.Lower, a.Upper, bounded)
	}
	c.add(a, mark{batch: c.batch, epoch: c.epoch, at: x.at, series: series.ID, kind: uint8(ep.Kind), rev: rev})
}

func direction(residual float64) int8 {
	switch {
	case residual > 0:
		return 1
	case residual < 0:
		return -1
	}
	return 0
}

func (c *cause) add(r Record, m mark) {
	c.fx.Records = append(c.fx.Records, r)
	c.fx.marks = append(c.fx.marks, m)
}

// bounds are the values between which the point would not have opened an
// episode; false when no value would have been quiet.
func (s *Shard) bounds(x *point) (lower, upper float64, ok bool) {
	m := x.part.measureOf(x.slot)
	switch {
	case x.channel == channelSlow:
		lower, upper, ok = x.reading.Expected-x.reading.Scale, x.reading.Expected+x.reading.Scale, true
	case x.channel == channelSpread:
		lower, upper, ok = spread.Still*x.reading.Expected, spread.More*x.reading.Expected, true
	case x.channel == channelLimit:
		lower, upper, ok = 0, math.Nextafter(leaveShare*x.part.limits[m.limit-1].value, 0), true
	case x.channel == channelDeep:
		lower, upper = x.part.deeps[m.deep-1].Bounds(x.at, x.value, x.standing.Open)
		ok = lower < upper
	case m.ratio != 0:
		lower, upper = s.engine.shares.Bounds(&x.part.ratios[m.ratio-1], x.at, x.pooled, x.standing.Open)
		ok = true
	default:
		unit := x.unit
		if unit > 0 && !whole(x.value/unit) {
			unit = 0 // it counts nothing after all
		}
		lower, upper, ok = s.quiet(x.part, x.slot, x.at, unit, x.standing.Open)
	}
	return s.floorOf(x.part, x.slot, m).widen(lower, upper, x.reading.Expected, ok)
}
