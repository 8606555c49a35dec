package modeltest

import (
	"math"
	"testing"

	"github.com/homeostat/homeostat/models"
)

func constant(t *testing.T, s Subject) {
	for _, value := range []float64{0, 1, -3.7, 1e8, 1e-9} {
		f := s.Follow()
		if n := f.Run(2*pointsPerDay, func() float64 { return value }); n != 0 {
			t.Errorf("constant %g: %d alarms", value, n)
		}
		if f.Next(value + math.Max(1, math.Abs(value))); !f.Alarm.Open {
			t.Errorf("constant %g: a change scores %v, which is no alarm", value, f.Reading.Score.Float())
		}
	}
}

func largeMean(t *testing.T, s Subject) {
	f, next := s.Follow(), White.Start(8)
	large := func() float64 { return 1e8 + (next()-100)/5 }
	if n := f.Run(3*pointsPerDay, large); n != 0 {
		t.Errorf("mean 1e8, deviation 1: %d alarms", n)
	}
	if r := f.Reading; r.Scale < 0.5 || r.Scale > 1.5 || math.Abs(r.Expected-1e8) > 3 {
		t.Errorf("mean 1e8, deviation 1: expected %v with scale %v", r.Expected, r.Scale)
	}
	f.Next(1e8 + 15)
	if !f.Alarm.Open {
		t.Errorf("15 deviations above a mean of 1e8 score %v, which is no alarm", f.Reading.Score.Float())
	}
}

func gap(t *testing.T, s Subject) {
	for _, minutes := range []int64{10, 90, 600, 3 * pointsPerDay} {
		f, next := s.Follow(), Autoregressive.Start(9)
		f.Run(3*pointsPerDay, next)
		f.At += minutes * Minute
		for range minutes {
			next()
		}
		if n := f.Run(pointsPerDay, next); n != 0 {
			t.Errorf("a gap of %d minutes: %d alarms in the day after it", minutes, n)
		}
	}
}

func step(t *testing.T, s Subject) {
	for _, by := range []float64{60, -60} {
		f, next := s.Follow(), White.Start(10)
		f.Run(2*pointsPerDay, next)
		shifted := func() float64 { return next() + by }
		if n := f.Run(5, shifted); n != 1 {
			t.Errorf("a step of %v, 12 deviations: %d alarms in 5 points, want 1", by, n)
		}
		f.Run(pointsPerDay, shifted)
		if f.Alarm.Open {
			t.Errorf("a step of %v is an anomaly still, a day later", by)
		}
		if n := f.Run(2*pointsPerDay, shifted); n != 0 {
			t.Errorf("a step of %v: %d alarms after it was learnt", by, n)
		}
	}
}

func ramp(t *testing.T, s Subject) {
	f, next := s.Follow(), White.Start(11)
	x := 0.0
	if n := f.Run(10*pointsPerDay, func() float64 {
		x += 0.02
		return next() + x
	}); n != 0 {
		t.Errorf("a slow ramp: %d alarms", n)
	}
}

func dailySeason(t *testing.T, s Subject) {
	f, next := s.Follow(), Seasonal.Start(12)
	if n := f.Run(15*pointsPerDay, next); n != 0 {
		t.Errorf("a daily season: %d alarms", n)
	}
	// At a quarter of the day the season peaks. It breaks down there.
	f.Run(pointsPerDay/4, next)
	if n := f.Run(10, func() float64 { return next() - 40 }); n != 1 {
		t.Errorf("the peak breaks down: %d alarms, want 1", n)
	}
}

func reset(t *testing.T, s Subject) {
	f, next := s.Follow(), White.Start(13)
	f.Run(3*pointsPerDay, next)
	before := f.Alarms
	f.Next(0)
	f.Run(pointsPerDay, next)
	if n := f.Alarms - before; n != 1 {
		t.Errorf("one point at zero: %d alarms, want 1", n)
	}
	if f.Alarm.Open {
		t.Error("one point at zero is an anomaly still, a day later")
	}
}

func stimulus(t *testing.T, s Subject) {
	f, next := s.Follow(), White.Start(14)
	f.Run(200, next)
	if f.Alarms != 0 {
		t.Errorf("200 quiet points: %d alarms", f.Alarms)
	}
	for i, want := 0, true; i < 6; i, want = i+1, false {
		if opened := f.Next(400); opened != want {
			t.Errorf("point %d of a spike of 60 deviations: opened %v, want %v, score %v", i, opened, want, f.Reading.Score.Float())
		}
		if i == 0 && (!f.Reading.Warm || f.Reading.Residual < 250 || math.Abs(f.Reading.Expected-100) > 15) {
			t.Errorf("the spike reads %+v", f.Reading)
		}
	}
	f.Run(200, next)
	if f.Alarm.Open || f.Alarms > 2 {
		t.Errorf("200 points after the spike: open %v, %d alarms in all", f.Alarm.Open, f.Alarms)
	}
}

const noiseWeeks = 8

func noiseIsQuiet(t *testing.T, s Subject) {
	for _, kind := range Noises {
		n := s.Follow().Run(noiseWeeks*7*pointsPerDay, kind.Start(15))
		got, most := float64(n)/noiseWeeks, s.Weekly[kind.Name]
		t.Logf("%s: %.2f false alarms a week", kind.Name, got)
		if got > most {
			t.Errorf("%s: %.2f false alarms a week, want at most %.2f", kind.Name, got, most)
		}
	}
}

// Frequency returns −log10 of the share of n points of a kind of noise that
// score at least as much as each of levels, after a day of learning. It is
// +Inf where no point does.
func (s Subject) Frequency(kind Noise, seed uint64, n int, levels ...models.Score) []float64 {
	f, next := s.Follow(), kind.Start(seed)
	f.Run(pointsPerDay, next)
	counts := make([]int, len(levels))
	for range n {
		f.Next(next())
		for i, l := range levels {
			if f.Reading.Score >= l {
				counts[i]++
			}
		}
	}
	out := make([]float64, len(levels))
	for i, c := range counts {
		out[i] = -math.Log10(float64(c) / float64(n))
	}
	return out
}

// calibrated holds one side only: a score that is rarer than it says costs
// detections, which the measure on labelled series sees, and no false alarms.
func calibrated(t *testing.T, s Subject) {
	levels := []models.Score{3 * models.ScoreUnit, 4 * models.ScoreUnit}
	points := calibrationPoints
	if s.Points > 0 {
		points = min(points, s.Points)
	}
	for _, kind := range []Noise{White, Autoregressive, StudentT3, Seasonal} {
		factor := s.Above[kind.Name]
		if factor == 0 {
			factor = 2
		}
		for i, got := range s.Frequency(kind, 16, points, levels...) {
			want := levels[i].Float()
			t.Logf("%s: P(s ≥ %v) is 10^-%.2f", kind.Name, want, got)
			if got < want-math.Log10(factor) {
				t.Errorf("%s: P(s ≥ %v) is 10^-%.2f, more than %v times what it says", kind.Name, want, got, factor)
			}
		}
	}
}
