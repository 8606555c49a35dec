package load

import (
	"math"
	"math/rand/v2"
)

// Step is how far the data's time goes in one round, in milliseconds: the scrape
// interval.
const Step = 15_000

// values make the value of each series, round by round. A gauge is normal noise
// around its level, half of them whole numbers and half with three decimals. A
// counter grows by a wavering rate. The buckets of a histogram are cumulative
// counts of observations whose sizes keep their distribution.
type values struct {
	seed   uint64
	round  uint64
	kinds  []member
	level  []float64 // a gauge's level; what a counter or bucket grows by in a step
	spread []float64 // standard deviation of a gauge; 0 for the others
	now    []float64 // what a counter or bucket stands at, before accumulation over le
	out    []float64
}

func newValues(kinds []member, seed uint64) values {
	n := len(kinds)
	v := values{
		seed: seed, kinds: kinds,
		level: make([]float64, n), spread: make([]float64, n), now: make([]float64, n), out: make([]float64, n),
	}
	r := rand.New(rand.NewPCG(seed, 1))
	var observations, centre float64
	for i := range kinds {
		switch m := &kinds[i]; m.kind {
		case Gauge:
			v.level[i] = logUniform(r, 10, 1e6)
			if decimal(i) {
				v.level[i] = logUniform(r, 1, 1000)
			}
			v.spread[i] = v.level[i] * (0.02 + 0.08*r.Float64())
		case Counter:
			v.level[i] = logUniform(r, 30, 1e6)
		case Bucket:
			if m.le == 0 {
				observations, centre = logUniform(r, 50, 5000), 2+4*r.Float64()
			}
			d := float64(m.le) - centre
			v.level[i] = observations * math.Exp(-d*d/2) / math.Sqrt(2*math.Pi)
		}
		if kinds[i].kind != Gauge {
			v.now[i] = math.Round(v.level[i] * float64(1000+r.IntN(100_000)))
		}
	}
	return v
}

// decimal says whether a gauge has decimals.
func decimal(i int) bool { return i%2 == 1 }

// restart begins a series anew: its counts start from nothing.
func (v *values) restart(i int) { v.now[i] = 0 }

// Next returns the values of the next round, by series. They are valid until it
// is called again; the caller may change them.
func (f *Fleet) Next() []float64 { return f.values.next() }

func (v *values) next() []float64 {
	v.round++
	r := rand.New(rand.NewPCG(v.seed, 1+v.round))
	below := 0.0
	for i := range v.kinds {
		noise := r.NormFloat64()
		switch m := &v.kinds[i]; m.kind {
		case Gauge:
			x := v.level[i] + v.spread[i]*noise
			if decimal(i) {
				v.out[i] = math.Round(x*1000) / 1000
			} else {
				v.out[i] = math.Round(x)
			}
		case Counter:
			v.now[i] += math.Round(v.level[i] * max(0, 1+0.1*noise))
			v.out[i] = v.now[i]
		case Bucket:
			if m.le == 0 {
				below = 0
			}
			v.now[i] += math.Round(max(0, v.level[i]+math.Sqrt(v.level[i])*noise))
			below += v.now[i]
			v.out[i] = below
		}
	}
	return v.out
}

// Spike is a value of gauge i that is far from normal: 60 standard deviations
// above its level.
func (f *Fleet) Spike(i int) float64 {
	return math.Round(f.values.level[i]+60*f.values.spread[i]) + 1
}
