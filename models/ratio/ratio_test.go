package ratio

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/homeostat/homeostat/models"
	"pgregory.net/rapid"
)

const step = 30_000

// feed gives the model the interval that makes draws and returns its score.
func feed(m *Model, c *Core, at int64, e, n float64) models.Reading {
	var r models.Reading
	m.Score(c, at, e, n, &r)
	m.Learn(c, at, e, n, &r, 1)
	return r
}

func binomial(rng *rand.Rand, n int, p float64) float64 {
	k := 0
	for range n {
		if rng.Float64() < p {
			k++
		}
	}
	return float64(k)
}

func taught(m *Model, rng *rand.Rand, points, n int, p float64) (Core, int64) {
	var c Core
	at := int64(1e12)
	for range points {
		at += step
		feed(m, &c, at, binomial(rng, n, p), float64(n))
	}
	return c, at
}

func TestCoreIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Core{}); size > 64 {
		t.Errorf("Core takes %d bytes, want at most 64", size)
	}
}

// A constant share must not score: at most one interval in a thousand above 3
// and one in ten thousand above 4, with and without a mild overdispersion.
func TestConstantShareIsQuiet(t *testing.T) {
	m := New(Config{})
	rng := rand.New(rand.NewPCG(1, 2))
	const points = 20000
	for _, rho := range []float64{0, 0.003} {
		for _, p := range []float64{0, .001, .01, .1} {
			for _, n := range []int{3, 10, 40, 200, 1000} {
				var c Core
				at := int64(0)
				over3, over4, over46 := 0, 0, 0
				for range points {
					at += step
					share := p
					if rho > 0 && p > 0 {
						share = beta(rng, p, rho)
					}
					s := feed(m, &c, at, binomial(rng, n, share), float64(n)).Score
					if s > 3*models.ScoreUnit {
						over3++
					}
					if s > 4*models.ScoreUnit {
						over4++
					}
					if s.Float() > 4.6 {
						over46++
					}
				}
				if over3 > points/1000 || over4 > points/5000 {
					t.Errorf("rho %v p %v n %d: %d above 3, %d above 4, %d above 4.6 of %d", rho, p, n, over3, over4, over46, points)
				}
				t.Logf("rho %v p %v n %d: %d above 3, %d above 4, %d above 4.6 of %d; rho %.5f", rho, p, n, over3, over4, over46, points, c.Rho())
			}
		}
	}
}

// beta draws a share with mean p and correlation rho, as a ratio of gammas
// (Marsaglia and Tsang 2000).
func beta(rng *rand.Rand, p, rho float64) float64 {
	strength := 1/rho - 1
	x, y := gamma(rng, p*strength), gamma(rng, (1-p)*strength)
	return x / (x + y)
}

