package lean

import (
	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/seasonal"
)

// LnStep returns the natural logarithm of the step from the last point in usual
// sizes, as Score left it in r. It is false where Score had no opinion of it.
func LnStep(r *models.Reading) (float64, bool) {
	kept := r.Scratch()
	return kept[keptLog+stepPart], kept[keptSize+stepPart] >= 0
}

// UsualStep returns the usual size of the step from one point to the next at a
// time.
func (m *Model) UsualStep(c *Core, at int64) float64 {
	return c.scales[stepPart].At(seasonal.Hour(m.zone.Local(at)), c.hour)
}
