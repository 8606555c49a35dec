package engine

import (
	"math"

	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/trend"
)

// The slow channel: what rises for hours. It looks once an hour, and has a
// stricter threshold than a point's, because a day's weather of a series is
// less well known than its minute's.

// configuredSlow is the slow channel's threshold: the one that its model names
// for a false alarm in a fortnight or less, moved as the configuration moves
// the others.
func (e *Engine) configuredSlow() models.Score {
	return models.ScoreOf(trend.OpenAt.Float() + math.Log10(e.cfg.FalseAlarmDays/defaultFalseAlarmDays))
}

// scoreTrend lets the slow channel of a gauge take the value in. It has
// something to say when an hour has ended.
func (s *Shard) scoreTrend(p *partition, i uint32, at int64, v float64, c *cause) {
	m := p.measureOf(i)
	core := &p.trends[m.trend-1]
	if !s.engine.slopes.Learn(core, at, v) {
		return
	}
	rise := s.engine.slopes.Score(core)
	s.reading = models.Reading{
		Score: rise.Score, NumParts: 1, Warm: rise.Noise > 0,
		Expected: rise.From, Scale: rise.Noise, Residual: v - rise.From,
	}
	s.reading.Parts[0] = rise.Score
	x := point{
		part: p, slot: i, channel: channelSlow, at: at, value: v, reading: &s.reading,
		slope: rise.PerHour, since: rise.Since,
	}
	s.compare(&x, m, c)
}
