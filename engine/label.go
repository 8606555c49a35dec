package engine

import "fmt"

// Judgement is what a person says of an anomaly.
type Judgement uint8

// The judgements.
const (
	JudgedFalse Judgement = iota + 1 // a false alarm: the threshold of its series rises one step
	JudgedTrue                       // right: the threshold of its series falls one step
)

var judgementNames = [...]string{"", "false-alarm", "true"}

// String is the judgement as the label command takes it.
func (j Judgement) String() string { return judgementNames[j] }

// ParseJudgement reads what String wrote.
func ParseJudgement(s string) (Judgement, error) {
	for j := JudgedFalse; j <= JudgedTrue; j++ {
		if judgementNames[j] == s {
			return j, nil
		}
	}
	return 0, fmt.Errorf("judgement %q: want %s or %s", s, JudgedFalse, JudgedTrue)
}

// Label is a person's word on one anomaly. RequestID makes it idempotent; the
// last label on an anomaly counts, and repeats count once.
type Label struct {
	RequestID string
	Anomaly   AnomalyID
	Series    SeriesID // of the anomaly; whoever takes the label in has looked it up
	Partition uint8    // of that series
	Judgement Judgement
	By        string
	Note      string
	At        int64 // when it was said, ms
}

// Undo takes a label back: the threshold becomes what it would be if the label
// had never been given.
type Undo struct {
	RequestID string // of this undo
	Label     string // RequestID of the label to take back
	By        string
	At        int64
}

// ThresholdMove is one change of one threshold.
type ThresholdMove struct {
	Series    SeriesID
	Partition uint8
	Before    Threshold
	After     Threshold
	Steps     int   // how many steps of 5 % it now stands from the configured one
	From      int64 // holds for points later than this time, ms
	Epoch     int64
	At        int64
}
