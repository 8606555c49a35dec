// Package spread finds that a series moves more than it used to, or not at all
// any more: not that its level changed, which others find, but how restless it is.
//
// It looks at blocks of an hour or more, not at points. Of a block it knows L,
// the mean of ln |e| in usual sizes, where e is the step from one value to the
// next. Both ends are clipped, so that outliers hardly count, and only a value
// that is the same as the one before counts for the whole of the lower end. A
// series whose steps become twice as large has an L that is ln 2 higher. With
// D = L − its long-run mean, two things are asked at the end of each block:
//
//   - Is m = Σ λ^i D_(t−i) large for what it usually is? It is compared with its
//     own long-run root mean square, so that a series that is restless by turns,
//     with the weekend or with its load, excuses itself.
//   - Did it come about over several blocks? A single wild hour gives m²/v = 1
//     with v = Σ λ^2i D²_(t−i), a change that lasts n blocks about n.
//
// And the change must be one that matters: two and a half times the movement, or
// none for a day. On real service series twice the movement is everyday, and half
// of it as well; and a Z of 5 to 9 is, where plain noise that changes has 12 to 20,
// which is why the threshold is where it is.
package spread

import (
	"math"

	"github.com/homeostat/homeostat/models"
)

const (
	hourMS      = 3_600_000
	clipStill   = -2.0                    // ln of a size, for a value that stayed the same
	clipLow     = -1.0                    // and the least for one that moved
	clipHigh    = 3.0                     // the most for any
	keep        = 0.8                     // λ, by block
	leastRatio  = 2.5                     // m²/v from which a change lasts
	mostRatio   = (1 + keep) / (1 - keep) // and where it goes with the time
	leastQ      = 1e-3                    // of λⁿ: a change that lasts longer began about then
	longGain    = 1.0 / 168               // of the long-run estimates, by block: a week of hours
	longClip    = 9.0                     // a square counts for at most so many times the usual one
	meanClip    = 3.0                     // and D for so many usual ones
	prior       = 24.0                    // blocks that independence counts for in the estimate of m²
	indepPower  = 1 / (1 - keep*keep)     // mean of m² over that of D² when blocks are independent
	warmBlocks  = 72                      // that must have been seen
	stillBlocks = 24                      // for which a series must have been still,
	stillKnown  = 192                     // and how many must have been seen: a week with its weekend
)

// More is how many times as much as usual a series must move for that to be told,
// and Still how little of it counts as none.
const (
	More  = 2.5
	Still = 0.3
)

// LeastCount is the number of points that a block has at least.
const LeastCount = 24

// OpenAt is the score from which an alarm should open.
var OpenAt = models.ScoreOf(22)

// Core is what is known of one series, in 32 bytes without a pointer. Its zero
// value has seen nothing.
type Core struct {
	sum    float32 // of clipped ln sizes in the open block
	mean   float32 // long-run mean of L
	drift  float32 // m
	power  float32 // long-run mean of m²
	noise  float32 // long-run mean of D²
	own    short   // v
	excess short   // of the m² of this stillness, what power does not know of yet
	hour   uint16  // the last one of the open block, its lower half
	count  uint16  // points in the open block, saturating
	known  uint8   // blocks, saturating
	turn   uint8   // blocks since m changed its sign, saturating
}

// short is the upper half of a float32, within 0.4 %.
type short uint16

func shorten(v float64) short {
	return short(min(uint64(math.Float32bits(float32(v)))+1<<15, maxShort) >> 16)
}

const maxShort = 0x7f7fffff // the largest float32

func (s short) float() float64 { return float64(math.Float32frombits(uint32(s) << 16)) }

// Change is what is to be said at the end of a block.
type Change struct {
	Score  models.Score
	Z      float64 // how many times its usual size the change is, of which Score is ScoreOf
	Factor float64 // how much it moves now, in terms of what is usual
	Blocks int     // since when
}

// Learn takes a point in: the natural logarithm of its step in usual sizes, and
// whether it is the same as the one before. It reports whether a block ended
// before it: only then has Score something new to say.
func (c *Core) Learn(at int64, size float64, same bool) bool {
	hour := uint16(uint64(at) / hourMS)
	ended := c.count >= LeastCount && hour != c.hour
	if ended {
		c.end(float64(c.sum) / float64(c.count))
		c.sum, c.count = 0, 0
	}
	c.hour = hour
	if same {
		size = clipStill
	} else {
		size = max(clipLow, min(clipHigh, size))
	}
	c.sum += float32(size)
	if c.count < math.MaxUint16 {
		c.count++
	}
	return ended
}

// end takes a block in.
func (c *Core) end(level float64) {
	if c.known < math.MaxUint8 {
		c.known++
	}
	if c.known == 1 {
		c.mean = float32(level)
		return
	}
	d := level - float64(c.mean)
	gain := max(longGain, 1/float64(c.known))
	// The change is learnt one block late, so that it is never compared with
	// itself, and a large one a little only, or it would excuse itself. What that
	// leaves of a stillness is learnt when it ends: who is still on one Sunday
	// may be on the next.
	square, own := float64(c.drift)*float64(c.drift), d*d
	warm := c.known > warmBlocks
	if most := longClip * c.usual(); warm && square > most {
		if c.drift < 0 {
			c.excess = shorten(c.excess.float() + square - most)
		}
		square = most
	}
	if warm {
		own = min(own, longClip*float64(c.noise))
	}
	c.power += float32(gain * (square - float64(c.power)))
	c.noise += float32(gain * (own - float64(c.noise)))
	before := c.drift
	c.drift = float32(keep*float64(c.drift) + d)
	c.own = shorten(keep*keep*c.own.float() + d*d)
	if (c.drift > 0) != (before > 0) {
		c.power += float32(gain * c.excess.float())
		c.turn, c.excess = 0, 0
	}
	if c.turn < math.MaxUint8 {
		c.turn++
	}
	if limit := meanClip * math.Sqrt(float64(c.noise)); warm {
		d = max(-limit, min(limit, d))
	}
	c.mean += float32(gain * d)
}

// usual is the usual m²: what was seen, with independent blocks for a prior.
func (c *Core) usual() float64 {
	n := min(float64(c.known), 1/longGain)
	return (n*float64(c.power) + prior*indepPower*float64(c.noise)) / (n + prior)
}

// Score says how unlikely the change up to the last block that ended is. It
// changes nothing. A series that moves as ever scores 0.
func (c *Core) Score() Change {
	ch := Change{Factor: 1}
	square := float64(c.drift) * float64(c.drift)
	if c.known < warmBlocks || c.noise <= 0 || square < leastRatio*c.own.float() {
		return ch
	}
	// With a D that is the same for n blocks and q = λⁿ, m = D (1 − q)/(1 − λ) and
	// v = D² (1 − q²)/(1 − λ²). So m²/v tells q, and v/m then D.
	ratio := square / c.own.float()
	q := (mostRatio - ratio) / (mostRatio + ratio)
	ch.Factor = math.Exp(c.own.float() / float64(c.drift) * (1 + keep) / (1 + q))
	ch.Blocks = int(math.Round(math.Log(max(q, leastQ)) / math.Log(keep)))
	still := ch.Factor <= Still && c.turn >= stillBlocks && c.known >= stillKnown
	if ch.Factor < More && !still {
		return ch
	}
	ch.Z = math.Sqrt(square / c.usual())
	ch.Score = ScoreOf(ch.Z)
	return ch
}

// ScoreOf is the score of a change of z times its usual size.
func ScoreOf(z float64) models.Score {
	return models.ScoreOf(-math.Log10(math.Erfc(z / math.Sqrt2)))
}
