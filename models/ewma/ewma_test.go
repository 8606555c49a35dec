package ewma

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
)

func TestGainIsThatOfTheHalfLife(t *testing.T) {
	for _, rate := range []float64{1e-6, 1e-3, 0.01, 1.0 / 30, 0.05} {
		exact := 1 - math.Exp2(-rate)
		if got := Gain(rate); math.Abs(got-exact) > 1e-5 {
			t.Errorf("rate %v: %v, want %v", rate, got, exact)
		}
	}
}

var usual = Gains{Mean: 1e-3, Floor: 2e-4, Hour: 2e-3}

func TestScaleIsTheMeanDeviation(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	s := Scale{Mean: 5, Floor: 5, Hour: 5}
	for range 50_000 {
		s.Learn(math.Abs(r.NormFloat64()), usual)
	}
	if want := math.Sqrt(2 / math.Pi); math.Abs(s.At(0, 0)-want) > 0.1*want {
		t.Errorf("the scale of N(0,1) is %v, want %v", s.At(0, 0), want)
	}
}

func TestOutliersHardlyMoveTheScale(t *testing.T) {
	s := Scale{Mean: 1, Floor: 1, Hour: 1}
	for range 10 {
		s.Learn(1e6, usual)
	}
	if s.Mean > 50 {
		t.Errorf("ten outliers of a million deviations bring the mean from 1 to %v", s.Mean)
	}
}

// TestMostlyZeroSeriesKeepsAScale is why the floor is unclipped: a mean that is
// clipped by itself alone sticks at zero.
func TestMostlyZeroSeriesKeepsAScale(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	var s Scale
	for range 20_000 {
		e := 0.0
		if r.Float64() < 0.05 {
			e = 10
		}
		s.Learn(e, usual)
	}
	if got := s.At(0, 0); got < 0.02 {
		t.Errorf("the scale of a series that is 10 at one point in 20 is %v", got)
	}
}

func TestHoursAreApart(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	s := Scale{Mean: 1, Floor: 1, Hour: 1}
	var visiting uint8
	for day := range 60 {
		for hour := range uint8(Hours) {
			if day+int(hour) > 0 {
				s.Enter(hour, visiting)
				visiting = hour
			}
			size := 1.0
			if hour == 3 {
				size = 10
			}
			for range 60 {
				s.Learn(size*math.Abs(r.NormFloat64()), usual)
			}
		}
	}
	if loud, calm := s.At(3, visiting), s.At(15, visiting); loud < 4*calm {
		t.Errorf("an hour ten times as loud has scale %v, another %v", loud, calm)
	}
}

func TestPackKeepsAFewThousandths(t *testing.T) {
	for _, v := range []float32{1e-30, 1e-6, 0.3, 1, 1.999, 7e8, math.MaxFloat32 / 2} {
		if got := unpack(pack(v)); math.Abs(got/float64(v)-1) > 0.0025 {
			t.Errorf("%v comes back as %v", v, got)
		}
	}
	for _, v := range []float32{0, -1, float32(math.NaN())} {
		if got := unpack(pack(v)); got != 0 {
			t.Errorf("%v comes back as %v", v, got)
		}
	}
	if got := unpack(pack(math.MaxFloat32)); math.IsInf(got, 0) {
		t.Error("the largest float32 comes back infinite")
	}
}

func TestScaleComesBackFromItsBytes(t *testing.T) {
	s := Scale{Mean: 1, Floor: 2, Hour: 3}
	s.Enter(4, 0)
	b := s.Append(nil)
	if len(b) != ScaleSize {
		t.Fatalf("%d bytes, want %d", len(b), ScaleSize)
	}
	var got Scale
	if !got.Parse(b) || got != s {
		t.Errorf("%+v comes back as %+v", s, got)
	}
	for _, bad := range []float32{-1, float32(math.NaN()), float32(math.Inf(1))} {
		c := append(AppendFloats(nil, bad), b[4:]...)
		if got.Parse(c) {
			t.Errorf("a mean of %v is taken", bad)
		}
	}
	c := bytes.Clone(b)
	c[12], c[13] = 0xff, 0xff
	if got.Parse(c) {
		t.Error("an hour that is not a number is taken")
	}
}
