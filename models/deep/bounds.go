package deep

import "github.com/homeostat/homeostat/models"

// Bytes is what one series counts for in a budget: no less than its state.
const Bytes = 14 << 10

// Record says whether a reading is of a value outside the range that the series
// had.
func Record(r *models.Reading) bool { return r.Parts[rangePart] > 0 }

const halvings = 12

// Bounds returns values between which x would not have reached a score of open:
// one of them is where the way from x to the mean becomes quiet, the other the
// mean, or x when it is quiet itself. When not even the mean would have been quiet, for it is the points before
// that are unlike anything, both are x.
func (c *Core) Bounds(at int64, x float64, open models.Score) (lower, upper float64) {
	var r models.Reading
	loud := func(v float64) bool {
		c.Score(at, v, &r)
		return r.Score >= open
	}
	x = bounded(x)
	quiet, edge := c.mean, x
	switch {
	case !loud(x):
		return min(quiet, x), max(quiet, x)
	case loud(quiet):
		return x, x
	}
	for range halvings {
		if mid := quiet + (edge-quiet)/2; loud(mid) {
			edge = mid
		} else {
			quiet = mid
		}
	}
	return min(quiet, c.mean), max(quiet, c.mean)
}
