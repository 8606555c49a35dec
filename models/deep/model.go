package deep

import (
	"math"
	"slices"

	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/knn"
	"github.com/homeostat/homeostat/models/prototype"
	"github.com/homeostat/homeostat/models/tail"
)

const (
	warmPoints = 120 // points after which a score is believed
	mostPart   = 8   // what a member's score counts for at most,
	mostRecord = 3   // and a record's: it says how rare records are, not how far this one went
	ageCost    = 0.2
	ageUnit    = 2000.0
	oldest     = 1 << 16 // points, beyond which a life is not longer
	slope      = 2.5     // of the map from M to S
	intercept  = 0.625
	news       = 2.75 // the score from which on it is held
	grave      = 4    // the lowest mark that ends a hold; the others are 5, 6 and so on
	quietest   = 1e-7 // the size that counts as none
	farthest   = 1e6  // usual sizes, the most that a look is away
)

// What Score leaves in a Reading for Learn. A size is ln of what a member
// measured, unknown without an opinion.
const (
	keptSize  = iota // of each ranked member
	keptPlace = iota + ranked - 1
	keptDistance
	keptSmooth
	keptScore // before it is held against the last news

	unknown = -1e3
)

// Score fills r with what the series' state says of a value. It changes nothing
// and allocates nothing.
func (c *Core) Score(_ int64, x float64, r *models.Reading) {
	x = bounded(x)
	*r = models.Reading{NumParts: parts, Expected: c.mean, Scale: c.usual(x), Residual: x - c.mean}
	kept := r.Scratch()
	if c.points == 0 {
		r.Expected, r.Residual = x, 0
	}
	p := c.members(x, kept)
	sum := 0.0
	for i, v := range p {
		sum += v / parts
		r.Parts[i] = models.ScoreOf(v)
	}
	age := min(float64(c.points)+1, oldest)
	s := intercept + slope*(sum-ageCost*math.Log10(age/ageUnit))
	kept[keptScore] = s
	if c.held > 0 && s < float64(c.hold) {
		s = min(s, news-1.0/models.ScoreUnit)
	}
	r.Warm = c.points >= warmPoints
	if r.Warm {
		r.Score = models.ScoreOf(s)
	}
}

// members returns each member's −log10 p and keeps what Learn needs again.
func (c *Core) members(x float64, kept *[8]float64) (p [parts]float64) {
	for i := range ranked {
		kept[keptSize+i] = unknown
	}
	rank := func(member, part int, size float64) {
		a := tail.Ln(size + quietest)
		kept[keptSize+member] = a
		p[part] = min(mostPart, c.ranks[member].Score(a))
	}
	var l look
	var inv prototype.Look
	c.look(x, &l)
	c.inverse(&inv)
	place, distance := c.bank.Nearest(&l.feature, &inv)
	distance = min(distance, farthest)
	kept[keptPlace], kept[keptDistance] = float64(place), distance
	if place != prototype.None {
		kept[keptSmooth] = c.smooth + smoothGain*(distance-c.smooth)
		rank(lookRank, lookPart, kept[keptSmooth])
	}
	z := c.zOf(x)
	var sorted [window]int16
	if c.window(z, &sorted) {
		var w knn.Window
		quantiles(&sorted, &w)
		if d, ok := c.windows.Distance(&w); ok {
			rank(windowRank, windowPart, d/(knn.Quantiles*zSteps*max(c.zDev, quietest)))
		}
	}
	if d, ok := c.share(z); ok {
		rank(shareRank, sharePart, d)
	}
	if c.record(x) {
		p[rangePart] = min(mostRecord, -math.Log10((c.records+0.5)/(c.chances+1)))
	}
	return p
}

