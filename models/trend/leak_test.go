package trend

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/homeostat/homeostat/models"
)

const (
	stepMS = 60_000
	dayMS  = 24 * hourMS
)

// noise makes a series; t is in hours.
type noise func(rng *rand.Rand) func(t float64) float64

func white(rng *rand.Rand) func(float64) float64 {
	return func(float64) float64 { return 100 + rng.NormFloat64() }
}

func ar(phi float64) noise {
	return func(rng *rand.Rand) func(float64) float64 {
		x := 0.0
		return func(float64) float64 { x = phi*x + rng.NormFloat64(); return 100 + x }
	}
}

func walk(rng *rand.Rand) func(float64) float64 {
	x := 0.0
	return func(float64) float64 { x += rng.NormFloat64(); return 1000 + x }
}

func heavyWalk(rng *rand.Rand) func(float64) float64 {
	x := 0.0
	return func(float64) float64 { x += t3(rng); return 1000 + x }
}

func t3(rng *rand.Rand) float64 {
	a, b, c := rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64()
	return rng.NormFloat64() / math.Sqrt((a*a+b*b+c*c)/3)
}

func tails(rng *rand.Rand) func(float64) float64 {
	return func(float64) float64 { return 100 + t3(rng) }
}

func lognormal(rng *rand.Rand) func(float64) float64 {
	return func(float64) float64 { return 100 * math.Exp(.5*rng.NormFloat64()) }
}

func daily(size, sd float64) noise {
	return func(rng *rand.Rand) func(float64) float64 {
		phase := 24 * rng.Float64()
		return func(t float64) float64 {
			return 100*(1+size*math.Sin((t+phase)*2*math.Pi/24)) + sd*rng.NormFloat64()
		}
	}
}

// weekly is quiet on two days of seven.
func weekly(rng *rand.Rand) func(float64) float64 {
	first := rng.IntN(7)
	return func(t float64) float64 {
		size := 1.0
		if (int(t/24)+first)%7 >= 5 {
			size = .5
		}
		return 100*(1+.3*size*(1-math.Cos(t*2*math.Pi/24))) + rng.NormFloat64()
	}
}

// restless has a season whose size differs from day to day.
func restless(rng *rand.Rand) func(float64) float64 {
	day, size := -1, 0.0
	return func(t float64) float64 {
		if d := int(t / 24); d != day {
			day, size = d, .3*(1+.2*rng.NormFloat64())
		}
		return 100*(1+size*(1-math.Cos(t*2*math.Pi/24))) + rng.NormFloat64()
	}
}

func shift(rng *rand.Rand) func(float64) float64 {
	at, by := 48+200*rng.Float64(), 50*rng.Float64()
	return func(t float64) float64 {
		x := 100 + rng.NormFloat64()
		if t > at {
			x += by
		}
		return x
	}
}

// sawtooth rises and is collected after a period in hours.
func sawtooth(period float64) noise {
	return func(rng *rand.Rand) func(float64) float64 {
		return func(t float64) float64 {
			return 100 + 50*math.Mod(t, period)/period + rng.NormFloat64()
		}
	}
}

// poisson counts have the spread of their level, and a season.
func poisson(rng *rand.Rand) func(float64) float64 {
	return func(t float64) float64 {
		level := 20 * (1 + .5*math.Sin(t*2*math.Pi/24))
		return math.Round(level + math.Sqrt(level)*rng.NormFloat64())
	}
}

// bursts are batches that run for some hours, now and then.
func bursts(rng *rand.Rand) func(float64) float64 {
	until := 0.0
	return func(t float64) float64 {
		if t > until && rng.Float64() < 1./1440 {
			until = t + 5*rng.Float64()
		}
		x := 100 + rng.NormFloat64()
		if t < until {
			x += 40
		}
		return x
	}
}

// alarms counts how often an alarm opens in so many days, and when first.
func alarms(next func(t float64) float64, days int) (opened int, first float64, rise Rise) {
	m := New(Config{})
	var c Core
	var a models.Alarm
	first = math.Inf(1)
	for at := int64(0); at < int64(days)*dayMS; at += stepMS {
		t := float64(at) / hourMS
		if !m.Learn(&c, at, next(t)) {
			continue
		}
		r := m.Score(&c)
		if a.Step(r.Score, OpenAt, CloseAt) == models.Opened {
			if opened == 0 {
				first, rise = t, r
			}
			opened++
		}
	}
	return opened, first, rise
}

