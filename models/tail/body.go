// Package tail turns the size of a deviation into a score: −log10 of the
// probability of one as large.
package tail

import (
	"encoding/binary"
	"math"

	"github.com/homeostat/homeostat/models/ewma"
)

const (
	medianScore  = 0.30103 // −log10(1/2)
	upperScore   = 1.0     // −log10(1/10)
	maxScore     = 30.0
	upperFloor   = 0.7  // ln of the 90 % quantile of |N(0,1)| over its mean is 0.72
	firstShape   = 0.3  // the shape before anything was seen
	shapeFloor   = 0.12 // a Gaussian body gives about 0.25
	shapeWeight  = 20   // how many exceedances the first shape weighs
	shapeMemory  = 1000 // exceedances, the longest memory of the shape
	youngExceeds = 30   // exceedances up to which the shape listens to more of the tail
	quantileStep = 0.005
	quantileRush = 30 // points after which the first, long steps have halved
	minSpread    = 0.05
)

// Body calibrates a deviation by the body of its distribution, not by its tail.
// A histogram of the tail, or a Hill estimate, swallows anomalies that are
// frequent; the body does not see them. With a the logarithm of a deviation in
// units of its usual size:
//
//	m, U ← median and 90 % quantile of a, by stochastic steps
//	xi   ← mean of min(a − U, xi)/(1 − 1/e) over the a above U
//	score = 1 + (a − U)/(xi ln 10) above U, linear through (m, log10 2) below
//
// The mean of min(E, xi) for an exponential E of mean xi is xi (1 − 1/e), so the
// shape rests on the lower part of the exceedances. The first thirty count up to
// 3 xi, so that a series of another kind finds its shape within hours. U never
// falls under the quantile of a Gaussian: a body that is narrower, as on a series
// that is mostly zero, says nothing of what lies beyond it.
type Body struct {
	Median  float32
	Upper   float32
	Shape   float32
	seen    uint16 // points taken in, saturating
	exceeds uint16 // exceedances taken in, up to shapeMemory
}

// BodySize is the length of an encoded Body in bytes.
const BodySize = 3*4 + 2*2

// New returns a body as it is before any point: that of a Gaussian.
func New() Body { return Body{Median: -0.17, Upper: 0.72, Shape: firstShape} }

// Score returns −log10 of the probability of a deviation at least as large.
func (c *Body) Score(a float64) float64 {
	over := a - float64(c.Upper)
	if over >= 0 {
		return min(maxScore, upperScore+over/(float64(c.Shape)*math.Ln10))
	}
	spread := max(float64(c.Upper)-float64(c.Median), minSpread)
	return max(0, upperScore+(upperScore-medianScore)*over/spread)
}

// Learn takes a in. It has no weight: what it moves by is bounded whatever a is,
// and if the larger ones weighed less, the tail would shrink.
func (c *Body) Learn(a float64) {
	step := quantileRush / (quantileRush + float64(c.seen))
	if step < quantileStep {
		step = quantileStep
	}
	if c.seen < math.MaxUint16 {
		c.seen++
	}
	// Which side of the median a point lies on is a coin toss, and no processor
	// predicts one: a copied sign costs less than a branch.
	c.Median += float32(math.Copysign(0.5*step, a-float64(c.Median)))
	over := a - float64(c.Upper)
	if over <= 0 {
		c.Upper = max(c.Upper-float32(0.1*step), c.Median, upperFloor)
		return
	}
	c.Upper += float32(0.9 * step)
	if c.exceeds < shapeMemory {
		c.exceeds++
	}
	xi := float64(c.Shape)
	seen := min(over, xi) / (1 - 1/math.E)
	if c.exceeds < youngExceeds {
		// Three shapes and not one: from 0.3 alone, what is far from the first
		// guess would take days and raise an alarm at each of its points.
		seen = min(over, 3*xi) / (1 - 1/(math.E*math.E*math.E))
	}
	xi += (seen - xi) / (float64(c.exceeds) + shapeWeight)
	c.Shape = float32(max(xi, shapeFloor))
}

// Forget keeps what was learnt, but lets new points move it as fast as if only
// a few had been seen. It is how a new series starts from another one's body.
func (c *Body) Forget(seen uint16) {
	c.seen, c.exceeds = min(c.seen, seen), min(c.exceeds, seen/10)
}

// Ln returns the natural logarithm of a positive, finite x that is not
// subnormal, within 1e-7. With x = m 2^k, 1 ≤ m < 2 and t = (m−√2)/(m+√2),
//
//	ln x = (k + 1/2) ln 2 + 2 (t + t³/3 + t⁵/5 + t⁷/7 + …)
//
// It is cheaper than math.Log, has no branch, and is the same to the last bit on
// every processor.
func Ln(x float64) float64 {
	const mantissa, one = 1<<52 - 1, 0x3ff
	bits := math.Float64bits(x)
	k := float64(int(bits>>52)-one) + 0.5
	m := math.Float64frombits(bits&mantissa | one<<52)
	t := (m - math.Sqrt2) / (m + math.Sqrt2)
	q := t * t
	p := 1.0/5 + float64(q*(1.0/7))
	p = 1.0/3 + float64(q*p)
	p = 1 + float64(q*p)
	return float64(k*math.Ln2) + float64(2*t*p)
}

// Append appends the encoded body.
func (c *Body) Append(b []byte) []byte {
	b = ewma.AppendFloats(b, c.Median, c.Upper, c.Shape)
	b = binary.LittleEndian.AppendUint16(b, c.seen)
	return binary.LittleEndian.AppendUint16(b, c.exceeds)
}

// Parse replaces the body by the one encoded in b, which is BodySize long. It
// reports whether all of it is a possible body.
func (c *Body) Parse(b []byte) bool {
	if !ewma.ParseFloats(b, &c.Median, &c.Upper, &c.Shape) {
		return false
	}
	c.seen = binary.LittleEndian.Uint16(b[12:])
	c.exceeds = binary.LittleEndian.Uint16(b[14:])
	return c.Shape >= shapeFloor && c.Upper >= c.Median && c.exceeds <= shapeMemory
}
