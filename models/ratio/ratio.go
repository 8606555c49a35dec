package ratio

import (
	"fmt"
	"math"
	"time"

	"github.com/homeostat/homeostat/models"
)

// The parts of a Reading.
const (
	PartInterval = iota // the errors of this interval alone
	PartPool            // those of this and the last few intervals together
	numParts
)

const (
	priorErrors   = 0.5   // what is believed before anything is seen: half an error
	priorTotal    = 50.0  // in fifty requests
	perError      = 1.5   // an error is worth at most so many units of score
	quietScore    = 2.0   // up to here an interval is learnt fully
	deafScore     = 4.0   // from here not at all
	maxTrials     = 2000  // larger counts are scaled down to this: the overdispersion rules there
	poolTrials    = 200   // the pool carries at most so many requests over
	leaveChance   = 0.001 // an interval this unlikely low for the pool's share empties the pool
	minRho        = 1.0 / 1000
	maxRho        = 1.0 / 20
	firstRho      = 1.0 / 300
	firstRhoTrust = 2000.0 // in units of the sum that estimates rho
	intervalGain  = 1.0 / 32
	rhoGain       = 0.1 // an interval raises rho by at most this part
	clipSigmas    = 8.0 // a deviation beyond so many sigmas teaches rho no more than this
)

// PartNames names the parts.
var PartNames = [numParts]string{PartInterval: "interval", PartPool: "pool"}

// Config says how much a share remembers. Its zero value is usable.
type Config struct {
	// HalfLife is after how long a request counts half for what is normal, and
	// at least 100 intervals. Default 24 h.
	HalfLife time.Duration
	// PoolHalfLife is the same for the pool, and at least 3 intervals. Default 4 min.
	PoolHalfLife time.Duration
	// MinPoints and MinTotal are how many intervals and requests are seen before
	// a score is given. Default 20 and 100.
	MinPoints int
	MinTotal  float64
}

func (c Config) withDefaults() Config {
	if c.HalfLife == 0 {
		c.HalfLife = 24 * time.Hour
	}
	if c.PoolHalfLife == 0 {
		c.PoolHalfLife = 4 * time.Minute
	}
	if c.MinPoints == 0 {
		c.MinPoints = 20
	}
	if c.MinTotal == 0 {
		c.MinTotal = 100
	}
	return c
}

// Validate says which field is out of its bounds.
func (c Config) Validate() error {
	switch {
	case c.HalfLife < 0:
		return fmt.Errorf("half_life %v: want 0 or more", c.HalfLife)
	case c.PoolHalfLife < 0:
		return fmt.Errorf("pool_half_life %v: want 0 or more", c.PoolHalfLife)
	case c.MinPoints < 0:
		return fmt.Errorf("min_points %d: want 0 or more", c.MinPoints)
	case !(c.MinTotal >= 0):
		return fmt.Errorf("min_total %v: want 0 or more", c.MinTotal)
	}
	return nil
}

// Core is what is known of one share. It holds no pointer; its zero value has
// seen nothing.
type Core struct {
	at        int64   // of the last interval learnt, ms
	errors    float64 // discounted sums
	total     float64
	poolErr   float32 // the pool of the last few intervals
	poolTotal float32
	excess    float32 // estimates rho: the squared deviation beyond the binomial's
	spread    float32 // and what a rho of 1 would make of it
	interval  float32 // estimated, s
	points    uint32  // intervals learnt
}

// Model scores shares. It holds the configuration only and may be shared.
type Model struct{ cfg Config }

// New makes a model; cfg has been validated.
func New(cfg Config) *Model { return &Model{cfg: cfg.withDefaults()} }

// Points is how many intervals were learnt.
func (c *Core) Points() uint64 { return uint64(c.points) }

// Interval is the estimated time from one interval to the next, in seconds; 0
// before there are two.
func (c *Core) Interval() float64 { return float64(c.interval) }

// Mean is the share of errors that is normal.
func (c *Core) Mean() float64 {
	return (c.errors + priorErrors) / (c.total + priorTotal)
}

// Rho is the correlation of two requests of one interval, the overdispersion:
// 1/(a+b+1) in terms of the beta. Kleinman 1973 estimates it by moments, as
// the squared deviations beyond those of a binomial over n(n−1)p(1−p).
func (c *Core) Rho() float64 {
	rho := (float64(c.excess) + firstRho*firstRhoTrust) / (float64(c.spread) + firstRhoTrust)
	return min(max(rho, minRho), maxRho)
}

// prior gives the a and b of the beta.
func (c *Core) prior() (a, b float64) {
	strength := min(1/c.Rho()-1, c.total+priorTotal)
	mean := c.Mean()
	a = max(strength*mean, priorErrors)
	return a, max(strength-a, priorErrors)
}

func (m *Model) warm(c *Core) bool {
	return int64(c.points) >= int64(m.cfg.MinPoints) && c.total >= m.cfg.MinTotal
}

// halfLives is how many half-lives lie between the last interval and at, the
// half-life being d and at least points intervals.
func (c *Core) halfLives(at int64, d time.Duration, points float64) float64 {
	life := max(d.Seconds(), points*float64(c.interval))
	return max(float64(at-c.at)/1000/life, 0)
}

// pool is the pool as it stands when the interval (errors, total) has come.
// When the interval's own share is so low that the pool's is not believable any
// more, trouble has ended and the pool starts anew: otherwise an outage would
// echo.
func (m *Model) pool(c *Core, at int64, errors, total float64) (pe, pt float64) {
	if c.poolTotal <= 0 || c.left(errors, total) {
		return errors, total
	}
	keep := math.Exp2(-c.halfLives(at, m.cfg.PoolHalfLife, 3)) * min(1, poolTrials/float64(c.poolTotal))
	return keep*float64(c.poolErr) + errors, keep*float64(c.poolTotal) + total
}