func TestNoiseIsNoLeak(t *testing.T) {
	for _, v := range []struct {
		name string
		make noise
	}{
		{"white", white},
		{"ar .9", ar(.9)},
		{"ar .99", ar(.99)},
		{"ar .999", ar(.999)},
		{"walk", walk},
		{"heavy walk", heavyWalk},
		{"t3", tails},
		{"lognormal", lognormal},
		{"poisson", poisson},
		{"bursts", bursts},
		{"daily", daily(.3, 1)},
		{"daily noiseless", daily(.3, 0)},
		{"weekly", weekly},
		{"restless", restless},
		{"shift", shift},
		{"sawtooth 10 min", sawtooth(1. / 6)},
		{"sawtooth 50 min", sawtooth(5. / 6)},
		{"sawtooth 5 h", sawtooth(5)},
		{"sawtooth 17 h", sawtooth(17)},
		{"sawtooth 24 h", sawtooth(24)},
	} {
		const series, days = 24, 30
		opened := 0
		for seed := range uint64(series) {
			n, _, _ := alarms(v.make(rand.New(rand.NewPCG(seed, 1))), days)
			opened += n
		}
		rate := float64(opened) / series
		t.Logf("%-16s %.3f a series-month", v.name, rate)
		if rate > 1 {
			t.Errorf("%s: %.2f false alarms a series-month", v.name, rate)
		}
	}
}

func TestLeaksAreFound(t *testing.T) {
	for _, v := range []struct {
		name    string
		base    noise
		start   float64 // hours
		perHour float64
		within  float64
	}{
		{"2 %/h from day 3", white, 72, 2, 6},
		{"2 %/h from day 10", white, 240, 2, 6},
		{"1 %/h under a season", daily(.3, 1), 240, 1, 12},
		{"5 %/day under a season, from the start", daily(.3, 1), 0, 5. / 24, 72},
		{"5 %/day under a season, from day 3", daily(.3, 1), 72, 5. / 24, 72},
		{"5 %/day under a season, from day 10", daily(.3, 1), 240, 5. / 24, 72},
	} {
		worst, sum := 0.0, 0.0
		const runs = 20
		for seed := range uint64(runs) {
			base := v.base(rand.New(rand.NewPCG(seed, 2)))
			_, first, rise := alarms(func(t float64) float64 { return base(t) + v.perHour*max(t-v.start, 0) }, int(v.start/24)+5)
			delay := first - v.start
			if delay < 0 {
				t.Errorf("%s, seed %d: an alarm %.0f h before the leak", v.name, seed, -delay)
			}
			worst, sum = max(worst, delay), sum+delay
			if delay > v.within {
				t.Errorf("%s, seed %d: found after %.0f h", v.name, seed, delay)
			}
			if math.Abs(rise.PerHour/v.perHour-1) > .7 {
				t.Errorf("%s, seed %d: said to rise by %.3f an hour, not %.3f", v.name, seed, rise.PerHour, v.perHour)
			}
			if seed == 0 {
				t.Logf("%s: %s", v.name, fmt.Sprintf("%+v", rise))
			}
		}
		t.Logf("%s: found after %.1f h on average, %.0f at worst", v.name, sum/runs, worst)
	}
}

func TestCoreIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Core{}); size > 96 {
		t.Errorf("Core takes %d bytes, want at most 96", size)
	}
}

func taught(days int) (*Model, Core, int64, func(float64) float64) {
	m := New(Config{})
	base := daily(.3, 1)(rand.New(rand.NewPCG(3, 3)))
	next := func(t float64) float64 { return base(t) + t/50 }
	var c Core
	at := int64(0)
	for ; at < int64(days)*dayMS+5*hourMS/2; at += stepMS {
		m.Learn(&c, at, next(float64(at)/hourMS))
	}
	return m, c, at, next
}

func TestSavedAndLoadedGoesOnAlike(t *testing.T) {
	m, c, at, next := taught(3)
	b, err := c.AppendBinary([]byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	var d Core
	if n, err := d.Consume(append(b[6:], "after"...)); err != nil || n != len(b)-6 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	for end := at + 3*dayMS; at < end; at += stepMS {
		v := next(float64(at) / hourMS)
		if m.Learn(&c, at, v) != m.Learn(&d, at, v) || m.Score(&c) != m.Score(&d) {
			t.Fatalf("at %d the loaded one says %+v, the kept one %+v", at, m.Score(&d), m.Score(&c))
		}
	}
}

func TestRecordsThatAreNone(t *testing.T) {
	_, c, _, _ := taught(2)
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
		t.Errorf("unknown version: %v", err)
	}
}

