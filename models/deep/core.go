package deep

import (
	"math"
	"slices"

	"github.com/homeostat/homeostat/models/ewma"
	"github.com/homeostat/homeostat/models/knn"
	"github.com/homeostat/homeostat/models/prototype"
	"github.com/homeostat/homeostat/models/tail"
)

// parts is the number of members.
const parts = 4

// The parts of a Reading, in order.
const (
	lookPart   = iota // the distance from all prototypes
	windowPart        // the distance of the window from all kept
	rangePart         // a value that was never so high or so low
	sharePart         // the entropy of the last values relative to those before
)

// PartNames names the places of Reading.Parts.
var PartNames = [parts]string{"look", "window", "range", "share"}

// The members that are calibrated by ranks. A record is calibrated by how many
// there were.
const (
	lookRank = iota
	windowRank
	shareRank
	ranked
)

const (
	window    = 52         // points of a window
	recent    = 2 * window // points whose shares are looked at; also how long news is held
	every     = 8          // points between windows kept
	perCell   = window / knn.Quantiles
	zSteps    = 1024 // in one z
	zMost     = math.MaxInt16 / zSteps
	bins      = 24 // of the shares
	binLowest = -3 // z of the lower edge of the first
	binBits   = 8  // z steps in a bin, as a power of two
	fewBefore = 20 // points before the recent ones from which on shares are compared
	manyLong  = 1 << 15
	spans     = prototype.Features / 2
	extreme   = 1e30
	roundoff  = 1e-12 // of a value: a deviation of that size is arithmetic, not news
	youngest  = 20    // points before the first prototype
)

// span holds the points over which each average of a look goes.
var span = [spans]float64{1, 4, 16, 64}

// Gains a point.
var (
	slowGain    = ewma.Gain(1.0 / 1000) // of mean and dev: a half-life of 1000 points
	featureGain = 1.0 / 2000            // of the usual sizes of a look's numbers
	spreadGain  = 1.0 / 10000           // of the usual size of z
	smoothGain  = 1 - math.Sqrt2/2      // of the distance of looks: a half-life of 2 points
)

// Core is the state of one series, without a pointer. Its zero value is a series
// of which nothing has been seen.
type Core struct {
	Seed uint64 // of which windows are forgotten; set it before the first point

	born   int64  // ms, the first point learnt
	at     int64  // ms, the last one
	points uint32 // learnt, saturating
	hold   float32
	held   uint8 // points for which hold still holds

	mean, dev    float64 // where the values lie and how far they spread
	zMean, zDev  float64 // the same of z
	low, high    [2]float64
	records      float64 // points that were one, and points that could have been
	chances      float64
	origin       float64 // of the looks: the first value
	level, move  [spans]float64
	centre, size [prototype.Features]float64
	smooth       float64

	ring      [recent]int16 // z of the last points, in steps
	sorted    [window]int16 // the newer half of it
	now       [bins]uint8   // of the recent points, how many are in each bin
	before    [bins]uint32  // of those before
	beforeAll uint32
	ranks     [ranked]tail.Ranks
	bank      prototype.Bank
	windows   knn.Memory
}

// Points returns how many points have been learnt.
func (c *Core) Points() int { return int(c.points) }

// Born returns the time of the first point learnt, in ms.
func (c *Core) Born() int64 { return c.born }

// bounded keeps a finite value in a range in which no arithmetic overflows.
func bounded(x float64) float64 { return max(-extreme, min(extreme, x)) }

// usual is the usual deviation from the mean, never 0.
func (c *Core) usual(x float64) float64 {
	return max(c.dev, roundoff*max(math.Abs(x), math.Abs(c.mean))+math.SmallestNonzeroFloat32)
}

// zOf is asinh((x − mean)/dev) in steps.
func (c *Core) zOf(x float64) int16 {
	z := (x - c.mean) / c.usual(x)
	a := min(math.Abs(z), extreme)
	z = math.Copysign(tail.Ln(a+math.Sqrt(float64(a*a)+1)), z)
	return int16(math.Round(max(-zMost, min(zMost, z)) * zSteps))
}

// slot is the place in the ring of the point that was ago points before the next.
func (c *Core) slot(ago uint32) uint32 { return (c.points%recent + recent - ago) % recent }

// look is what the members see of one value; s is what prototypes are compared
// by.
type look struct {
	level, move [spans]float64
	feature     prototype.Look
}

func (c *Core) look(x float64, l *look) {
	for j, n := range span {
		d := x - c.level[j]
		l.level[j] = c.level[j] + d/n
		l.move[j] = c.move[j] + (math.Abs(d)-c.move[j])/n
		l.feature[2*j] = float32(l.level[j] - c.origin)
		l.feature[2*j+1] = float32(l.move[j])
	}
}

// inverse is 1 over the usual size of each number of a look.
func (c *Core) inverse(inv *prototype.Look) {
	for j := range inv {
		inv[j] = float32(1 / (c.size[j] + roundoff*math.Abs(c.centre[j]) + 1/extreme))
	}
}

// window is the last points as they are with z as the newest, sorted. It reports
// false while they do not fill it.
func (c *Core) window(z int16, sorted *[window]int16) bool {
	*sorted = c.sorted
	n := min(c.points, window)
	if n == window {
		i, _ := slices.BinarySearch(sorted[:], c.ring[c.slot(window)])
		copy(sorted[i:], sorted[i+1:])
		n--
	}
	i, _ := slices.BinarySearch(sorted[:n], z)
	copy(sorted[i+1:n+1], sorted[i:n])
	sorted[i] = z
	return n == window-1
}

func quantiles(sorted *[window]int16, w *knn.Window) {
	for j := range w {
		sum := int32(0)
		for _, v := range sorted[j*perCell : (j+1)*perCell] {
			sum += int32(v)
		}
		w[j] = int16(sum / perCell)
	}
}

func binOf(z int16) int {
	return max(0, min(bins-1, (int(z)-binLowest*zSteps)>>binBits))
}

// share is the entropy of the recent values with z among them relative to those
// before them, in nats; it reports false while there are few before.
//
//	Σ p ln(p/q), p = now/n, q = (before + 1/2)/(all + bins/2)
func (c *Core) share(z int16) (float64, bool) {
	in, gone, all := binOf(z), -1, float64(c.beforeAll)
	if c.points >= recent {
		gone, all = binOf(c.ring[c.slot(recent)]), all+1
	}
	if all <= fewBefore {
		return 0, false
	}
	sum := 0.0
	for k := range bins {
		n, b := float64(c.now[k]), float64(c.before[k])
		if k == in {
			n++
		}
		if k == gone {
			n, b = n-1, b+1
		}
		if n > 0 {
			p := n / recent
			sum += float64(p * tail.Ln(p*(all+bins/2)/(b+0.5)))
		}
	}
	return max(0, sum), true
}

// record says whether a value is outside the range.
func (c *Core) record(x float64) bool {
	return c.points > 0 && (x > max(c.high[0], c.high[1]) || x < min(c.low[0], c.low[1]))
}