func gamma(rng *rand.Rand, shape float64) float64 {
	if shape < 1 {
		return gamma(rng, shape+1) * math.Pow(rng.Float64(), 1/shape)
	}
	d := shape - 1./3
	for {
		x := rng.NormFloat64()
		v := math.Pow(1+x/math.Sqrt(9*d), 3)
		if v > 0 && math.Log(1-rng.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

func TestOneOfThreeIsQuiet(t *testing.T) {
	m := New(Config{})
	for _, history := range []int{30, 1000, 20000} {
		var c Core
		at := int64(0)
		for range history {
			at += step
			feed(m, &c, at, 0, 3)
		}
		if s := feed(m, &c, at+step, 1, 3).Score; s > 2*models.ScoreUnit {
			t.Errorf("after %d quiet intervals 1 of 3 scores %v", history, s.Float())
		}
	}
}

func TestRiseIsFoundWithSmallCounts(t *testing.T) {
	m := New(Config{})
	const theta = 4.6 // one a fortnight at 30 s
	worst, sum := 0, 0
	const runs = 200
	for seed := range uint64(runs) {
		rng := rand.New(rand.NewPCG(seed, 3))
		c, at := taught(m, rng, 1000, 40, .005)
		delay := 0
		for {
			delay++
			at += step
			if feed(m, &c, at, binomial(rng, 40, .08), 40).Score.Float() >= theta {
				break
			}
			if delay == 40 {
				t.Fatalf("seed %d: a rise from 0.5 %% to 8 %% at 40 requests was not found in 40 intervals", seed)
			}
		}
		worst, sum = max(worst, delay), sum+delay
	}
	if worst > 20 || float64(sum)/runs > 4 {
		t.Errorf("delay %.2f intervals on average, %d at worst; want 4 and 20", float64(sum)/runs, worst)
	}
	t.Logf("delay %.2f intervals on average, %d at worst", float64(sum)/runs, worst)
}

// A share that stays high stays abnormal, and what is normal stays learnt.
func TestNeverNormalisesItselfAway(t *testing.T) {
	m := New(Config{})
	rng := rand.New(rand.NewPCG(4, 4))
	c, at := taught(m, rng, 3000, 40, .005)
	before := c.Mean()
	var last models.Score
	for range 14 * 2880 {
		at += step
		last = feed(m, &c, at, binomial(rng, 40, .3), 40).Score
	}
	if last.Float() < 4.6 {
		t.Errorf("after a fortnight at 30 %% the score is %v", last.Float())
	}
	if c.Mean() > 1.5*before {
		t.Errorf("what is normal went from %v to %v", before, c.Mean())
	}
}

func TestOutageDoesNotEcho(t *testing.T) {
	m := New(Config{})
	rng := rand.New(rand.NewPCG(5, 5))
	c, at := taught(m, rng, 1000, 40, .005)
	for range 60 {
		at += step
		feed(m, &c, at, 40, 40)
	}
	for i := range 20 {
		at += step
		if s := feed(m, &c, at, 0, 40).Score; s > models.ScoreUnit {
			t.Errorf("%d intervals after the outage an interval without errors scores %v", i+1, s.Float())
		}
	}
}

func TestNothingToScore(t *testing.T) {
	m := New(Config{})
	c, at := taught(m, rand.New(rand.NewPCG(6, 6)), 100, 40, .1)
	for _, v := range [][2]float64{{0, 0}, {1, 0}, {-1, 3}, {5, 3}, {math.NaN(), 3}, {1, math.NaN()}, {1, math.Inf(1)}} {
		before := c
		if r := feed(m, &c, at+step, v[0], v[1]); r.Score != 0 {
			t.Errorf("%v of %v scores %v", v[0], v[1], r.Score)
		}
		if c != before {
			t.Errorf("%v of %v was learnt", v[0], v[1])
		}
	}
}

func TestMoreErrorsNeverScoreLess(t *testing.T) {
	m := New(Config{})
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 7))
		c, at := taught(m, rng, 150, rapid.IntRange(3, 100).Draw(t, "history"), rapid.Float64Range(0, .3).Draw(t, "share"))
		n := rapid.IntRange(1, 5000).Draw(t, "total")
		last := models.Score(0)
		for e := 0.0; e <= float64(n); e += max(float64(n)/50, .5) {
			var r models.Reading
			m.Score(&c, at+step, e, float64(n), &r)
			if r.Score < last {
				t.Fatalf("%v of %d scores %v, less than %v before", e, n, r.Score, last)
			}
			last = r.Score
		}
	})
}

func TestBoundsAreWhereItWouldBeQuiet(t *testing.T) {
	m := New(Config{})
	theta := models.ScoreOf(4.6)
	for _, n := range []float64{2, 40, 1000, 1e6} {
		c, at := taught(m, rand.New(rand.NewPCG(8, 8)), 1000, 40, .01)
		_, upper := m.Bounds(&c, at+step, n, theta)
		var in, out models.Reading
		m.Score(&c, at+step, upper*n*.999, n, &in)
		m.Score(&c, at+step, min(upper*n*1.02+.02, n), n, &out)
		if in.Score >= theta || upper < 1 && out.Score < theta {
			t.Errorf("n %v: bound %v, just within scores %v, just beyond %v", n, upper, in.Score.Float(), out.Score.Float())
		}
	}
}

