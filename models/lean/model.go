package lean

import (
	"math"

	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/ewma"
	"github.com/homeostat/homeostat/models/seasonal"
	"github.com/homeostat/homeostat/models/tail"
)

// Model is the configuration of a baseline, worked out. It is shared by all
// series and never changes.
type Model struct {
	zone     seasonal.Zone
	level    float64 // half-lives per millisecond
	scale    float64
	floor    float64
	hour     float64
	visit    float64 // half-lives that one visit of a bin of the day is, times ln 2
	coarsest float64 // ms
}

// New returns the model of a configuration, or ErrConfig, wrapped.
func New(cfg Config) (*Model, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	perMilli := func(halfLifeMillis int64) float64 { return 1 / float64(halfLifeMillis) }
	return &Model{
		zone:  append(seasonal.Zone(nil), cfg.Zone...),
		level: perMilli(cfg.Level.Milliseconds()),
		scale: perMilli(cfg.Scale.Milliseconds()),
		floor: perMilli(cfg.Floor.Milliseconds()),
		// An hour of the day is visited one hour in 24.
		hour:     24 * perMilli(cfg.Hour.Milliseconds()),
		visit:    math.Ln2 * 24 / cfg.Season.Hours(),
		coarsest: float64(cfg.Coarsest.Milliseconds()),
	}, nil
}

// What Score leaves in a Reading for Learn.
const (
	keptSize = iota             // |e| of each part, negative without an opinion
	keptLog  = keptSize + parts // ln of |e| in usual sizes
)

const noOpinion = -1

// Score fills r with what the series' state says of a value. S may be nil. It
// changes neither state and allocates nothing.
func (m *Model) Score(c *Core, s *Season, at int64, x float64, r *models.Reading) {
	x = bounded(x)
	kept := r.Scratch()
	*r = models.Reading{NumParts: parts}
	if c.points == 0 {
		kept[keptSize], kept[keptSize+1], kept[keptSize+2] = noOpinion, noOpinion, noOpinion
		r.Expected = x
		return
	}
	local := m.zone.Local(at)
	e, expected := c.residuals(s, at, local, x)
	r.Expected, r.Scale = expected, c.scaleOf(s, at)
	r.Residual = x - expected

	hour, sum := seasonal.Hour(local), 0.0
	for i := range e {
		kept[keptSize+i] = e[i]
		if e[i] < 0 {
			continue
		}
		size := max(c.scales[i].At(hour, c.hour), roundoff*math.Abs(x)+math.SmallestNonzeroFloat32)
		a := tail.Ln(max(e[i]/size, quietest))
		kept[keptLog+i] = a
		p := c.bodies[i].Score(a)
		r.Parts[i] = models.ScoreOf(p)
		sum += float64(p * p)
	}
	r.Warm = c.points >= warmPoints
	if r.Warm {
		r.Score = models.ScoreOf(calibrated(math.Sqrt(sum / parts)))
	}
}

// calibrated turns the combination S of the parts into −log10 of a probability:
// 1.6 S − 0.4. On points of real service series that nobody labelled, P(S ≥ s)
// is 10^−1.2 at s = 1, 10^−2.9 at 2, 10^−4.1 at 2.85 and 10^−5 at 3.5. The map
// is one for all series on purpose: one learnt from a series' own tail learns
// its frequent anomalies as normal.
func calibrated(all float64) float64 { return 1.6*all - 0.4 }

// residuals returns |e| of each part, negative where there is no opinion, and
// the expected value.
func (c *Core) residuals(s *Season, at, local int64, x float64) (e [parts]float64, expected float64) {
	gap := c.gap(at)
	step := x - c.value
	e[stepPart] = math.Abs(step)
	e[turnPart] = math.Abs(step - c.line.Ahead())
	if gap {
		e[stepPart], e[turnPart] = noOpinion, noOpinion
	}
	if c.seasonal(s, at) {
		expected = s.Forecast(at, local)
		e[levelPart] = math.Abs(x-expected+float64(s.Recent[0])+float64(s.Recent[1])) / 3
		return e, expected
	}
	expected = c.level
	e[levelPart] = math.Abs(x-expected+float64(c.recent[0])+float64(c.recent[1])) / 3
	if gap {
		e[levelPart] = noOpinion
	}
	return e, expected
}

