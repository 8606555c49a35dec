package lean

import "math"

const (
	inheritedPoints = warmPoints - 8 // what is inherited weighs as much as so many own points
	inheritedBody   = 300            // and the calibration as much as so many
)

// Inherit gives a series that has few points the usual sizes and the
// calibration of another series of its workload, so that it can be judged after
// eight points of its own. What is inherited weighs about a hundred points, and
// its own evidence beats it after as many. Where the series is, its level, its
// season and its hours stay its own. If it lies higher than the other one, the sizes are
// stretched as much: a busier pod deviates more. It reports whether anything
// was inherited: nothing is before the first point, from a baseline that is not
// warm itself, or by one that already is.
func (c *Core) Inherit(from *Core) bool {
	if from.points < warmPoints || c.points == 0 || c.points >= inheritedPoints {
		return false
	}
	stretch := 1.0
	if here, there := math.Abs(c.level), math.Abs(from.level); there > 0 && here > there {
		stretch = min(here/there, extreme)
	}
	for i := range c.scales {
		c.scales[i] = from.scales[i].Plain(stretch)
		c.bodies[i] = from.bodies[i]
		c.bodies[i].Forget(inheritedBody)
	}
	c.run = float32(min(stretch*float64(from.run), extreme))
	c.points = inheritedPoints
	return true
}
