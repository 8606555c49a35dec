package measure

import (
	"cmp"
	"math"
	"slices"
)

// VUS-PR is the volume under the surface of precision and recall (Paparrizos et
// al., "Volume Under the Surface: A New Accuracy Evaluation Measure for
// Time-Series Anomaly Detection", VLDB 2022), at the buffers and thresholds
// below. For a buffer L, a point at distance d ≤ L/2 from a labelled stretch
// counts sqrt(1 − d/L) as anomalous, sums being cut at 1. With l the labels so
// extended, P the number of labelled points and N(θ) that of points whose score
// is θ or more,
//
//	TP(θ)        = Σ l over the points whose score is θ or more
//	precision(θ) = TP/N
//	recall(θ)    = min(1, TP/((P + Σ l)/2)) · E(θ)
//
// where the existence reward E is the share of stretches with l > 0 that hold a
// point whose score is θ or more. With θ_1 > θ_2 > … the scores at 250 evenly
// spaced ranks, the highest first, the area of a buffer is
//
//	Σ (recall(θ_k) − recall(θ_(k−1))) precision(θ_k),   recall(θ_0) = 0
//
// and the volume is its mean over the buffers. The paper takes trapezoids for
// the area; the step is what its authors' later tool takes, and the lower of the
// two, by 0.02 on one set of real series and 0.07 on another.

const (
	vusThresholds = 250
	vusBuffers    = 11 // 0, 10 … 100
	vusBufferStep = 10
	holdHalfLife  = 32 // points in which a held score halves
)

// Held is the score held for ranking: Z_t = max(S_t, 2^(−1/32) Z_(t−1)). An
// anomaly that a detector says at its start is labelled to its end.
func Held(score []float64) []float64 {
	keep := math.Exp2(-1.0 / holdHalfLife)
	held := make([]float64, len(score))
	z := 0.0
	for i, s := range score {
		z = max(s, keep*z)
		held[i] = z
	}
	return held
}

// VUSPR is the VUS-PR of one series. It reports false for a series in which no
// point is labelled: it has none then.
func VUSPR(labelled []bool, score []float64) (float64, bool) {
	if !slices.Contains(labelled, true) {
		return 0, false
	}
	ranks := byScore(score)
	cuts := cutsOf(ranks)
	soft := make([]float64, len(labelled))
	sum := 0.0
	for i := range vusBuffers {
		extend(soft, labelled, vusBufferStep*i)
		sum += areaPR(labelled, soft, score, ranks, cuts)
	}
	return sum / vusBuffers, true
}

// ranked is a point and its score.
type ranked struct {
	score float64
	at    int
}

// byScore sorts the points of a series, the highest score first.
func byScore(score []float64) []ranked {
	r := make([]ranked, len(score))
	for i, s := range score {
		r[i] = ranked{s, i}
	}
	slices.SortFunc(r, func(a, b ranked) int {
		if c := cmp.Compare(b.score, a.score); c != 0 {
			return c
		}
		return a.at - b.at
	})
	return r
}

// cutsOf is N of each threshold: points of one score are on one side.
func cutsOf(r []ranked) []int {
	cuts := make([]int, vusThresholds)
	n := 0
	for k := range cuts {
		at := k * (len(r) - 1) / (vusThresholds - 1)
		for n = max(n, at+1); n < len(r) && r[n].score == r[at].score; n++ {
		}
		cuts[k] = n
	}
	return cuts
}

// extend fills soft with the labels extended by a buffer.
func extend(soft []float64, labelled []bool, buffer int) {
	for i, on := range labelled {
		soft[i] = 0
		if on {
			soft[i] = 1
		}
	}
	add := func(i, d int) {
		if i >= 0 && i < len(soft) {
			soft[i] = min(1, soft[i]+math.Sqrt(1-float64(d)/float64(buffer)))
		}
	}
	for i, on := range labelled {
		if !on {
			continue
		}
		starts, ends := i == 0 || !labelled[i-1], i+1 == len(labelled) || !labelled[i+1]
		for d := 1; d <= buffer/2; d++ {
			if starts {
				add(i-d, d)
			}
			if ends {
				add(i+d, d)
			}
		}
	}
}

// areaPR is the area under precision and recall of one buffer.
func areaPR(labelled []bool, soft, score []float64, ranks []ranked, cuts []int) float64 {
	hard, total := 0.0, 0.0
	for i, l := range soft {
		total += l
		if labelled[i] {
			hard++
		}
	}
	tops := topsOf(soft, score)
	area, tp, seen, reached := 0.0, 0.0, 0, 0
	last := 0.0
	for _, n := range cuts {
		for ; seen < n; seen++ {
			tp += soft[ranks[seen].at]
		}
		for threshold := ranks[n-1].score; reached < len(tops) && tops[reached] >= threshold; reached++ {
		}
		precision := tp / float64(n)
		recall := min(1, tp/((hard+total)/2)) * float64(reached) / float64(len(tops))
		area += (recall - last) * precision
		last = recall
	}
	return area
}

// topsOf is the highest score of each stretch of extended labels, the highest
// first.
func topsOf(soft, score []float64) []float64 {
	var tops []float64
	for i, l := range soft {
		switch {
		case l == 0:
		case i == 0 || soft[i-1] == 0:
			tops = append(tops, score[i])
		default:
			tops[len(tops)-1] = max(tops[len(tops)-1], score[i])
		}
	}
	slices.SortFunc(tops, func(a, b float64) int { return cmp.Compare(b, a) })
	return tops
}
