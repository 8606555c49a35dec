package engine

import (
	"math"

	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/trend"
)

// The slow channel: what rises for hours, and the day's change that does not come.
// It looks once an hour, and has a stricter threshold than a point's, because a
// day's weather of a series is less well known than its minute's. Gauges have it,
// and traffic that has a season.

const hourMillis = 60 * minuteMillis

// slowOpen is the slow channel's threshold.
func slowOpen(days float64) models.Score { return rarer(trend.OpenAt, days) }

// rarer is the threshold of a channel that names one of its own for a false alarm
// in a fortnight or less, moved as the configuration of so many days moves the
// others.
func rarer(open models.Score, days float64) models.Score {
	return models.ScoreOf(open.Float() + math.Log10(days/defaultFalseAlarmDays))
}

// scoreTrend lets the slow channel of a gauge take the value in. It has
// something to say when an hour has ended.
func (s *Shard) scoreTrend(p *partition, i uint32, at int64, v float64, c *cause) {
	m := p.measureOf(i)
	core := &p.trends[m.trend-1]
	if !s.engine.slopes.Learn(core, at, v) {
		return
	}
	x := point{part: p, slot: i, channel: channelSlow, at: at, value: v, reading: &s.reading}
	switch {
	case s.lostDay(&x, m, core):
	case p.slots[i].role != roleGauge:
		// Traffic may rise for days and leak nothing.
		s.reading = models.Reading{Warm: true, Expected: v}
	default:
		rise := s.engine.slopes.Score(core)
		s.reading = models.Reading{Score: rise.Score, Warm: rise.Noise > 0, Expected: rise.From, Scale: rise.Noise, Residual: v - rise.From}
		x.slope, x.climb, x.since = rise.PerHour, rise.Z, rise.Since
	}
	s.reading.NumParts = 1
	s.reading.Parts[0] = s.reading.Score
	s.compare(&x, m, c)
}

// lostDay says that the daily rise or fall did not come: what the season has
// learnt moves over the last hours, and so did the day before, and the value
// stayed. Both are asked, because a level shift of yesterday is no season, and
// the season's table may still know what is over. A day that ends as the day
// before ended has found its way back and lost nothing.
func (s *Shard) lostDay(x *point, m *measure, core *trend.Core) bool {
	if m.season == 0 {
		return false
	}
	drift, ok := s.engine.slopes.Drift(core)
	if !ok {
		return false
	}
	table := x.part.season(m)
	local := s.engine.cfg.Zone.Local(x.at)
	ended := local - local%hourMillis - hourMillis/2 // the middle of the hour that ended
	moves := table.Forecast(x.at, ended) - table.Forecast(x.at, ended-trend.DriftHours*hourMillis)
	if math.Abs(drift.Moved) >= lostShare*math.Abs(moves) {
		return false
	}
	way := math.Copysign(1, moves)
	missing := min(-way*drift.Climb, -way*drift.Apart)
	if missing < lostPart*math.Abs(moves) || math.Abs(drift.Apart) > math.Abs(moves)/lostPart {
		return false
	}
	x.lost, x.moved, x.slope = true, drift.Moved, moves
	s.reading = models.Reading{
		Score: trend.ScoreOf(min(missing, math.Abs(moves)) / drift.Usual), Warm: true,
		Expected: x.value - drift.Apart, Scale: drift.Usual, Residual: drift.Apart,
	}
	return true
}

// lostPart is how much of what the season moves must be missing against the day
// before, and how much of what is missing the season must explain: in the middle
// of another trouble the season is not the news.
const lostPart = 0.5
