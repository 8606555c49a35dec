package measure

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// plainVUSPR is the definition, word by word and slowly: each buffer, each
// threshold, each point.
func plainVUSPR(labelled []bool, score []float64) float64 {
	n := len(score)
	sorted := slices.Clone(score)
	slices.Sort(sorted)
	slices.Reverse(sorted)
	volume := 0.0
	for _, buffer := range []int{0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100} {
		soft := plainExtended(labelled, buffer)
		p, total := 0.0, 0.0
		for i := range n {
			total += soft[i]
			if labelled[i] {
				p++
			}
		}
		area, last := 0.0, 0.0
		for k := range 250 {
			threshold := sorted[k*(n-1)/249]
			tp, count := 0.0, 0.0
			stretches, reached := 0.0, 0.0
			inside, hit := false, false
			for i := range n {
				above := score[i] >= threshold
				if above {
					tp += soft[i]
					count++
				}
				if soft[i] > 0 && !inside {
					stretches++
					hit = false
				}
				inside = soft[i] > 0
				if inside && above && !hit {
					hit = true
					reached++
				}
			}
			recall := min(1, tp/((p+total)/2)) * reached / stretches
			precision := tp / count
			area += (recall - last) * precision
			last = recall
		}
		volume += area
	}
	return volume / 11
}

func plainExtended(labelled []bool, buffer int) []float64 {
	n := len(labelled)
	soft := make([]float64, n)
	for s := 0; s < n; s++ {
		if !labelled[s] {
			continue
		}
		e := s
		for e+1 < n && labelled[e+1] {
			e++
		}
		for i := range n {
			d := max(s-i, i-e)
			switch {
			case d <= 0:
				soft[i]++
			case float64(d) <= float64(buffer)/2:
				soft[i] += math.Sqrt(1 - float64(d)/float64(buffer))
			}
		}
		s = e
	}
	for i := range soft {
		soft[i] = min(1, soft[i])
	}
	return soft
}

func TestVUSAgreesWithItsDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 60 {
		n := 1 + rng.IntN(900)
		labelled, score := make([]bool, n), make([]float64, n)
		for i := range score {
			score[i] = math.Round(10*rng.ExpFloat64()) / 10 // ties, many of them
		}
		for range 1 + rng.IntN(6) {
			at := rng.IntN(n)
			for i := at; i < min(n, at+1+rng.IntN(40)); i++ {
				labelled[i] = true
				score[i] += 2 * rng.Float64()
			}
		}
		if rng.IntN(2) == 0 {
			score = Held(score)
		}
		got, ok := VUSPR(labelled, score)
		if !ok {
			t.Fatal("a labelled series without a VUS-PR")
		}
		near(t, "VUS-PR", got, plainVUSPR(labelled, score))
	}
}

func TestExtendedLabels(t *testing.T) {
	labelled := []bool{false, false, true, false, false, false, false, false, true, true, false, false, false, false, false, false, false}
	got := make([]float64, len(labelled))
	extend(got, labelled, 10)
	r := func(d float64) float64 { return math.Sqrt(1 - d/10) }
	// Between the two stretches both buffers add up, to no more than 1.
	want := []float64{r(2), r(1), 1, 1, 1, 1, 1, 1, 1, 1, r(1), r(2), r(3), r(4), r(5), 0, 0}
	for i := range want {
		near(t, "label", got[i], want[i])
	}
	extend(got, labelled, 0)
	for i, on := range labelled {
		if (got[i] == 1) != on || got[i] != 0 && got[i] != 1 {
			t.Errorf("without a buffer, point %d counts %v", i, got[i])
		}
	}
}

func TestVUSByHand(t *testing.T) {
	// 250 points, so that each rank is a threshold; one labelled point.
	one := func(at int) []bool {
		l := make([]bool, 250)
		l[at] = true
		return l
	}
	falling := make([]float64, 250)
	for i := range falling {
		falling[i] = float64(250 - i)
	}
	soft := make([]float64, 250)
	area := func(labelled []bool, score []float64, buffer int) float64 {
		extend(soft, labelled, buffer)
		ranks := byScore(score)
		return areaPR(labelled, soft, score, ranks, cutsOf(ranks))
	}
	near(t, "the highest score is the labelled one", area(one(0), falling, 0), 1)
	// Precision is 0 at the first threshold and 1/2 at the second, where recall
	// goes from 0 to 1.
	near(t, "the second highest", area(one(1), falling, 0), 0.5)
	near(t, "the lowest", area(one(249), falling, 0), 1.0/250)
	// All points of one score are above the one threshold there is.
	near(t, "all of one score", area(one(9), make([]float64, 250), 0), 1.0/250)
	// A labelled point with one neighbour of sqrt(1 − 1/2) on its right: the
	// hits are worth 1 and then that, recall is capped at 1.
	w := math.Sqrt(0.5)
	whole := (1 + 1 + w) / 2
	near(t, "a buffer", area(one(0), falling, 2), 1/whole+(1-1/whole)*(1+w)/2)

	// Two labelled stretches, of which the score knows one: the existence
	// reward halves recall until the last point brings it from 1/4 to 1.
	two := one(0)
	two[249] = true
	near(t, "one of two", area(two, falling, 0), 0.25+0.75*2/250)
}

func TestVUSEnds(t *testing.T) {
	if _, ok := VUSPR(make([]bool, 10), make([]float64, 10)); ok {
		t.Error("a series without labels has a VUS-PR")
	}
	if _, ok := VUSPR(nil, nil); ok {
		t.Error("an empty series has a VUS-PR")
	}
	if got, ok := VUSPR([]bool{true}, []float64{3}); !ok || got != 1 {
		t.Errorf("one labelled point: %v, %v", got, ok)
	}
}

func TestHeldScoreHalvesIn32Points(t *testing.T) {
	score := make([]float64, 100)
	score[10], score[50] = 8, 1
	held := Held(score)
	for at, want := range map[int]float64{9: 0, 10: 8, 42: 4, 74: 2} {
		near(t, "held", held[at], want)
	}
	for i := range score {
		if held[i] < score[i] {
			t.Errorf("point %d is held at %v, under its score %v", i, held[i], score[i])
		}
	}
}

func BenchmarkVUS(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	const n = 300_000
	labelled, score := make([]bool, n), make([]float64, n)
	for i := range score {
		score[i] = rng.ExpFloat64()
		labelled[i] = i%1500 < 40
	}
	for b.Loop() {
		VUSPR(labelled, score)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/point")
}