// The sum over all terms is 1, and the tail is what the terms add up to.
func TestTailSumsTheTerms(t *testing.T) {
	for _, v := range []struct{ n, a, b float64 }{{10, .5, 100}, {100, 3, 40}, {2000, 20, 1500}} {
		tail := 0.0
		for k := v.n; k >= 0; k-- {
			tail += math.Exp(logTerm(k, v.n, v.a, v.b))
			if k > v.n*v.a/(v.a+v.b) && tail > 1e-200 {
				if got := math.Exp(logTail(k, v.n, v.a, v.b)); math.Abs(got/tail-1) > 1e-6 {
					t.Fatalf("n %v a %v b %v: tail at %v is %v, want %v", v.n, v.a, v.b, k, got, tail)
				}
			}
		}
		if math.Abs(tail-1) > 1e-6 {
			t.Errorf("n %v a %v b %v: the terms sum to %v", v.n, v.a, v.b, tail)
		}
	}
}

func TestSavedAndLoadedGoesOnAlike(t *testing.T) {
	m := New(Config{})
	rng := rand.New(rand.NewPCG(9, 9))
	c, at := taught(m, rng, 500, 17, .02)
	b, err := c.AppendBinary([]byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	var d Core
	n, err := d.Consume(append(b[6:], "after"...))
	if err != nil || n != len(b)-6 || d != c {
		t.Fatalf("loaded %+v after %d bytes (%v), want %+v", d, n, err, c)
	}
	for range 200 {
		at += step
		e := binomial(rng, 17, .05)
		if a, b := feed(m, &c, at, e, 17), feed(m, &d, at, e, 17); a.Score != b.Score {
			t.Fatalf("the loaded one scores %v, the kept one %v", b.Score, a.Score)
		}
	}
}

func TestRecordsThatAreNone(t *testing.T) {
	c, _ := taught(New(Config{}), rand.New(rand.NewPCG(10, 10)), 50, 9, .2)
	b, err := c.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		var d Core
		if err := d.UnmarshalBinary(b[:i]); !errors.Is(err, ErrRecord) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	b[1] = 99
	d := c
	if err := d.UnmarshalBinary(b); err != nil || d != (Core{}) {
		t.Errorf("unknown version: %v, %+v", err, d)
	}
}

func FuzzUnmarshal(f *testing.F) {
	c, _ := taught(New(Config{}), rand.New(rand.NewPCG(11, 11)), 50, 9, .2)
	b, _ := c.AppendBinary(nil)
	f.Add(b)
	m := New(Config{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Core
		if c.UnmarshalBinary(b) != nil {
			return
		}
		r := feed(m, &c, c.at+step, 1, 3)
		if math.IsNaN(r.Expected) || r.Score < 0 {
			t.Errorf("a loaded record made %+v", r)
		}
	})
}

func TestAllocatesNothing(t *testing.T) {
	m := New(Config{})
	c, at := taught(m, rand.New(rand.NewPCG(12, 12)), 100, 40, .05)
	var r models.Reading
	if n := testing.AllocsPerRun(100, func() {
		at += step
		m.Score(&c, at, 5, 40, &r)
		m.Learn(&c, at, 5, 40, &r, 1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkScoreLearn(b *testing.B) {
	m := New(Config{})
	c, at := taught(m, rand.New(rand.NewPCG(13, 13)), 1000, 40, .01)
	var r models.Reading
	b.ReportAllocs()
	for i := range b.N {
		at += step
		e := float64(i & 1)
		m.Score(&c, at, e, 40, &r)
		m.Learn(&c, at, e, 40, &r, 1)
	}
}
