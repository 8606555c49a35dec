package tail

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Whatever the distribution, a score of s is exceeded by about one size in 10^s:
// that needs no shape, as long as it is wider than a bin.
func TestRanksAreCalibratedOnAnyShape(t *testing.T) {
	for name, draw := range map[string]func(*rand.Rand) float64{
		"exponential":  func(r *rand.Rand) float64 { return r.ExpFloat64() },
		"Pareto":       func(r *rand.Rand) float64 { return math.Pow(r.Float64(), -0.5) },
		"two clusters": func(r *rand.Rand) float64 { return 1 + 5*float64(r.IntN(2)) + r.Float64() },
	} {
		r := rand.New(rand.NewPCG(3, 3))
		var ranks Ranks
		const n = 200_000
		above := map[float64]int{1: 0, 2: 0, 3: 0}
		for range n {
			a := math.Log(draw(r))
			s := ranks.Score(a)
			for level := range above {
				if s >= level {
					above[level]++
				}
			}
			ranks.Learn(a)
		}
		for level, count := range above {
			got := -math.Log10(float64(count) / n)
			if got < level-0.2 {
				t.Errorf("%s: a score of %v is exceeded by 10^-%.2f of all", name, level, got)
			}
		}
	}
}

func TestRanksGoOnBeyondTheLargestSeen(t *testing.T) {
	var ranks Ranks
	if got := ranks.Score(5); got != 0 {
		t.Errorf("of nothing seen the score is %v", got)
	}
	r := rand.New(rand.NewPCG(4, 4))
	for range 3000 {
		ranks.Learn(math.Log(r.ExpFloat64()))
	}
	last := 0.0
	for a := -8.0; a < 5; a += 0.01 {
		got := ranks.Score(a)
		if got < last-0.02 {
			t.Fatalf("the score falls from %v to %v at %v", last, got, a)
		}
		last = got
	}
	if last < 6 || last > maxScore {
		t.Errorf("150 times the mean scores %v", last)
	}
}

func TestRanksForgetByHalving(t *testing.T) {
	var ranks Ranks
	for range 4 * ranksFull {
		ranks.Learn(0)
	}
	if ranks.seen < ranksFull/2 {
		t.Errorf("%d seen after four times as many as are counted", ranks.seen)
	}
	for range 4 * ranksFull {
		ranks.Learn(2)
	}
	if got := ranks.Score(2); got > 0.2 {
		t.Errorf("what came last, 260,000 times in a row, scores %v", got)
	}
}

func TestRanksOfARecord(t *testing.T) {
	var a, b Ranks
	for i := range 5000 {
		a.Learn(float64(i%97)/7 - 8)
	}
	record := a.Append(nil)
	if len(record) != RanksSize || !b.Parse(record) || a != b {
		t.Fatalf("a record of %d bytes, want %d, is not the ranks again", len(record), RanksSize)
	}
	for i := range record {
		record[i] = 0xff
	}
	if b.Parse(record) {
		t.Error("ranks of more than can be seen were read")
	}
}