// Learn takes (at, x) in. A weight of 0 leaves the state as it is; any other
// counts in full.
func (c *Core) Learn(at int64, x float64, r *models.Reading, weight float64) {
	if !(weight > 0) {
		return
	}
	x = bounded(x)
	kept := r.Scratch()
	z := c.zOf(x)
	if c.points == 0 {
		c.born = at
	}
	c.learnNews(kept[keptScore])
	for i := range c.ranks {
		if a := kept[keptSize+i]; a != unknown {
			c.ranks[i].Learn(a)
		}
	}
	c.learnLook(x, kept)
	c.learnWindow(z)
	c.learnRange(x)
	c.learnScale(x, z)
	c.at = at
	c.points = min(c.points+1, math.MaxUint32-recent)
}

// learnNews holds a score that was news against the next mark.
func (c *Core) learnNews(s float64) {
	if c.held > 0 {
		c.held--
	}
	if c.points >= warmPoints && s >= news && (c.held == 0 || s >= float64(c.hold)) {
		c.hold, c.held = float32(max(grave, math.Floor(s)+1)), recent
	}
}

func (c *Core) learnLook(x float64, kept *[8]float64) {
	if c.points == 0 {
		c.origin = x
		for j := range c.level {
			c.level[j] = x
		}
	}
	var l look
	c.look(x, &l)
	c.level, c.move = l.level, l.move
	g := max(featureGain, 1/(float64(c.points)+1))
	for j := range c.size {
		v := l.level[j/2]
		if j%2 == 1 {
			v = l.move[j/2]
		}
		c.centre[j] += g * (v - c.centre[j])
		c.size[j] += g * (math.Abs(v-c.centre[j]) - c.size[j])
	}
	if c.points < youngest {
		return
	}
	place := int(kept[keptPlace])
	if place != prototype.None {
		c.smooth = kept[keptSmooth]
	}
	c.bank.Learn(&l.feature, place, kept[keptDistance])
}

func (c *Core) learnWindow(z int16) {
	var sorted [window]int16
	c.window(z, &sorted)
	c.sorted = sorted
	if c.points >= recent {
		b := binOf(c.ring[c.slot(recent)])
		c.now[b]--
		c.before[b]++
		c.beforeAll++
		if c.beforeAll >= manyLong {
			c.beforeAll = 0
			for i := range c.before {
				c.before[i] /= 2
				c.beforeAll += c.before[i]
			}
		}
	}
	c.now[binOf(z)]++
	c.ring[c.slot(0)] = z
	if c.points >= recent && c.points%every == 0 {
		c.keepWindow()
	}
}

// keepWindow keeps the older half of the recent points, which has nothing in
// common with the window that is compared: a window would else be its own
// neighbour.
func (c *Core) keepWindow() {
	var old [window]int16
	for i := range old {
		old[i] = c.ring[c.slot(uint32(recent-1-i))]
	}
	slices.Sort(old[:])
	var w knn.Window
	quantiles(&old, &w)
	c.windows.Learn(&w)
}

// learnRange keeps the range of this spell and of the one before. It never
// shrinks bit by bit: every value near its end would then be a record.
func (c *Core) learnRange(x float64) {
	if c.record(x) {
		c.records++
	}
	c.chances++
	if c.points%manyLong == 0 {
		c.low[1], c.high[1] = c.low[0], c.high[0]
		c.low[0], c.high[0] = x, x
		c.records, c.chances = c.records/2, c.chances/2
		if c.points == 0 {
			c.low[1], c.high[1] = x, x
		}
	}
	c.low[0], c.high[0] = min(c.low[0], x), max(c.high[0], x)
}

func (c *Core) learnScale(x float64, z int16) {
	n := float64(c.points) + 1
	g := max(slowGain, 1/n)
	c.mean += g * (x - c.mean)
	c.dev += g * (math.Abs(x-c.mean) - c.dev)
	g, v := max(spreadGain, 1/n), float64(z)/zSteps
	c.zMean += g * (v - c.zMean)
	c.zDev += g * (math.Abs(v-c.zMean) - c.zDev)
}
