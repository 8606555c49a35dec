package measure

import (
	"cmp"
	"math"
	"slices"
)

// The NAB score (Lavin and Ahmad, "Evaluating Real-time Anomaly Detection
// Algorithms: the Numenta Anomaly Benchmark", ICMLA 2015) rewards a detection by
// how early in an anomaly's window it comes, counts one detection a window, and
// charges each one outside of windows, less so just behind one. With y the
// position of a row relative to a window's end, in lengths of that window,
//
//	σ(y) = 2/(1 + e^(5y)) − 1, and −1 for y > 3
//
//	a window           A_TP σ(y)/σ(−1) of its earliest detected row, or −A_FN without one
//	a row outside      A_FP σ(y) from the end of the last window, −A_FP ahead of the first
//	raw                the sum of these over all windows and detected rows of all series
//	score              100 (raw − null)/(perfect − null)
//
// where null detects nothing, −A_FN a window, and perfect detects the first row
// of each window and nothing else, A_TP a window. A row is detected when its
// score is the threshold or more. The first rows of a series are its probation:
// nothing counts there.

const (
	probationShare = 0.15 // of a series' rows, from its start
	probationRows  = 750  // and at most so many
	farBehind      = 3    // window lengths behind a window from which a detection is plainly false
)

// Profile weighs what NAB counts.
type Profile struct {
	Name       string
	TP, FP, FN float64 // A_TP of a window found, A_FP of a row outside, A_FN of a window missed
}

// NABProfiles are the three that NAB reports.
var NABProfiles = [...]Profile{
	{Name: "standard", TP: 1, FP: 0.11, FN: 1},
	{Name: "reward_low_FP_rate", TP: 1, FP: 0.22, FN: 1},
	{Name: "reward_low_FN_rate", TP: 1, FP: 0.11, FN: 2},
}

// Rows is a stretch of rows of a series, both ends included.
type Rows struct{ First, Last int }

// NABSeries is one series as NAB sees it: a score a row, and the windows of its
// anomalies, in order and apart from each other.
type NABSeries struct {
	Score   []float64
	Windows []Rows
}

// Probation is the number of rows at the start of a series that do not count.
func Probation(rows int) int { return min(int(probationShare*float64(rows)), probationRows) }

// nabPoint is a row that counts.
type nabPoint struct {
	score  float64
	value  float64 // σ, over σ(−1) in a window; unweighted
	window int     // among all windows, −1 outside
}

// NAB scores one detector on a whole corpus, at any threshold and profile.
type NAB struct {
	rows    [][]nabPoint // by series, those after its probation, in order
	points  []nabPoint   // all of them, the highest score first
	windows int          // in which any row counts

	probation []int // rows, by series
}

// NewNAB takes the scores of all series of a corpus in.
func NewNAB(series []NABSeries) *NAB {
	n := &NAB{}
	for i := range series {
		n.rows = append(n.rows, n.rowsOf(&series[i]))
		n.probation = append(n.probation, Probation(len(series[i].Score)))
	}
	n.points = slices.Concat(n.rows...)
	slices.SortStableFunc(n.points, func(a, b nabPoint) int { return cmp.Compare(b.score, a.score) })
	return n
}

// rowsOf is the rows of one series that count; its windows become the corpus'.
func (n *NAB) rowsOf(s *NABSeries) []nabPoint {
	var rows []nabPoint
	next := 0 // the window that holds the row, or the next one
	window := -1
	for row := Probation(len(s.Score)); row < len(s.Score); row++ {
		for next < len(s.Windows) && s.Windows[next].Last < row {
			next, window = next+1, -1
		}
		p := nabPoint{score: s.Score[row], window: -1}
		if next < len(s.Windows) && s.Windows[next].First <= row {
			if window < 0 {
				window = n.windows
				n.windows++
			}
			w := s.Windows[next]
			p.window = window
			p.value = position(-float64(w.Last-row+1)/float64(w.Last-w.First+1)) / position(-1)
		} else if next == 0 {
			p.value = -1
		} else {
			w := s.Windows[next-1]
			p.value = position(float64(row-w.Last) / float64(max(1, w.Last-w.First)))
		}
		rows = append(rows, p)
	}
	return rows
}

// position is σ(y).
func position(y float64) float64 {
	if y > farBehind {
		return -1
	}
	return 2/(1+math.Exp(5*y)) - 1
}

// Best is the highest score that any one threshold gives, and the lowest score
// that it detects; the threshold is +Inf when detecting nothing is best. It was
// chosen with the labels in view: an oracle's figure, as NAB reports it.
func (n *NAB) Best(p Profile) (score, threshold float64) {
	best, threshold := math.Inf(-1), math.Inf(1)
	n.sweep(p, func(at, raw float64) bool {
		if raw > best {
			best, threshold = raw, at
		}
		return true
	})
	return n.normal(p, best), threshold
}

// At is the score at a threshold.
func (n *NAB) At(p Profile, threshold float64) float64 {
	var last float64
	n.sweep(p, func(at, raw float64) bool {
		if at >= threshold {
			last = raw
		}
		return at >= threshold
	})
	return n.normal(p, last)
}

// Of is the score of a detector that detects just the given rows of each series,
// whatever their scores.
func (n *NAB) Of(p Profile, detected [][]int) float64 {
	t := n.nothing(p)
	for i, rows := range detected {
		for _, row := range rows {
			if row >= n.probation[i] {
				t.detect(&n.rows[i][row-n.probation[i]])
			}
		}
	}
	return n.normal(p, t.raw)
}

// nabTally adds up a raw score.
type nabTally struct {
	p     Profile
	raw   float64
	found []float64 // what each window brought so far
}

// nothing is the tally of a detector that detects nothing.
func (n *NAB) nothing(p Profile) *nabTally {
	t := &nabTally{p: p, raw: -p.FN * float64(n.windows), found: make([]float64, n.windows)}
	for i := range t.found {
		t.found[i] = -p.FN
	}
	return t
}

func (t *nabTally) detect(x *nabPoint) {
	if x.window < 0 {
		t.raw += t.p.FP * x.value
		return
	}
	if worth := t.p.TP * x.value; worth > t.found[x.window] {
		t.raw += worth - t.found[x.window]
		t.found[x.window] = worth
	}
}

// sweep calls f with the raw score at each threshold that makes a difference,
// +Inf first, until f says false. Rows of one score are detected together.
func (n *NAB) sweep(p Profile, f func(threshold, raw float64) bool) {
	t := n.nothing(p)
	if !f(math.Inf(1), t.raw) {
		return
	}
	for i := range n.points {
		x := &n.points[i]
		t.detect(x)
		if i+1 < len(n.points) && n.points[i+1].score == x.score {
			continue
		}
		if !f(x.score, t.raw) {
			return
		}
	}
}

// normal brings a raw score to the scale on which detecting nothing is 0 and
// detecting perfectly 100. Without a window it is 0.
func (n *NAB) normal(p Profile, raw float64) float64 {
	if n.windows == 0 {
		return 0
	}
	null, perfect := -p.FN*float64(n.windows), p.TP*float64(n.windows)
	return 100 * (raw - null) / (perfect - null)
}
