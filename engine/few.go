package engine

import (
	"math"

	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/lean"
)

// Few: what counts things and is nearly always zero. After hours of zeros any
// value is beyond everything that was seen, and yet a queue of one for a moment,
// or one more error, is nothing to a person: one thing can always happen. So the
// unit is the measure and not the history: until enough of them have come
// together, each is worth no more than a bounded score, as a single error is in
// models/ratio.
const (
	fewUnits  = 3   // that have come in the last three points are enough: three at once, or one that stays
	perUnit   = 1.5 // score that one of fewer units is worth
	nearZero  = 0.5 // units that are expected, at most, for this to be about
	wholeness = 1e-6
)

// few bounds the score of a handful of units. What is no whole number of them, or
// was none the last time, is no count, and is left alone.
func few(r *models.Reading, v, last, unit float64) {
	if n, ok := units(r, v, last, unit); ok && n < fewUnits {
		r.Score = min(r.Score, models.ScoreOf(perUnit*n))
	}
}

// units is how many units the last three points are from what is expected, all
// together.
func units(r *models.Reading, v, last, unit float64) (n float64, ok bool) {
	if unit == 0 || math.Abs(r.Expected) > nearZero*unit || !whole(v/unit) || !whole(last/unit) {
		return 0, false
	}
	return math.Round(lean.Lately(r) / unit), true
}

// whole says that a number is one of things.
func whole(n float64) bool { return math.Abs(n-math.Round(n)) <= wholeness*max(1, math.Abs(n)) }

// unitOf is what one thing more adds to a slot's measurement, given the seconds
// between two points: 1 to a gauge, one a so many seconds to a counter's rate. It
// is 0 for what is derived.
func (sl *slot) unitOf(seconds float64) float64 {
	switch {
	case sl.role == roleGauge:
		return 1
	case sl.role == roleCounter && seconds > 0:
		return 1 / seconds
	}
	return 0
}

// quiet are the values between which a point scores less than open; ok is false
// where no value does.
func (s *Shard) quiet(p *partition, i uint32, at int64, unit float64, open models.Score) (lower, upper float64, ok bool) {
	m := p.measureOf(i)
	model, season := s.engine.model, p.season(m)
	lower, upper, ok = model.Bounds(&m.core, season, at, open)
	if unit == 0 {
		return lower, upper, ok
	}
	_, last := m.core.Last()
	if !whole(last / unit) {
		return lower, upper, ok
	}
	var r models.Reading
	// Less than expected before makes room for more than fewUnits at once.
	for n := 1.0; n < 2*fewUnits; n++ {
		for _, v := range [...]float64{-n * unit, n * unit} {
			model.Score(&m.core, season, at, v, &r)
			few(&r, v, last, unit)
			if r.Score < open {
				lower, upper, ok = min(lower, v), max(upper, v), true
			}
		}
	}
	return lower, upper, ok
}
