package lean

import (
	"github.com/homeostat/homeostat/models/ewma"
	"github.com/homeostat/homeostat/models/seasonal"
	"github.com/homeostat/homeostat/models/tail"
	"github.com/homeostat/homeostat/models/trend"
)

// parts is the number of residuals that are looked at.
const parts = 3

// The parts of a Reading, in order.
const (
	stepPart  = iota // the step from the last point
	turnPart         // the distance from the line through the last eight points
	levelPart        // the mean of the last three distances from the expected level
)

// PartNames names the places of Reading.Parts.
var PartNames = [parts]string{"step", "turn", "level"}

// Core is the state of one series: 384 bytes, no pointer. Its zero value is a
// series of which nothing has been seen.
type Core struct {
	at       int64   // ms, the last point learnt
	value    float64 // of the last point
	level    float64 // exponentially weighted, without a season
	step     float32 // ms between points, see learnStep
	run      float32 // running |value − level|
	recent   [2]float32
	points   uint32 // learnt, saturating
	hour     uint8  // of the day, being visited
	inHour   uint16 // points learnt in it, saturating
	line     trend.Line
	scales   [parts]ewma.Scale
	bodies   [parts]tail.Body
	evidence seasonal.Evidence
}

// Season is the seasonal part of a series' state, 512 bytes at most, no pointer.
type Season = seasonal.Block

const (
	bodyPoints = 30  // points after which the sizes are good enough to calibrate with
	warmPoints = 120 // points after which a score is believed
	gapSteps   = 5   // steps without a point after which the short memory is void
	extreme    = 1e30
	quietest   = 0.01  // in usual deviations; smaller ones count as this
	roundoff   = 1e-12 // of a value: a deviation of that size is arithmetic, not news
	stepFall   = 0.2
	stepRise   = 0.005
)

// Points returns how many points have been learnt.
func (c *Core) Points() int { return int(c.points) }

// Last returns the time in ms and the value of the last point learnt.
func (c *Core) Last() (at int64, value float64) { return c.at, c.value }

// Step returns the estimated milliseconds between points, 0 before the second.
func (c *Core) Step() float64 { return float64(c.step) }

// Level returns the level of the series, without a season.
func (c *Core) Level() float64 { return c.level }

// WantsSeason reports whether the series repeats itself from day to day, so
// that a Season is worth its bytes. The owner makes one with Model.MakeSeason.
func (c *Core) WantsSeason() bool { return c.evidence.Strong() }

// bounded keeps a finite value in a range in which no arithmetic overflows.
func bounded(x float64) float64 { return max(-extreme, min(extreme, x)) }

// gap reports whether too long has passed since the last point for its value to
// say what the next one should be.
func (c *Core) gap(at int64) bool {
	return c.step > 0 && float64(at-c.at) > gapSteps*float64(c.step)
}

// learnStep keeps the interval of a series. Most gaps are longer than the
// interval and none is shorter, so it falls fast and rises slowly.
func (c *Core) learnStep(at int64) {
	d := float64(at - c.at)
	s := float64(c.step)
	switch {
	case s == 0:
		s = d
	case d < s:
		s += stepFall * (d - s)
	default:
		s = min(d, s*(1+stepRise))
	}
	c.step = float32(s)
}

// usual returns the usual deviation of one point from the expected value.
func (c *Core) usual() float64 {
	l := &c.scales[levelPart]
	return 1.25 * max(float64(l.Mean), 0.2*float64(l.Floor))
}
