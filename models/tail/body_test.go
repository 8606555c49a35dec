package tail

import (
	"math"
	"math/rand/v2"
	"testing"
)

func learnt(n int, next func(r *rand.Rand) float64) Body {
	r := rand.New(rand.NewPCG(1, 1))
	b := New()
	for range n {
		b.Learn(next(r))
	}
	return b
}

func TestBodyOfAnExponentialTail(t *testing.T) {
	// a exponential with mean 0.4 above 0.5: P(a > x) is known everywhere.
	b := learnt(200_000, func(r *rand.Rand) float64 { return 0.5 + 0.4*r.ExpFloat64() })
	for _, p := range []float64{1, 2, 4} {
		a := 0.5 + 0.4*p*math.Ln10
		if got := b.Score(a); math.Abs(got-p) > 0.15*p {
			t.Errorf("one in 10^%v scores %v", p, got)
		}
	}
	if got := b.Score(0.5 + 0.4*math.Ln2); math.Abs(got-math.Log10(2)) > 0.05 {
		t.Errorf("the median scores %v", got)
	}
}

// TestFrequentAnomaliesAreNotLearnt is why the body calibrates: with one point
// in a hundred anomalous, a tail would call that the tail.
func TestFrequentAnomaliesAreNotLearnt(t *testing.T) {
	b := learnt(200_000, func(r *rand.Rand) float64 {
		if r.Float64() < 0.01 {
			return 3
		}
		return math.Log(math.Abs(r.NormFloat64()) + 1e-3)
	})
	if got := b.Score(3); got < 3 {
		t.Errorf("an anomaly that one point in a hundred has scores %v", got)
	}
}

func TestScoreRisesAndIsBounded(t *testing.T) {
	b := learnt(5000, func(r *rand.Rand) float64 { return math.Log(math.Abs(r.NormFloat64()) + 1e-3) })
	last := 0.0
	for a := -10.0; a < 100; a += 0.01 {
		s := b.Score(a)
		if s < last || s > maxScore {
			t.Fatalf("at %v the score is %v after %v", a, s, last)
		}
		last = s
	}
	if last != maxScore {
		t.Errorf("the largest score is %v, want %v", last, maxScore)
	}
}

func TestNarrowBodySaysNothingOfTheTail(t *testing.T) {
	b := learnt(50_000, func(r *rand.Rand) float64 { return -4.6 })
	if b.Upper < upperFloor {
		t.Errorf("the 90 %% quantile of a series that is always zero fell to %v", b.Upper)
	}
}

func TestBodyComesBackFromItsBytes(t *testing.T) {
	b := learnt(3000, func(r *rand.Rand) float64 { return r.NormFloat64() })
	p := b.Append(nil)
	var got Body
	if len(p) != BodySize || !got.Parse(p) || got != b {
		t.Errorf("%+v comes back as %+v from %d bytes", b, got, len(p))
	}
	for name, bad := range map[string]Body{
		"shape":       {Upper: 1, Shape: 0.01},
		"order":       {Upper: 1, Median: 2, Shape: 1},
		"exceedances": {Upper: 1, Shape: 1, exceeds: shapeMemory + 1},
		"not finite":  {Upper: 1, Shape: float32(math.Inf(1))},
	} {
		if got.Parse(bad.Append(nil)) {
			t.Errorf("%s: %+v is taken", name, bad)
		}
	}
}

func TestLnRisesAndIsClose(t *testing.T) {
	last := math.Inf(-1)
	for x := 1e-3; x < 1e12; x *= 1.0007 {
		got := Ln(x)
		if math.Abs(got-math.Log(x)) > 1e-7 {
			t.Fatalf("Ln(%v) = %v, want %v", x, got, math.Log(x))
		}
		if got <= last {
			t.Fatalf("Ln(%v) = %v does not rise above %v", x, got, last)
		}
		last = got
	}
	if got := Ln(1e300); math.Abs(got-math.Log(1e300)) > 1e-6 {
		t.Errorf("Ln(1e300) = %v", got)
	}
	if math.Abs(Ln(1)) > 1e-7 {
		t.Errorf("Ln(1) = %v", Ln(1))
	}
}
