package trend

import (
	"math"

	"github.com/homeostat/homeostat/models"
)

// The slow channel finds leaks: a gauge that rises for hours, under noise and
// under a daily season. It looks at hours, not at points. The level of an hour
// is the mean of the lowest values of its twelve five-minute parts, because
// what leaks shows in the lows: what a collector or a burst puts on top does
// not count. Levels are compared with those of the same hour a day before, so
// that a season that comes back every day is no rise.
//
// With D_h the difference to the day before and d_h = D_h − D_(h−1), two
// questions are asked at the end of each hour:
//
//   - Did D climb over the last hours? m = Σ λ^i d_(h−i) is compared with its
//     own long-run root mean square, which holds whatever the series usually
//     does (a random walk, a weekend), and with v = Σ λ^2i d²_(h−i): a single
//     step gives m²/v = 1, a steady climb of n hours about n. So a level shift
//     is no leak.
//   - Did D stay above zero for longer than the day that a level shift takes to
//     pass through it, and far enough for a random walk with such steps? This
//     finds a rise too slow for the first, and one that was there from the
//     beginning.
const (
	dayHours  = 24
	hourMS    = 3_600_000
	partMS    = hourMS / 12
	partCount = 12

	keep        = 0.85                // λ, by hour
	leastSpread = 3.4                 // m²/v from which a climb is spread over hours and no step
	walkPower   = 1 / (1 - 0.85*0.85) // mean of m² over that of d² on a random walk
	powerPrior  = 48.0                // hours that the random walk counts for in the estimate of m²
	longGain    = 1.0 / 240           // of the long-run squares, by hour
	longClip    = 9.0                 // a square counts for at most so many times the usual one
	offsetGain  = 1.0 / 24            // of the mean of D
	offsetPower = 2.0                 // its variance over that of m on a random walk
	offsetHours = 36                  // D must have stayed up for so long
	offsetPart  = 0.25                // above this part of its mean
	warmHours   = 24                  // hours with a day before that must have been seen

	ringLimit  = 32000
	firstStep  = 1e-6
	leastStep  = 1e-30
	levelLimit = 1e36
)

const absent = math.MinInt16

// OpenAt is the score from which the slow channel's alarm should open, and
// CloseAt that under which it should end.
var (
	OpenAt  = models.ScoreOf(4.5)
	CloseAt = models.ScoreOf(2.25)
)

// Core is what the slow channel knows of one gauge, in 96 bytes without a
// pointer. Its zero value has seen nothing.
type Core struct {
	ring    [dayHours]int16 // levels by hour of the day, in steps from base
	base    float32
	step    float32
	climb   float32 // m
	own     float32 // v
	offset  float32 // the mean of D
	diff    float32 // D of the last hour, NaN when there was none
	power   float32 // long-run mean of m²
	wobble  float32 // long-run mean of d²
	sum     float32 // of the lows of the open hour, from base
	low     float32 // the lowest of the open part, from base
	hour    int32   // the open hour since the epoch, local
	part    uint8   // the open part of it, in the low half; in the high half how many parts are summed up
	known   uint8   // hours with a d, saturating
	rising  uint8   // hours since m turned positive, saturating
	lasting uint8   // hours that D stayed up, saturating
}

// mostParts bounds the parts of an hour, which a clock may repeat.
const mostParts = 15

// Config says how rises are looked for. Its zero value is usable.
type Config struct {
	// Zone is where the daily season lives; empty is UTC.
	Zone models.Zone
}

// Model finds leaks. It holds the configuration only and may be shared.
type Model struct{ zone models.Zone }

// New makes a model; the zone has been validated.
func New(cfg Config) *Model { return &Model{zone: cfg.Zone} }

// Rise is what the slow channel says of a gauge at the end of an hour.
type Rise struct {
	Score   models.Score
	Z       float64 // the climb in terms of its usual size, of which Score is ScoreOf
	PerHour float64 // how fast it rises, in the gauge's unit
	From    float64 // the level without the rise
	Noise   float64 // how much the level moves from hour to hour, > 0 with a score
	Since   int64   // when the rise began, ms since the epoch, to the hour
}

