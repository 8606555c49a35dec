package scorecard

import (
	"slices"
	"time"
)

// Aftermath is how long after a fault's end alarms count as its echo.
const Aftermath = 30 * time.Minute

// Recovery is how long after the recording machine stood still alarms count as
// caused by that.
const Recovery = 10 * time.Minute

// Alarm is one alert that a person would be told of.
type Alarm struct {
	// At is when it could be told, not when its cause began.
	At time.Time
	// Workload is what it names, empty when it names none.
	Workload string
	// Text is what a person reads.
	Text string
}

// Verdict is what an alarm turned out to be.
type Verdict int

// The verdicts.
const (
	Learning Verdict = iota // it came in the learning stretch
	Found                   // the first of a fault
	Repeat                  // a further one of it, or its echo
	Stalled                 // the recording machine stood still
	False
)

// Judged is one alarm beside its verdict.
type Judged struct {
	Alarm
	Verdict Verdict
	Fault   int // index into Truth.Faults, −1 for none
}

// Line is one fault of a card.
type Line struct {
	Fault
	Found bool
	Delay time.Duration // from the fault's start to the first alarm
	// Named says that an alarm that started while the fault lasted names the
	// culprit workload.
	Named bool
}

// Card is the score card of one recording.
type Card struct {
	Name   string
	Lines  []Line
	Alarms []Judged // in order of time
	False  int
	Scored time.Duration // how long alarms counted
}

// Judge holds alarms against the truth. The alarms may come in any order.
func Judge(t *Truth, alarms []Alarm) Card {
	c := Card{Name: t.Name, Scored: t.End.Sub(t.ScoredFrom)}
	for _, f := range t.Faults {
		c.Lines = append(c.Lines, Line{Fault: f})
	}
	sorted := slices.Clone(alarms)
	slices.SortStableFunc(sorted, func(a, b Alarm) int { return a.At.Compare(b.At) })
	step := time.Duration(t.ScrapeSeconds * float64(time.Second))
	for _, a := range sorted {
		j := Judged{Alarm: a, Verdict: False, Fault: -1}
		if a.At.Before(t.ScoredFrom) {
			j.Verdict = Learning
			c.Alarms = append(c.Alarms, j)
			continue
		}
		for i := range c.Lines {
			l := &c.Lines[i]
			if a.At.Before(l.Start) || a.At.After(l.End.Add(Aftermath)) {
				continue
			}
			if j.Verdict != Found {
				j.Verdict, j.Fault = Repeat, i
			}
			if a.At.After(l.End.Add(step)) {
				continue
			}
			if !l.Found {
				l.Found, l.Delay = true, a.At.Sub(l.Start)
				j.Verdict, j.Fault = Found, i
			}
			l.Named = l.Named || a.Workload == l.Workload
		}
		if j.Verdict == False && slices.ContainsFunc(t.Stalls, func(s Stall) bool {
			return !a.At.Before(s.Start) && !a.At.After(s.End.Add(Recovery))
		}) {
			j.Verdict = Stalled
		}
		if j.Verdict == False {
			c.False++
		}
		c.Alarms = append(c.Alarms, j)
	}
	return c
}

// Sum adds cards up.
type Sum struct {
	Recordings, Faults, Found, Named, False int
	Scored                                  time.Duration
	delays                                  []time.Duration
}

// Add counts a card.
func (s *Sum) Add(c *Card) {
	s.Recordings++
	s.False += c.False
	s.Scored += c.Scored
	for _, l := range c.Lines {
		s.Faults++
		if l.Named {
			s.Named++
		}
		if l.Found {
			s.Found++
			s.delays = append(s.delays, l.Delay)
		}
	}
}

// MedianDelay is the median over the faults that were found, 0 when none was.
// Of an even number it is the mean of the two in the middle.
func (s *Sum) MedianDelay() time.Duration {
	n := len(s.delays)
	if n == 0 {
		return 0
	}
	d := slices.Sorted(slices.Values(s.delays))
	return (d[(n-1)/2] + d[n/2]) / 2
}
