package lean

import (
	"math"

	"github.com/homeostat/homeostat/models"
)

// Bounds returns the values between which a point at the given time scores less
// than theta: one step beyond either of them and the score is theta or more. It
// asks Score itself, so that putting a bound in a value's place does change the
// decision. It is for events, not for the way of every sample: some 300 calls
// of Score. Ok is false when no value would have been quiet, which is so for a
// moment after a change, and while the baseline is not warm.
func (m *Model) Bounds(c *Core, s *Season, at int64, theta models.Score) (lower, upper float64, ok bool) {
	var r models.Reading
	score := func(x float64) models.Score {
		m.Score(c, s, at, x, &r)
		return r.Score
	}
	middle, ok := m.quiet(c, s, at, theta, score)
	if !ok || theta <= 0 || theta > models.MaxScore {
		return 0, 0, false
	}
	score(middle)
	width := math.Max(r.Scale, math.Abs(middle)*roundoff)
	return edge(middle, -width, theta, score), edge(middle, width, theta, score), true
}

// quiet returns a value that scores less than theta, the quietest of where each
// residual vanishes and of the points between those.
func (m *Model) quiet(c *Core, s *Season, at int64, theta models.Score, score func(float64) models.Score) (float64, bool) {
	if c.points < warmPoints {
		return 0, false
	}
	var r models.Reading
	m.Score(c, s, at, c.value, &r)
	level := r.Expected
	if c.seasonal(s, at) {
		level -= float64(s.Recent[0]) + float64(s.Recent[1])
	} else {
		level -= float64(c.recent[0]) + float64(c.recent[1])
	}
	best, low := r.Expected, models.Score(math.MaxInt16)
	centres := [...]float64{r.Expected, c.value, c.value + c.line.Ahead(), level}
	for i, a := range centres {
		for _, b := range centres[i:] {
			for _, x := range [...]float64{a, (a + b) / 2, 0.75*a + 0.25*b, 0.25*a + 0.75*b} {
				if v := score(x); v < low {
					best, low = x, v
				}
			}
		}
	}
	return best, low < theta
}

// edge returns the last value on the way from middle, in the direction and at
// the scale of width, that scores less than theta.
func edge(middle, width float64, theta models.Score, score func(float64) models.Score) float64 {
	in, out := middle, middle+width
	for score(out) < theta {
		if in = out; math.Abs(out) >= extreme {
			return in
		}
		width *= 2
		out = middle + width
	}
	for {
		half := in + (out-in)/2
		if half == in || half == out {
			return in
		}
		if score(half) < theta {
			in = half
		} else {
			out = half
		}
	}
}
