// Package trend holds models of where a series is heading: the line through its
// last points, which tells the next one, and the slow channel, which tells a
// leak.
package trend

import (
	"github.com/homeostat/homeostat/models/ewma"
)

// LinePoints is the number of points that a Line is fitted to.
const LinePoints = 8

const steps = LinePoints - 1

// ahead holds, for each step from oldest to newest, how much of it the
// least-squares line through the last eight points, extrapolated by one step,
// takes back from the last value. With x_i = 0…7, the line's value at 8 is
// Σ w_i y_i with w_i = 1/8 + (8 − 3.5)(x_i − 3.5)/42; in terms of the steps
// d_i = y_i − y_(i−1) it is y_7 − Σ d_i Σ_(j<i) w_j.
var ahead = func() (a [steps]float64) {
	sum := 0.0
	for i := range a {
		sum += 1.0/LinePoints + (LinePoints-3.5)*(float64(i)-3.5)/42
		a[i] = sum
	}
	return a
}()

// Line extrapolates the least-squares line through the last eight points by one
// step. It keeps differences, not values: a float32 holds a difference well
// even where the mean is 1e8 times the deviation, and fits in half the bytes.
type Line struct {
	step [steps]float32
	next uint8 // where the next step goes, which is also the oldest
}

// LineSize is the length of an encoded Line in bytes.
const LineSize = 4*steps + 1

// Ahead returns how far from the last value the line is one step on.
func (l *Line) Ahead() float64 {
	sum, at := 0.0, int(l.next)
	for i := range steps {
		sum += float64(ahead[i] * float64(l.step[at]))
		if at++; at == steps {
			at = 0
		}
	}
	return -sum
}

// Learn takes the next difference in.
func (l *Line) Learn(step float64) {
	l.step[l.next] = float32(step)
	if l.next++; l.next == steps {
		l.next = 0
	}
}

// Reset forgets the past, as after a gap.
func (l *Line) Reset() { *l = Line{} }

// Append appends the encoded line.
func (l *Line) Append(b []byte) []byte {
	return append(ewma.AppendFloats(b, l.step[:]...), l.next)
}

// Parse replaces the line by the one encoded in b, which is LineSize long. It
// reports whether all of it is a possible line.
func (l *Line) Parse(b []byte) bool {
	var vs [steps]*float32
	for i := range vs {
		vs[i] = &l.step[i]
	}
	l.next = b[4*steps]
	return ewma.ParseFloats(b, vs[:]...) && l.next < steps
}
