package modeltest

import (
	"math"
	"math/rand/v2"
)

// Minute is the sampling step of every series that the suite makes, in ms.
const Minute int64 = 60 * 1000

const pointsPerDay = 24 * 60

// Noise is a kind of series without anomalies. Start returns its values one
// after the other, the same for the same seed.
type Noise struct {
	Name  string
	Start func(seed uint64) func() float64
}

func noise(name string, next func(r *rand.Rand, i int, last float64) float64) Noise {
	return Noise{name, func(seed uint64) func() float64 {
		r := rand.New(rand.NewPCG(seed, 0x5eed))
		i, last := 0, 0.0
		return func() float64 {
			last = next(r, i, last)
			i++
			return last
		}
	}}
}

// The kinds of noise that a score is calibrated on.
var (
	White = noise("white", func(r *rand.Rand, _ int, _ float64) float64 {
		return 100 + 5*r.NormFloat64()
	})
	Autoregressive = noise("AR(1) 0.9", func(r *rand.Rand, _ int, last float64) float64 {
		return 0.9*last + r.NormFloat64()
	})
	StudentT3 = noise("Student t3", func(r *rand.Rand, _ int, _ float64) float64 {
		a, b, c := r.NormFloat64(), r.NormFloat64(), r.NormFloat64()
		return 100 + r.NormFloat64()/math.Sqrt((a*a+b*b+c*c)/3)
	})
	Seasonal = noise("daily season", func(r *rand.Rand, i int, _ float64) float64 {
		return season(i) + (2+math.Sin(2*math.Pi*float64(i)/pointsPerDay))*r.NormFloat64()
	})
)

// More kinds, on which a model should stay quiet.
var (
	Lognormal = noise("lognormal", func(r *rand.Rand, _ int, _ float64) float64 {
		return math.Exp(r.NormFloat64())
	})
	RandomWalk = noise("random walk", func(r *rand.Rand, _ int, last float64) float64 {
		return last + r.NormFloat64()
	})
	FewCounts  = noise("Poisson 0.1", func(r *rand.Rand, _ int, _ float64) float64 { return poisson(r, 0.1) })
	Counts     = noise("Poisson 2", func(r *rand.Rand, _ int, _ float64) float64 { return poisson(r, 2) })
	ManyCounts = noise("Poisson 50", func(r *rand.Rand, _ int, _ float64) float64 { return poisson(r, 50) })
	MostlyZero = noise("mostly zero", func(r *rand.Rand, _ int, _ float64) float64 {
		if r.Float64() < 0.95 {
			return 0
		}
		return 8 + 4*r.Float64()
	})
)

// Noises holds every kind.
var Noises = []Noise{White, Autoregressive, StudentT3, Seasonal, Lognormal, RandomWalk, FewCounts, Counts, ManyCounts, MostlyZero}

// season is a day with a broad peak and a second harmonic.
func season(i int) float64 {
	p := 2 * math.Pi * float64(i) / pointsPerDay
	return 100 + 30*math.Sin(p) + 10*math.Sin(2*p)
}

// poisson counts how many uniform numbers multiply to less than e^−mean.
func poisson(r *rand.Rand, mean float64) float64 {
	limit, p := math.Exp(-mean), 1.0
	for k := 0; ; k++ {
		if p *= r.Float64(); p <= limit {
			return float64(k)
		}
	}
}
