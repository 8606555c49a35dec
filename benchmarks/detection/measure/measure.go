// Package measure says how good a detector is on labelled series: how many
// events it found, how many alarms were false, and how late it was (Events); how
// well its scores rank (VUSPR); and the NAB score (NAB). Nothing is
// point-adjusted.
//
// The unit of Events is the event, never the point.
// Labelled points closer than ten sampling steps are one window. An alert is an
// event with a start and an end. It hits a window when it starts inside it, or
// a little before it (5 % of the window's length, at least three steps), so an
// alert that never ends earns nothing. Further alerts that start in the same
// window are repeats, neither true nor false. Every other alert is false. The
// first 15 % of a series, at most seven days, is for learning: neither alerts
// nor windows count there.
package measure

import "slices"

const (
	joinSteps     = 10   // labelled points closer than this are one window
	leadFraction  = 0.05 // of a window's length, how early an alert may be
	leadSteps     = 3    // and at least this many steps
	learnFraction = 0.15 // of a series, from its start, in which nothing counts
	dayMillis     = 24 * 60 * 60 * 1000
	weekMillis    = 7 * dayMillis
)

// Window is a stretch of labelled points, both ends included, in milliseconds.
type Window struct{ Start, End int64 }

// Alert is one episode that a detector raised, in milliseconds.
type Alert struct{ Start, End int64 }

// Step returns the sampling step of a series in milliseconds: the median
// distance of neighbours. It is 0 for fewer than two points.
func Step(at []int64) int64 {
	if len(at) < 2 {
		return 0
	}
	steps := make([]int64, 0, len(at)-1)
	for i := 1; i < len(at); i++ {
		steps = append(steps, at[i]-at[i-1])
	}
	slices.Sort(steps)
	return steps[len(steps)/2]
}

// Windows joins labelled points that are closer than ten steps.
func Windows(at []int64, labelled []bool, step int64) []Window {
	var ws []Window
	for i, on := range labelled {
		if !on {
			continue
		}
		if n := len(ws); n > 0 && at[i]-ws[n-1].End < joinSteps*step {
			ws[n-1].End = at[i]
			continue
		}
		ws = append(ws, Window{at[i], at[i]})
	}
	return ws
}

// LearnedBy returns the time at which a series' learning stretch ends: what
// starts before it does not count.
func LearnedBy(at []int64) int64 {
	if len(at) == 0 {
		return 0
	}
	first := at[0]
	return first + min(at[int(learnFraction*float64(len(at)))]-first, weekMillis)
}

// Tally counts events of one or more series.
type Tally struct {
	Series  int
	Windows int     // labelled windows that count
	Hits    int     // windows in which at least one alert started
	False   int     // alerts that hit nothing
	Repeats int     // further alerts in a window that was hit already
	Weeks   float64 // series-weeks in which alerts counted
	Delays  []int64 // ms from a window's start to its first alert, at least 0, one a hit
}

// Events holds the alerts of one series, sorted by start, against its labels.
func Events(at []int64, labelled []bool, alerts []Alert) Tally {
	t := Tally{Series: 1}
	if len(at) == 0 {
		return t
	}
	step, from := Step(at), LearnedBy(at)
	t.Weeks = float64(at[len(at)-1]-from) / weekMillis
	all := Windows(at, labelled, step)
	hit := make([]bool, len(all))
	for _, w := range all {
		if w.Start >= from {
			t.Windows++
		}
	}
	for _, a := range alerts {
		if a.Start < from {
			continue
		}
		i := windowOf(all, a.Start, step)
		switch {
		case i < 0:
			t.False++
		case all[i].Start < from:
			// The window belongs to the learning stretch, and so does the alert.
		case hit[i]:
			t.Repeats++
		default:
			hit[i] = true
			t.Hits++
			t.Delays = append(t.Delays, max(0, a.Start-all[i].Start))
		}
	}
	return t
}

// windowOf returns the window that an alert starting at the given time hits, or
// −1. Being inside a window goes before being a little ahead of the next one.
func windowOf(ws []Window, start, step int64) int {
	i, _ := slices.BinarySearchFunc(ws, start, func(w Window, at int64) int {
		if w.End < at {
			return -1
		}
		return 1
	})
	if i == len(ws) {
		return -1
	}
	w := ws[i]
	lead := max(int64(leadFraction*float64(w.End-w.Start)), leadSteps*step)
	if start < w.Start-lead {
		return -1
	}
	return i
}

// Add takes the counts of o in.
func (t *Tally) Add(o Tally) {
	t.Series += o.Series
	t.Windows += o.Windows
	t.Hits += o.Hits
	t.False += o.False
	t.Repeats += o.Repeats
	t.Weeks += o.Weeks
	t.Delays = append(t.Delays, o.Delays...)
}

// Precision is the share of counted alerts that hit, 0 when there is none.
func (t Tally) Precision() float64 { return share(t.Hits, t.Hits+t.False) }

// Recall is the share of windows that were hit, 0 when there is none.
func (t Tally) Recall() float64 { return share(t.Hits, t.Windows) }

// F1 is the harmonic mean of precision and recall.
func (t Tally) F1() float64 { return share(2*t.Hits, t.Hits+t.False+t.Windows) }

// FalsePerWeek is the number of false alarms in a week of one series.
func (t Tally) FalsePerWeek() float64 {
	if t.Weeks <= 0 {
		return 0
	}
	return float64(t.False) / t.Weeks
}

// MedianDelay is the median of Delays in milliseconds, 0 when there is none.
func (t Tally) MedianDelay() int64 {
	if len(t.Delays) == 0 {
		return 0
	}
	d := slices.Clone(t.Delays)
	slices.Sort(d)
	return d[len(d)/2]
}

func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
