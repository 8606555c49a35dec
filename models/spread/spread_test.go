package spread_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/lean"
	"github.com/homeostat/homeostat/models/modeltest"
	"github.com/homeostat/homeostat/models/spread"
)

// follower scores a series by its baseline, as the engine does, and asks at the
// end of each block whether it moves as it used to.
type follower struct {
	base  *lean.Baseline
	core  spread.Core
	alarm models.Alarm
	at    int64
	last  float64
	found []found
}

type found struct {
	at     int64
	change spread.Change
}

func follow(t testing.TB) *follower {
	t.Helper()
	m, err := lean.New(lean.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return &follower{base: lean.NewBaseline(m)}
}

func (f *follower) next(x float64) {
	var r models.Reading
	f.base.Score(f.at, x, &r)
	if ln, ok := lean.LnStep(&r); ok && r.Warm && f.core.Learn(f.at, ln, x == f.last) {
		change := f.core.Score()
		if f.alarm.Step(change.Score, spread.OpenAt, spread.OpenAt/2) == models.Opened {
			f.found = append(f.found, found{f.at, change})
		}
	}
	f.base.Learn(f.at, x, &r, models.WeightOf(r.Score))
	f.at, f.last = f.at+modeltest.Minute, x
}

const day = 24 * 60

func (f *follower) run(points int, x func(n int) float64) {
	for n := range points {
		f.next(x(n))
	}
}

// Noise of every kind is quiet: not one false alarm in twelve weeks of four
// series each.
func TestNoiseIsQuiet(t *testing.T) {
	for _, kind := range modeltest.Noises {
		alarms := 0
		for seed := range uint64(4) {
			f, next := follow(t), kind.Start(100+seed)
			f.run(12*7*day, func(int) float64 { return next() })
			alarms += len(f.found)
		}
		if alarms > 0 {
			t.Errorf("%s: %d alarms in 48 weeks, want none", kind.Name, alarms)
		}
	}
}

// What is no change of variance is none: each is a week of white noise that does
// something else in the second.
func TestOtherTroubleIsNotIts(t *testing.T) {
	var rng *rand.Rand
	wild := func(n, from, to int, factor float64) float64 {
		if n >= from && n < to {
			return factor
		}
		return 1
	}
	for what, x := range map[string]func(n int) float64{
		"a level shift":         func(n int) float64 { return 100 + 500*(wild(n, 10*day, 20*day, 2)-1) + 5*rng.NormFloat64() },
		"a wild hour":           func(n int) float64 { return 100 + 5*wild(n, 10*day, 10*day+60, 10)*rng.NormFloat64() },
		"half as much again":    func(n int) float64 { return 100 + 5*wild(n, 10*day, 20*day, 1.5)*rng.NormFloat64() },
		"half as much":          func(n int) float64 { return 100 + 5*wild(n, 10*day, 20*day, 0.5)*rng.NormFloat64() },
		"a restless afternoon":  func(n int) float64 { return 100 + 5*wild(n%day, 720, 1080, 4)*rng.NormFloat64() },
		"still for half a day":  func(n int) float64 { return 100 + 5*wild(n, 10*day, 10*day+720, 0)*rng.NormFloat64() },
		"still at the weekend":  func(n int) float64 { return 100 + 5*wild(n%(7*day), 5*day, 7*day, 0)*rng.NormFloat64() },
		"always the same":       func(int) float64 { return 7 },
		"the same but for once": func(n int) float64 { return 7 + 5*(wild(n, 10*day, 10*day+1, 2)-1) },
		"a spike an hour": func(n int) float64 {
			return 100 + 5*rng.NormFloat64() + 300*(wild(n%60, 3, 5, 2)-1)*(wild(n, 10*day, 11*day, 2)-1)
		},
	} {
		f := follow(t)
		rng = rand.New(rand.NewPCG(1, 9))
		f.run(30*day, x)
		for _, a := range f.found {
			t.Errorf("%s: on day %.1f: %+v", what, float64(a.at)/float64(day*modeltest.Minute), a.change)
		}
	}
}

// A series that moves four times as much is found within hours, and one that
// stands still within a day and an hour; each is told once, with its factor.
func TestAChangeOfVarianceIsFound(t *testing.T) {
	for _, c := range []struct {
		what   string
		factor float64
		within float64 // hours
		season float64
	}{
		{"four times as much", 4, 6, 0},
		{"four times as much under a season", 4, 6, 50},
		{"ten times as much", 10, 4, 0},
		{"nothing any more", 0, 25, 0},
	} {
		f, rng := follow(t), rand.New(rand.NewPCG(2, 9))
		f.run(14*day, func(n int) float64 {
			return 100 + c.season*math.Sin(2*math.Pi*float64(n)/day) + 5*rng.NormFloat64()
		})
		if len(f.found) > 0 {
			t.Fatalf("%s: an alarm before it began: %+v", c.what, f.found)
		}
		begin, last := f.at, f.last
		f.run(3*day, func(n int) float64 {
			if c.factor == 0 {
				return last
			}
			return 100 + c.season*math.Sin(2*math.Pi*float64(n)/day) + c.factor*5*rng.NormFloat64()
		})
		if len(f.found) != 1 {
			t.Errorf("%s: found %+v, want it once", c.what, f.found)
			continue
		}
		a := f.found[0]
		if hours := float64(a.at-begin) / 3.6e6; hours > c.within {
			t.Errorf("%s: found after %.1f hours, want at most %v", c.what, hours, c.within)
		}
		if c.factor > 0 && (a.change.Factor < 0.6*c.factor || a.change.Factor > 1.2*c.factor) || c.factor == 0 && a.change.Factor > spread.Still {
			t.Errorf("%s: it is said to move %.2f times as much", c.what, a.change.Factor)
		}
	}
}

func TestACoreComesBackFromItsRecord(t *testing.T) {
	for _, kind := range modeltest.Noises {
		f, next := follow(t), kind.Start(3)
		for n := range 40 * day {
			x := next()
			if n > 20*day && n < 22*day {
				x = f.last
			}
			f.next(x)
			if n%997 != 0 {
				continue
			}
			b, err := f.core.AppendBinary([]byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			var back spread.Core
			if err := back.UnmarshalBinary(b[1:]); err != nil || back != f.core {
				t.Fatalf("%s, point %d: %+v comes back as %+v, %v", kind.Name, n, f.core, back, err)
			}
		}
	}
}

func TestARottenRecordIsRefused(t *testing.T) {
	f, next := follow(t), modeltest.White.Start(4)
	f.run(10*day, func(int) float64 { return next() })
	good, _ := f.core.AppendBinary(nil)
	rng := rand.New(rand.NewPCG(5, 5))
	for n := range good {
		if err := new(spread.Core).UnmarshalBinary(good[:n]); err == nil {
			t.Errorf("%d bytes of %d are taken", n, len(good))
		}
	}
	for range 5000 {
		bad := append([]byte(nil), good...)
		bad[2+rng.IntN(len(bad)-2)] = byte(rng.Uint32())
		var c spread.Core
		if c.UnmarshalBinary(bad) != nil {
			continue
		}
		// What is taken is usable: nothing becomes NaN, and no score is more than there is.
		for n := range 200 * 60 {
			if c.Learn(int64(n)*60_000, rng.NormFloat64(), false) {
				if ch := c.Score(); math.IsNaN(ch.Factor) || math.IsNaN(ch.Z) || ch.Score < 0 || ch.Score > models.MaxScore {
					t.Fatalf("%x leads to %+v", bad, ch)
				}
			}
		}
	}
	future := append([]byte(nil), good...)
	future[1]++
	c := f.core
	if err := c.UnmarshalBinary(future); err != nil || c != (spread.Core{}) {
		t.Errorf("an unknown version gives %+v, %v", c, err)
	}
}

func TestStateStaysWithinItsBytes(t *testing.T) {
	if size := unsafe.Sizeof(spread.Core{}); size > 32 {
		t.Errorf("a Core takes %d bytes, want at most 32", size)
	}
	f, next := follow(t), modeltest.White.Start(1)
	f.run(5*day, func(int) float64 { return next() })
	at := f.at
	if n := testing.AllocsPerRun(1000, func() {
		at += modeltest.Minute
		f.core.Learn(at, 0.5, false)
		f.core.Score()
	}); n != 0 {
		t.Errorf("Learn and Score make %v allocations", n)
	}
}

func BenchmarkLearn(b *testing.B) {
	var c spread.Core
	at := int64(0)
	for b.Loop() {
		at += 15_000
		if c.Learn(at, 0.3, false) {
			c.Score()
		}
	}
}