// Lately returns how far the last three points together lie from what is
// expected, as Score left it in r; of the last point alone after a gap.
func Lately(r *models.Reading) float64 {
	if level := r.Scratch()[keptSize+levelPart]; level >= 0 {
		return 3 * level
	}
	return math.Abs(r.Residual)
}

// seasonal reports whether the season is in use: it has seen a day and errs
// less than the plain level does.
func (c *Core) seasonal(s *Season, at int64) bool {
	return s != nil && !s.Young(at) && s.Error(at) < float64(c.run)
}

// scaleOf returns the running |value − expected|.
func (c *Core) scaleOf(s *Season, at int64) float64 {
	v := float64(c.run)
	if c.seasonal(s, at) {
		v = s.Error(at)
	}
	return max(v, roundoff*math.Abs(c.level)+math.SmallestNonzeroFloat32)
}

// Learn takes a value in, at a weight from 0 to 1, given what Score said of it.
// S may be nil. It allocates nothing. The short memory, which is where the
// series is and not what is normal for it, moves whatever the weight.
func (m *Model) Learn(c *Core, s *Season, at int64, x float64, r *models.Reading, weight float64) {
	x = bounded(x)
	local := m.zone.Local(at)
	if c.points == 0 {
		c.begin(at, local, x)
		return
	}
	weight = max(0, min(1, weight))
	gap := c.gap(at)
	c.learnStep(at)
	if c.points < math.MaxUint32 {
		c.points++
	}
	step := min(float64(c.step), m.coarsest)
	n := 1 / float64(c.points)
	if hour := seasonal.Hour(local); hour != c.hour {
		for i := range c.scales {
			c.scales[i].Enter(hour, c.hour)
		}
		c.hour, c.inHour = hour, 0
	}
	if c.inHour < math.MaxUint16 {
		c.inHour++
	}
	kept := r.Scratch()
	gains := ewma.Gains{
		Mean:  weight * max(n, ewma.Gain(m.scale*step)),
		Floor: weight * max(n, ewma.Gain(m.floor*step)),
		Hour:  weight * max(1/(float64(c.points)/ewma.Hours+float64(c.inHour)), ewma.Gain(m.hour*step)),
	}
	for i := range c.scales {
		if kept[keptSize+i] < 0 {
			continue
		}
		c.scales[i].Learn(kept[keptSize+i], gains)
		if c.points > bodyPoints && weight > 0 {
			c.bodies[i].Learn(kept[keptLog+i])
		}
	}
	run := max(n, ewma.Gain(m.scale*step))
	level := max(n, ewma.Gain(m.level*step))
	if s != nil {
		s.Learn(at, local, x, c.usual(), seasonal.Gains{
			Level: level, Run: run, Visit: m.visit, Step: float64(c.step),
		}, weight)
	}
	c.evidence.Learn(local, x)
	q := x - c.level
	c.run = float32(float64(c.run) + run*weight*(math.Abs(q)-float64(c.run)))
	c.recent[1], c.recent[0] = c.recent[0], float32(q)
	if gap {
		// The level is as old as the gap, and the steps before it lead nowhere.
		level = max(level, 1-math.Exp2(-m.level*float64(at-c.at)))
		c.line.Reset()
	} else {
		c.line.Learn(x - c.value)
	}
	c.level += level * weight * q
	c.at, c.value = at, x
}

// begin takes the first point in.
func (c *Core) begin(at, local int64, x float64) {
	if c.bodies[0].Shape == 0 {
		for i := range c.bodies {
			c.bodies[i] = tail.New()
		}
	}
	c.at, c.value, c.level, c.points = at, x, x, 1
	c.hour = seasonal.Hour(local)
	c.evidence = seasonal.NewEvidence()
	c.evidence.Learn(local, x)
}

// MakeSeason starts the seasonal part of a series, at its last point.
func (m *Model) MakeSeason(c *Core, s *Season) {
	s.Make(c.at, m.zone.Local(c.at), c.level, c.usual(), float64(c.run))
}