func (c *Core) left(errors, total float64) bool {
	share := min(float64(c.poolErr/c.poolTotal), 1)
	n := min(total, maxTrials)
	return errors/total < share && lowerChance(errors*n/total, n, share) < leaveChance
}

// Score says how unlikely so many errors out of total are at that time. It
// changes nothing. With no requests, or counts that are none (NaN, negative,
// more errors than requests), the score is 0.
func (m *Model) Score(c *Core, at int64, errors, total float64, r *models.Reading) {
	*r = models.Reading{NumParts: numParts, Expected: c.Mean(), Warm: m.warm(c)}
	scratch := r.Scratch()
	scratch[0] = math.NaN()
	if !counts(errors, total) {
		r.Scale = deviation(r.Expected, 1, c.Rho())
		return
	}
	r.Scale = deviation(r.Expected, total, c.Rho())
	r.Residual = errors/total - r.Expected
	single, pooled := m.parts(c, at, errors, total)
	scratch[0] = combine(single, pooled)
	if !r.Warm {
		return
	}
	r.Parts[PartInterval] = models.ScoreOf(single)
	r.Parts[PartPool] = models.ScoreOf(pooled)
	r.Score = models.ScoreOf(scratch[0])
}

func (m *Model) parts(c *Core, at int64, errors, total float64) (single, pooled float64) {
	a, b := c.prior()
	single = rarity(errors, total, a, b)
	pe, pt := m.pool(c, at, errors, total)
	return single, rarity(pe, pt, a, b)
}

// combine is the larger of the two, less log10 2 for having looked twice.
func combine(single, pooled float64) float64 {
	return max(max(single, pooled)-math.Log10(2), 0)
}

// rarity is −log10 P(X ≥ errors) bounded by what so many errors may be worth.
func rarity(errors, total, a, b float64) float64 {
	bound := perError * errors
	if total > maxTrials {
		errors, total = errors*maxTrials/total, maxTrials
	}
	return min(-logTail(errors, total, a, b)/math.Ln10, bound)
}

func counts(errors, total float64) bool {
	return errors >= 0 && total > 0 && errors <= total && !math.IsInf(total, 1)
}

func deviation(p, n, rho float64) float64 {
	return math.Sqrt(p * (1 - p) * (1/max(n, 1) + rho))
}

// Learn takes the interval in, at a weight from 0 to 1. r is what Score said of
// it.
func (m *Model) Learn(c *Core, at int64, errors, total float64, r *models.Reading, weight float64) {
	if !counts(errors, total) || at <= c.at && c.points > 0 {
		return
	}
	if c.points > 0 {
		c.clock(at)
	}
	score := r.Scratch()[0]
	warm := m.warm(c)
	pe, pt := m.pool(c, at, errors, total)
	c.poolErr, c.poolTotal = float32(pe), float32(pt)
	if warm {
		weight *= min(max((deafScore-score)/(deafScore-quietScore), 0), 1)
	}
	// What was learnt fades only as something takes its place, so that a long
	// incident leaves what is normal where it was.
	keep := math.Exp2(-weight * c.halfLives(at, m.cfg.HalfLife, 100))
	if warm {
		c.learnRho(errors, total, keep, weight)
	}
	c.errors = float64(c.errors*keep) + float64(weight*errors)
	c.total = float64(c.total*keep) + float64(weight*total)
	c.at = at
	if c.points < math.MaxUint32 {
		c.points++
	}
}

// clock keeps the estimate of the interval.
func (c *Core) clock(at int64) {
	step := float64(at-c.at) / 1000
	if c.interval == 0 {
		c.interval = float32(step)
		return
	}
	// A gap is no interval: one longer than four counts as four.
	step = min(step, 4*float64(c.interval))
	c.interval += float32(intervalGain * (step - float64(c.interval)))
}

func (c *Core) learnRho(errors, total, keep, weight float64) {
	if total < 2 || weight == 0 {
		return
	}
	n := min(total, maxTrials)
	p := c.Mean()
	binomial := n * p * (1 - p)
	pair := (n - 1) * binomial
	dev := (errors/total - p) * n
	square := min(float64(dev*dev), clipSigmas*clipSigmas*(binomial+pair*c.Rho()))
	// Each interval counts by n(n−1)p(1−p) relative to the variance expected,
	// so that neither the busy nor the idle ones rule.
	w := weight / (1 + (n-1)*c.Rho()) / max(binomial, 0.1)
	// The first intervals of a rise look like overdispersion. So that they do
	// not excuse themselves, one interval raises rho by a small part only.
	most := rhoGain * c.Rho() * (float64(c.spread) + firstRhoTrust)
	c.excess = float32(float64(c.excess)*keep + min(w*(square-binomial), most))
	c.spread = float32(float64(c.spread)*keep + w*pair)
}

// Bounds are the shares between which an interval of total requests at that
// time scores less than theta. The lower one is always 0.
func (m *Model) Bounds(c *Core, at int64, total float64, theta models.Score) (lower, upper float64) {
	if !counts(0, total) {
		return 0, 1
	}
	quiet := func(errors float64) bool {
		return models.ScoreOf(combine(m.parts(c, at, errors, total))) < theta
	}
	if quiet(total) {
		return 0, 1
	}
	lo, hi := 0.0, total
	for range 30 {
		mid := (lo + hi) / 2
		if quiet(mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return 0, lo / total
}
