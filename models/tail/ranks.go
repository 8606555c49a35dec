package tail

import (
	"encoding/binary"
	"math"
)

const (
	rankBins   = 256
	perFold    = 16  // bins in one factor of e
	lowestLn   = -10 // ln of the lower edge of the first bin
	rankYoung  = 20  // points before which there is no opinion
	rankTail   = 0.01
	tailPrior  = 0.15 // the shape of the tail before anything was seen of it
	priorCount = 3    // how many points that weighs
	ranksFull  = math.MaxUint16
)

// Ranks calibrates a size by how often one as large was seen, for sizes whose
// distribution has no shape to rely on. It counts the logarithm of each size in
// bins of 1/16. Below the largest hundredth
//
//	score = −log10 of the share of points at least as large
//
// and beyond it the tail is a Pareto one of the shape that it has (Hill, 1975):
// with u the edge of the largest hundredth, P(A ≥ u) its share and xi the mean of
// a − u over it
//
//	score = −log10 P(A ≥ u) + (a − u)/(xi ln 10)
//
// Within a bin sizes count as evenly spread: of what lies closer together than a
// sixteenth, ranks know nothing. Counts are halved when they reach 65535 in all, so that what was usual long ago
// weighs less.
type Ranks struct {
	seen uint16
	bins [rankBins]uint16
}

// RanksSize is the length of encoded Ranks in bytes.
const RanksSize = 2 * rankBins

// Score returns −log10 of the probability of a size at least as large, given the
// natural logarithm of the size. It is 0 while little was seen.
func (r *Ranks) Score(a float64) float64 {
	if r.seen < rankYoung {
		return 0
	}
	at, share := rankOf(a)
	above := 0.0
	for _, n := range r.bins[at+1:] {
		above += float64(n)
	}
	above += float64(r.bins[at]) * (1 - share)
	all := float64(r.seen) + 1
	p := (above + 0.5) / all
	if p >= rankTail {
		return -math.Log10(p)
	}
	return min(maxScore, r.tail(a, all))
}

// tail is the score beyond the largest hundredth.
func (r *Ranks) tail(a, all float64) float64 {
	want, got, k := rankTail*float64(r.seen), 0.0, rankBins-1
	for ; k > 0; k-- {
		if got += float64(r.bins[k]); got >= want {
			break
		}
	}
	edge := lowestLn + float64(k)/perFold
	sum := tailPrior * priorCount
	for j := k; j < rankBins; j++ {
		sum += float64(r.bins[j]) * ((float64(j-k) + 0.5) / perFold)
	}
	xi := sum / (got + priorCount)
	return -math.Log10(max(got, 0.5)/all) + max(0, a-edge)/(xi*math.Ln10)
}

// Learn takes the natural logarithm of a size in.
func (r *Ranks) Learn(a float64) {
	if r.seen == ranksFull {
		r.halve()
	}
	at, _ := rankOf(a)
	r.bins[at]++
	r.seen++
}

func (r *Ranks) halve() {
	r.seen = 0
	for i := range r.bins {
		r.bins[i] /= 2
		r.seen += r.bins[i]
	}
}

// rankOf is the bin of a logarithm and how far into it that lies.
func rankOf(a float64) (bin int, share float64) {
	at := (a - lowestLn) * perFold
	switch {
	case !(at > 0):
		return 0, 0
	case at >= rankBins:
		return rankBins - 1, 1
	}
	bin = int(at)
	return bin, at - float64(bin)
}

// Append appends the encoded ranks.
func (r *Ranks) Append(b []byte) []byte {
	for _, n := range r.bins {
		b = binary.LittleEndian.AppendUint16(b, n)
	}
	return b
}

// Parse replaces the ranks by those encoded in b, which is RanksSize long. It
// reports whether they are possible ranks.
func (r *Ranks) Parse(b []byte) bool {
	seen := 0
	for i := range r.bins {
		r.bins[i] = binary.LittleEndian.Uint16(b[2*i:])
		seen += int(r.bins[i])
	}
	r.seen = uint16(min(seen, ranksFull))
	return seen <= ranksFull
}
