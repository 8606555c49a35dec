package measure

import (
	"math"
	"math/rand/v2"
	"testing"
)

var standard = NABProfiles[0]

// nabSeries has 100 rows, of which the first 15 are probation, and one window
// of ten, 50 to 59. Rows named score 1, the others 0.
func nabSeries(detected ...int) NABSeries {
	s := NABSeries{Score: make([]float64, 100), Windows: []Rows{{50, 59}}}
	for _, row := range detected {
		s.Score[row] = 1
	}
	return s
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9 {
		t.Errorf("%s: %.12f, want %.12f", what, got, want)
	}
}

func TestNABByHand(t *testing.T) {
	// tanh(5y/2) is 1 − 2/(1 + e^(5y)), NAB's sigmoid upside down.
	sigma := func(y float64) float64 { return -math.Tanh(5 * y / 2) }
	first := sigma(-1)
	for _, c := range []struct {
		name     string
		detected []int
		raw      float64 // in the standard profile
	}{
		{"nothing", nil, -1},
		{"the first row of the window", []int{50}, 1},
		{"its last row", []int{59}, sigma(-0.1) / first},
		{"the earliest one counts", []int{53, 57, 59}, sigma(-0.7) / first},
		{"only in the probation", []int{0, 14}, -1},
		{"the first row after the probation", []int{15}, -1 - 0.11},
		{"just behind the window", []int{60}, -1 + 0.11*sigma(1.0/9)},
		{"three lengths behind", []int{86}, -1 + 0.11*sigma(3)},
		{"farther behind", []int{87}, -1 - 0.11},
		{"every row outside is charged", []int{20, 21, 55}, sigma(-0.5)/first - 0.22},
	} {
		n := NewNAB([]NABSeries{nabSeries(c.detected...)})
		near(t, c.name, n.At(standard, 0.5), 100*(c.raw+1)/2)
		near(t, c.name+", as rows", n.Of(standard, [][]int{c.detected}), 100*(c.raw+1)/2)
	}
}

func TestNABProfilesWeigh(t *testing.T) {
	// Two windows, one found at its first row, and one false row before both.
	s := nabSeries(20, 50)
	s.Windows = append(s.Windows, Rows{80, 89})
	n := NewNAB([]NABSeries{s})
	const found = 1.0
	for i, want := range []float64{
		100 * (found - (1 + 0.11) + 2) / 4,
		100 * (found - (1 + 0.22) + 2) / 4,
		100 * (found - (2 + 0.11) + 4) / 6,
	} {
		near(t, NABProfiles[i].Name, n.At(NABProfiles[i], 1), want)
	}
}

func TestNABEnds(t *testing.T) {
	perfect := NewNAB([]NABSeries{nabSeries(50), nabSeries(50)})
	null := NewNAB([]NABSeries{nabSeries(), {Score: make([]float64, 100)}})
	for _, p := range NABProfiles {
		near(t, p.Name+", perfect", perfect.At(p, 1), 100)
		near(t, p.Name+", null", null.At(p, 1), 0)
		got, threshold := perfect.Best(p)
		near(t, p.Name+", perfect, its best", got, 100)
		near(t, p.Name+", its threshold", threshold, 1)
	}
	if got, at := NewNAB([]NABSeries{nabSeries(20)}).Best(standard); got != 0 || !math.IsInf(at, 1) {
		t.Errorf("a detector that is only wrong has %v at %v, want 0 by detecting nothing", got, at)
	}
	if got := NewNAB([]NABSeries{{Score: []float64{1, 1, 1}}}).At(standard, 0); got != 0 {
		t.Errorf("%v on a corpus without a window", got)
	}
}

// Ties decide: a threshold takes every row of its score, or none.
func TestNABTiesAreDetectedTogether(t *testing.T) {
	s := nabSeries(50)
	for row := 15; row < 50; row++ {
		s.Score[row] = 1
	}
	got, _ := NewNAB([]NABSeries{s}).Best(standard)
	near(t, "tied with 35 false rows", got, 0)
	s.Score[50] = math.Nextafter(1, 2)
	got, _ = NewNAB([]NABSeries{s}).Best(standard)
	near(t, "one bit above them", got, 100)
}

func TestNABEarlierIsBetter(t *testing.T) {
	last := math.Inf(1)
	for row := 50; row < 90; row++ {
		got := NewNAB([]NABSeries{nabSeries(row)}).At(standard, 1)
		if got > last {
			t.Errorf("detecting row %d gives %v, and the row before it %v", row, got, last)
		}
		last = got
	}
}

func TestProbation(t *testing.T) {
	for rows, want := range map[int]int{0: 0, 6: 0, 7: 1, 4032: 604, 4999: 749, 5000: 750, 22695: 750} {
		if got := Probation(rows); got != want {
			t.Errorf("%d of %d rows, want %d", got, rows, want)
		}
	}
}

// Best is the best of all thresholds, and At what NAB's own way of counting
// says: row by row, at one threshold.
func TestNABAgreesWithCountingRowByRow(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 200 {
		series := make([]NABSeries, 1+rng.IntN(3))
		for i := range series {
			s := &series[i]
			s.Score = make([]float64, 60+rng.IntN(200))
			for row := range s.Score {
				s.Score[row] = float64(rng.IntN(8))
			}
			for at := rng.IntN(60); at < len(s.Score); at += rng.IntN(60) {
				last := min(len(s.Score)-1, at+1+rng.IntN(30))
				s.Windows = append(s.Windows, Rows{at, last})
				at = last + 1
			}
		}
		n := NewNAB(series)
		for _, p := range NABProfiles {
			best := 0.0
			for threshold := range 9 {
				want := countRows(series, p, float64(threshold))
				near(t, "at a threshold", n.At(p, float64(threshold)), want)
				best = max(best, want)
			}
			got, _ := n.Best(p)
			near(t, "best", got, best)
		}
	}
}

func countRows(series []NABSeries, p Profile, threshold float64) float64 {
	raw, windows := 0.0, 0.0
	for _, s := range series {
		probation := Probation(len(s.Score))
		for _, w := range s.Windows {
			if w.Last < probation {
				continue
			}
			windows++
			worth := -p.FN
			for row := max(w.First, probation); row <= w.Last; row++ {
				if s.Score[row] >= threshold {
					y := float64(w.Last-row+1) / float64(w.Last-w.First+1)
					worth = p.TP * math.Tanh(2.5*y) / math.Tanh(2.5)
					break
				}
			}
			raw += worth
		}
		for row := probation; row < len(s.Score); row++ {
			if s.Score[row] < threshold {
				continue
			}
			worth, inside := -1.0, false
			for _, w := range s.Windows {
				inside = inside || w.First <= row && row <= w.Last
				if w.Last < row {
					worth = -1
					if y := float64(row-w.Last) / float64(w.Last-w.First); y <= 3 {
						worth = -math.Tanh(2.5 * y)
					}
				}
			}
			if !inside {
				raw += p.FP * worth
			}
		}
	}
	if windows == 0 {
		return 0
	}
	return 100 * (raw + p.FN*windows) / ((p.TP + p.FN) * windows)
}