// Learn takes a value in. It reports whether an hour ended before it: only then
// has Score something new to say.
func (m *Model) Learn(c *Core, at int64, v float64) bool {
	if !(math.Abs(v) < levelLimit) {
		return false
	}
	local := m.zone.Local(at)
	ms := floorDiv(local, hourMS)
	hour, part := int32(ms), uint8((local-ms*hourMS)/partMS)
	if c.step == 0 {
		c.start(hour, part, v)
		return false
	}
	// A clock that goes back stays in the open hour.
	if hour <= c.hour && part == c.part&mostParts {
		c.low = min(c.low, c.from(v))
		return false
	}
	parts := c.part >> 4
	if parts < mostParts {
		c.sum += c.low
		parts++
	}
	ended := hour > c.hour
	if ended {
		c.endHour(float64(c.sum)/float64(parts), int(hour-c.hour))
		c.hour, c.sum, parts = hour, 0, 0
	}
	c.part, c.low = part|parts<<4, c.from(v)
	return ended
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func (c *Core) from(v float64) float32 { return float32(v - float64(c.base)) }

func (c *Core) start(hour int32, part uint8, v float64) {
	*c = Core{
		base: float32(v), step: float32(max(math.Abs(v)*firstStep, leastStep)),
		diff: float32(math.NaN()), hour: hour, part: part,
	}
	for i := range c.ring {
		c.ring[i] = absent
	}
	c.low = c.from(v)
}

// endHour takes in the level, from base, of the hour that was open. The next
// one opens gone hours later.
func (c *Core) endHour(level float64, gone int) {
	slot := slotOf(c.hour)
	if old := c.ring[slot]; old != absent {
		c.compare(level - float64(old)*float64(c.step))
	} else {
		c.interrupt()
	}
	c.put(slot, level)
	for i := 1; i < min(gone, dayHours+1); i++ {
		c.ring[(slot+i)%dayHours] = absent
	}
	if gone > 1 {
		c.interrupt()
	}
	if slot == 0 {
		c.fit()
	}
}

func slotOf(hour int32) int { return int((hour%dayHours + dayHours) % dayHours) }

// interrupt says that the hour has no day before: the climb pauses.
func (c *Core) interrupt() {
	c.diff = float32(math.NaN())
	c.lasting = 0
}

// compare takes the difference D to the day before in.
func (c *Core) compare(diff float64) {
	if math.IsNaN(float64(c.diff)) {
		c.diff = float32(diff)
		return
	}
	d := diff - float64(c.diff)
	c.diff = float32(diff)
	c.known = saturate(c.known)
	gain := max(longGain, 1/float64(c.known))
	// The climb is learnt one hour late, so that it is never compared with
	// itself. A rise counts a little only, or a leak would excuse itself; a fall
	// over hours counts fully: who falls on Saturday may rise on Monday.
	climb := float64(c.climb) * float64(c.climb)
	if c.climb > 0 || !c.spread() {
		climb = min(climb, longClip*c.climbPower())
	}
	c.power += float32(gain * (climb - float64(c.power)))
	square := d * d
	if c.known > warmHours {
		square = min(square, longClip*float64(c.wobble))
	}
	c.wobble += float32(gain * (square - float64(c.wobble)))
	c.climb = float32(keep*float64(c.climb) + d)
	c.own = float32(keep*keep*float64(c.own) + d*d)
	if c.climb > 0 {
		c.rising = saturate(c.rising)
	} else {
		c.rising = 0
	}
	c.offset += float32(max(offsetGain, 1/float64(c.known)) * (diff - float64(c.offset)))
	if diff > 0 && diff > offsetPart*float64(c.offset) {
		c.lasting = saturate(c.lasting)
	} else {
		c.lasting = 0
	}
}

func saturate(n uint8) uint8 {
	if n == math.MaxUint8 {
		return n
	}
	return n + 1
}

// spread says that the climb, or the fall, is spread over hours and no step.
func (c *Core) spread() bool {
	return float64(c.climb)*float64(c.climb) >= leastSpread*float64(c.own)
}

// climbPower is the usual m²: what was seen, with a random walk for a prior.
func (c *Core) climbPower() float64 {
	n := min(float64(c.known), 1/longGain)
	return (n*float64(c.power) + powerPrior*walkPower*float64(c.wobble)) / (n + powerPrior)
}

// put stores an hour's level, from base. Steps grow when it is far away.
func (c *Core) put(slot int, level float64) {
	if far := math.Abs(level) / float64(c.step); far > ringLimit {
		c.rescale(math.Ilogb(far/ringLimit) + 1)
	}
	c.ring[slot] = int16(math.Round(level / float64(c.step)))
}

// rescale makes a step 2^n times as large.
func (c *Core) rescale(n int) {
	c.step = float32(math.Ldexp(float64(c.step), n))
	for i, q := range c.ring {
		if q != absent {
			c.ring[i] = int16(math.Round(math.Ldexp(float64(q), -n)))
		}
	}
}

// fit moves the base into the middle of the day's levels and makes the steps
// fine again, once a day: a leak would carry the levels out of the steps' reach,
// and after one high day they would stay coarse.
func (c *Core) fit() {
	lo, hi := int16(math.MaxInt16), int16(math.MinInt16+1)
	for _, q := range c.ring {
		if q != absent {
			lo, hi = min(lo, q), max(hi, q)
		}
	}
	if lo > hi {
		return
	}
	if mid := (int(lo) + int(hi)) / 2; mid > ringLimit/2 || mid < -ringLimit/2 {
		before := float64(c.base)
		c.base = float32(before + float64(mid)*float64(c.step))
		moved := int(math.Round((float64(c.base) - before) / float64(c.step)))
		for i, q := range c.ring {
			if q != absent {
				c.ring[i] = int16(int(q) - moved)
			}
		}
		lo, hi = int16(int(lo)-moved), int16(int(hi)-moved)
	}
	if far := max(-int(lo), int(hi), 1); far < ringLimit/16 && c.step > leastStep {
		c.rescale(-2)
	}
}

// Score says how unlikely the rise up to the last hour that ended is. It
// changes nothing. A series that does not rise scores 0.
func (m *Model) Score(c *Core) Rise {
	if c.known < warmHours || c.wobble <= 0 || math.IsNaN(float64(c.diff)) {
		return Rise{}
	}
	climb, offset := c.climbZ(), c.offsetZ()
	z := max(climb, offset)
	if z <= 0 {
		return Rise{}
	}
	r := Rise{Z: z, Noise: math.Sqrt(float64(c.wobble))}
	hours := float64(c.rising)
	if climb >= offset {
		r.PerHour = float64(c.climb) * (1 - keep) / (1 - math.Pow(keep, hours))
	} else {
		hours = float64(c.lasting)
		r.PerHour = float64(c.diff) / dayHours
	}
	r.Score = ScoreOf(z)
	level := float64(c.base) + float64(c.ring[slotOf(c.hour-1)])*float64(c.step)
	r.From = level - r.PerHour*hours
	r.Since = m.utc((int64(c.hour) - int64(hours)) * hourMS)
	return r
}

// utc is the time at which the local clock shows local, but for the hour that a
// clock skips or repeats.
func (m *Model) utc(local int64) int64 { return 2*local - m.zone.Local(local) }

// Drift is how a gauge moves against the day before, at the end of an hour.
type Drift struct {
	Moved float64 // from two hours before to the last hour
	Apart float64 // the last hour less the same hour of the day before
	Climb float64 // how much of that came about in the last hours
	Usual float64 // the usual size of a climb, > 0
}

// DriftHours is over how many hours Drift.Moved looks.
const DriftHours = 2

// Drift tells how the gauge moved. It changes nothing, and reports false before
// there is enough to tell.
func (m *Model) Drift(c *Core) (Drift, bool) {
	now, before := c.ring[slotOf(c.hour-1)], c.ring[slotOf(c.hour-1-DriftHours)]
	if c.known < warmHours || c.wobble <= 0 || math.IsNaN(float64(c.diff)) || now == absent || before == absent {
		return Drift{}, false
	}
	return Drift{
		Moved: float64(c.step) * (float64(now) - float64(before)),
		Apart: float64(c.diff),
		Climb: float64(c.climb),
		Usual: math.Sqrt(c.climbPower()),
	}, true
}

// ScoreOf is the score of a climb or fall of z times its usual size.
func ScoreOf(z float64) models.Score {
	if z <= 0 {
		return 0
	}
	return models.ScoreOf(-math.Log10(2 * upper(z)))
}

// climbZ is m in terms of its usual size, 0 when it is no climb or one step.
func (c *Core) climbZ() float64 {
	if c.climb <= 0 || !c.spread() {
		return 0
	}
	return float64(c.climb) / math.Sqrt(c.climbPower())
}

// offsetZ is the mean of D in terms of a random walk's, 0 when D was not up for
// long.
func (c *Core) offsetZ() float64 {
	if c.offset <= 0 || c.lasting < offsetHours {
		return 0
	}
	return float64(c.offset) / math.Sqrt(offsetPower*c.climbPower())
}

// upper is the upper tail of the normal distribution.
func upper(z float64) float64 { return math.Erfc(z/math.Sqrt2) / 2 }
