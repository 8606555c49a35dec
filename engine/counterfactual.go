package engine

import (
	"fmt"
	"math"

	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/trend"
)

// The counterfactual: what would have kept an anomaly quiet. It is found by
// asking the very score that opened the episode, at the moment at which it did
// and before the value is learnt. So the stated value in the place of the one
// that came does flip the decision, and one a bit closer to what came does not:
// a step of the last digit, or a hundredth of the way.

// halvings bounds how often a way is halved until its edge is known: a float
// has no more bits that matter.
const halvings = 80

// edgeOf walks from a quiet value to a loud one, and returns the last quiet one
// that it finds.
func edgeOf(quiet, loud float64, opens func(float64) bool) float64 {
	for range halvings {
		half := quiet + (loud/2 - quiet/2)
		if half == quiet || half == loud {
			break
		}
		if opens(half) {
			loud = half
		} else {
			quiet = half
		}
	}
	return quiet
}

// stated is a quiet value as it is told, and what that text stands for.
type stated struct {
	text  string
	value float64
}

// coarsest and finest are how fine the steps are in which a quiet value is told:
// in hundredths of what lies between it and the value that came, and finer only
// where those tell something wrong.
const (
	coarsest = 2
	finest   = 15
)

// state rounds the edge of what is quiet, away from the value v that was not.
// With whole numbers it stays with those while it can.
func (u unit) state(edge, v float64, whole bool, opens func(float64) bool) stated {
	way := int64(math.Copysign(1, v-edge))
	in := u.decimal(edge, 1).scale
	if math.Abs(edge) < math.Abs(v)*math.Pow10(-finest) {
		in = u.decimal(v, 1).scale
	}
	between := int(math.Floor(math.Log10(math.Abs(v-edge) / in.size())))
	for fine := coarsest; fine <= finest; fine++ {
		e := between - fine
		if whole && in.size() == 1 && fine == coarsest {
			e = max(e, 0)
		}
		d, ok := in.towards(edge, e, -way)
		if !ok {
			break
		}
		next := d
		next.m += way
		at, value := next.value(), d.value()
		if bit := value + (v-value)/100; (bit-at)*float64(way) > 0 && !opens(bit) {
			continue
		}
		if (v-at)*float64(way) >= 0 && !opens(value) && opens(at) {
			return stated{u.write(d), value}
		}
	}
	return stated{u.text(edge, mostDigits), edge}
}

// towards is the number of steps of 10^e of the scale that lies next to v, in a
// direction. It is false when there are too many to count.
func (s scale) towards(v float64, e int, way int64) (decimal, bool) {
	n := math.Floor(v / s.size() / math.Pow10(e))
	if !(math.Abs(n) < 1e17) {
		return decimal{}, false
	}
	d := decimal{int64(n), e, s}
	for range 4 { // the quotient is off by an ulp or so
		if (d.value()-v)*float64(way) >= 0 {
			break
		}
		d.m += way
	}
	return d, true
}

// noneQuiet is what there is to say where the points before are what is wrong.
const noneQuiet = "no other value of this point alone would have been quiet"

// quietIf says what would have kept the point that opens an episode quiet: in
// words, and as a value of the measurement. Lower and upper are the bounds of
// the point, if it has any.
func (s *Shard) quietIf(x *point, lower, upper float64, bounded bool) Counterfactual {
	m := x.part.measureOf(x.slot)
	switch {
	case x.channel == channelSlow:
		return s.quietSlope(x)
	case x.channel == channelSpread:
		return s.quietSpread(x)
	case x.channel == channelLimit:
		return s.quietLimit(x, m)
	case m.ratio != 0:
		return s.quietShare(x, m)
	}
	opens := s.opens(x, m)
	quiet := min(max(x.value, lower), upper)
	if quiet == x.value { // what lies between the bounds need not all be quiet
		if quiet = lower; x.value-lower > upper-x.value {
			quiet = upper
		}
	}
	if !bounded || opens(quiet) {
		return Counterfactual{Text: noneQuiet}
	}
	_, last := m.core.Last()
	u := unitOf(x.part.slots[x.slot].series)
	whole := u.per == "" && x.value == math.Trunc(x.value) && last == math.Trunc(last)
	st := u.state(edgeOf(quiet, x.value, opens), x.value, whole, opens)
	return Counterfactual{quietText(u, st, x.value), st.value, true}
}

