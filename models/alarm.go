package models

// QuietPoints is how many points in a row must be under the closing threshold
// before an alarm ends.
const QuietPoints = 5

// Alarm says whether a measurement is in an anomaly. It opens at a score of
// open or more and ends after five points in a row under close: by state and
// not by a clock. A clock re-opens on every point of a long anomaly, or sleeps
// through the next one.
type Alarm struct {
	Open  bool
	Quiet uint8 // points in a row under close while open
}

// Change is what a score did to an alarm.
type Change uint8

// The changes of an alarm.
const (
	Same Change = iota
	Opened
	Ended
)

// Step takes the next score in.
func (a *Alarm) Step(s, open, close Score) Change {
	if !a.Open {
		if s < open {
			return Same
		}
		*a = Alarm{Open: true}
		return Opened
	}
	if s >= close {
		a.Quiet = 0
		return Same
	}
	if a.Quiet++; a.Quiet < QuietPoints {
		return Same
	}
	*a = Alarm{}
	return Ended
}