func FuzzUnmarshal(f *testing.F) {
	_, c, _, _ := taught(2)
	b, _ := c.AppendBinary(nil)
	f.Add(b)
	m := New(Config{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Core
		if c.UnmarshalBinary(b) != nil || c.hour < 0 || c.hour > 1<<30 {
			return
		}
		for i := range int64(30) {
			m.Learn(&c, (int64(c.hour)+i%2)*hourMS, 1)
			if r := m.Score(&c); r.Score < 0 {
				t.Errorf("a loaded record made %+v", r)
			}
		}
	})
}

// A value of any size, and any change of size, is taken without harm, and the
// same leak at another scale or on another base is found at the same time.
func TestScaleAndBaseDoNotMatter(t *testing.T) {
	var want float64
	for i, v := range []struct{ scale, base float64 }{{1, 0}, {1e-9, 0}, {1e9, 0}, {1, 1e7}} {
		base := daily(.3, 1)(rand.New(rand.NewPCG(5, 5)))
		_, first, _ := alarms(func(t float64) float64 { return v.base + v.scale*(base(t)+max(t-200, 0)) }, 12)
		if i == 0 {
			want = first
		}
		if math.Abs(first-want) > 1 {
			t.Errorf("scale %v base %v: found at %v h, not %v", v.scale, v.base, first, want)
		}
	}
	m := New(Config{})
	var c Core
	for i := range int64(5000) {
		v := math.Pow(10, float64(i%70)-35)
		m.Learn(&c, i*hourMS/4, v)
		if r := m.Score(&c); math.IsNaN(r.PerHour) || math.IsNaN(r.From) || r.Score < 0 {
			t.Fatalf("%v made %+v", v, r)
		}
	}
}

// A season that follows the local clock stays a season when the clock changes.
func TestClockChangeIsNoLeak(t *testing.T) {
	change := int64(20 * dayMS)
	zone := models.Zone{{At: 0, OffsetSeconds: 3600}, {At: change, OffsetSeconds: 7200}, {At: change + 40*dayMS, OffsetSeconds: 3600}}
	m := New(Config{Zone: zone})
	var c Core
	rng := rand.New(rand.NewPCG(6, 6))
	for at := int64(0); at < 80*dayMS; at += 5 * stepMS {
		hour := float64(zone.Local(at)) / hourMS
		v := 100*(1+.3*math.Sin(hour*2*math.Pi/24)) + .2*rng.NormFloat64()
		if m.Learn(&c, at, v) && m.Score(&c).Score >= OpenAt {
			t.Fatalf("a leak on day %d: %+v", at/dayMS, m.Score(&c))
		}
	}
}

func TestGapsAndNothing(t *testing.T) {
	m, c, at, next := taught(4)
	for _, gap := range []int64{hourMS, 5 * hourMS, 26 * hourMS, 90 * dayMS} {
		at += gap
		for end := at + 2*dayMS; at < end; at += stepMS {
			m.Learn(&c, at, next(float64(at)/hourMS))
			if r := m.Score(&c); r.Score >= OpenAt {
				t.Fatalf("after a gap of %d h: %+v", gap/hourMS, r)
			}
		}
	}
	before := c
	for _, v := range []float64{math.NaN(), math.Inf(1), 1e300} {
		if m.Learn(&c, at+dayMS, v); c.hour != before.hour {
			t.Errorf("%v was taken", v)
		}
	}
	var flat Core
	for i := range int64(24 * 60 * 5) {
		if m.Learn(&flat, i*stepMS, 7) && m.Score(&flat).Score != 0 {
			t.Fatal("a constant rises")
		}
	}
}

func TestAllocatesNothing(t *testing.T) {
	m, c, at, next := taught(2)
	if n := testing.AllocsPerRun(200, func() {
		at += 7 * stepMS
		m.Learn(&c, at, next(1))
		m.Score(&c)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLearn(b *testing.B) {
	m, c, at, _ := taught(2)
	b.ReportAllocs()
	for i := range b.N {
		at += 15_000
		if m.Learn(&c, at, float64(i&7)) {
			m.Score(&c)
		}
	}
}