func quietText(u unit, st stated, v float64) string {
	sign := "≤"
	if v < st.value {
		sign = "≥"
	}
	_, was := u.both(st.value, v)
	return fmt.Sprintf("quiet if %s %s (was %s)", sign, st.text, was)
}

// quietIfSent is the counterfactual of what sent nothing until some time.
func (e *Engine) quietIfSent(until int64) string {
	return "quiet if it had sent by " + e.clock(until)
}

// opens says of any value whether it would have opened the episode in the
// point's place.
func (s *Shard) opens(x *point, m *measure) func(float64) bool {
	var r models.Reading
	// Nothing of x is kept in the function: each point of each series would else
	// be one on the heap.
	part, channel, at, open, unit := x.part, x.channel, x.at, x.standing.Open, x.unit
	floor, expected := s.floorOf(x.part, x.slot, m), x.reading.Expected
	_, last := m.core.Last()
	counts := unit > 0 && whole(x.value/unit)
	return func(v float64) bool {
		if floor.holds(v, expected) {
			return false
		}
		if channel == channelDeep {
			part.deeps[m.deep-1].Score(at, v, &r)
		} else {
			s.engine.model.Score(&m.core, part.season(m), at, v, &r)
			if counts {
				few(&r, v, last, unit)
			}
		}
		return r.Score >= open
	}
}

// quietShare counts for an error ratio how many of the requests may have failed.
func (s *Shard) quietShare(x *point, m *measure) Counterfactual {
	var r models.Reading
	floor := s.floorOf(x.part, x.slot, m)
	opens := func(failed float64) bool {
		if floor.holds(failed/x.pooled, x.reading.Expected) {
			return false
		}
		s.engine.shares.Score(&x.part.ratios[m.ratio-1], x.at, failed, x.pooled, &r)
		return r.Score >= x.standing.Open
	}
	failed, quiet := x.failed, 0.0
	if opens(quiet) {
		quiet = x.reading.Expected * x.pooled
	}
	if opens(quiet) || quiet >= failed {
		return Counterfactual{Text: noneQuiet}
	}
	st := inNumbers.state(edgeOf(quiet, failed, opens), failed, failed == math.Trunc(failed), opens)
	text := fmt.Sprintf("quiet if at most %s of %s requests had failed (%s did)",
		st.text, inNumbers.text(x.pooled, mostPlain), inNumbers.text(failed, mostPlain))
	return Counterfactual{text, st.value / x.pooled, true}
}

// mostPlain are digits enough to write a count out.
const mostPlain = 12

// quietSlope says how fast a gauge may have risen. The score follows from how
// many times its usual size the climb is, and the slope is in proportion to it.
func (s *Shard) quietSlope(x *point) Counterfactual {
	u := unitOf(x.part.slots[x.slot].series)
	if x.lost {
		least := lostShare * math.Abs(x.slope)
		return Counterfactual{Text: fmt.Sprintf("quiet if it had moved by ≥ %s in those two hours", u.plain(least))}
	}
	opens := func(slope float64) bool { return trend.ScoreOf(x.climb*slope/x.slope) >= x.standing.Open }
	st := u.state(edgeOf(0, x.slope, opens), x.slope, false, opens)
	_, was := u.both(st.value, x.slope)
	return Counterfactual{Text: fmt.Sprintf("quiet if it rose by ≤ %s an hour (was %s)", st.text, was)}
}
