// Package modeltest is the contract of a model as tests. Each model runs it on
// itself:
//
//	modeltest.Run(t, modeltest.Subject{New: func() models.Model { ... }, ...})
//
// What it asks: Score is pure; saving and loading at any point changes no
// future; nothing looks ahead; records are bounded and hostile ones are refused
// without a panic; nothing allocates; quiet series stay quiet, be they constant,
// large, gappy, seasonal, ramping or mostly zero; a change of level is found,
// and learnt in the end; and a plain stimulus does raise an alarm, for there
// have been detectors that said nothing for months.
package modeltest

import (
	"math"
	"testing"

	"github.com/homeostat/homeostat/models"
)

// Subject is a model under test and what it promises.
type Subject struct {
	New   func() models.Model // a model of which nothing has been seen
	Bytes int                 // the longest record it may write
	Open  models.Score        // the shipped threshold at one-minute sampling

	// Above[kind] is by what factor points may be more frequent above a score
	// of 3, and of 4, than the score says. Kinds that are missing are held to 2.
	Above map[string]float64
	// Weekly[kind] is how many false alarms a week a kind of noise may raise.
	// Kinds that are missing are held to none.
	Weekly map[string]float64
	// Points of each kind of noise are what the calibration rests on; 0 is as
	// many as the suite takes, ten million. A model that costs microseconds a
	// point takes fewer.
	Points int
}

// Run checks the contract of a model.
func Run(t *testing.T, s Subject) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Subject)
	}{
		{"score is pure", scoreIsPure},
		{"saved and loaded it goes on the same", savedAndLoaded},
		{"it does not look ahead", noLookAhead},
		{"records are bounded", recordsAreBounded},
		{"a corrupt record does no harm", corruptRecords},
		{"extreme values do no harm", extremeValues},
		{"nothing allocates", nothingAllocates},
		{"a constant series is quiet and a change of it is not", constant},
		{"a large mean hides nothing", largeMean},
		{"a gap is quiet", gap},
		{"a step is found and learnt", step},
		{"a ramp is quiet", ramp},
		{"a daily season is quiet and its end is found", dailySeason},
		{"a reset to zero is found once", reset},
		{"a plain stimulus is found", stimulus},
		{"noise is quiet", noiseIsQuiet},
		{"scores are not more frequent than they say", calibrated},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, s) })
	}
}

// Follower drives a model over a series at one-minute steps the way an engine
// does: it looks, compares and learns at the weight of the score.
type Follower struct {
	Model   models.Model
	Alarm   models.Alarm
	Reading models.Reading // of the last point
	At      int64          // of the last point, ms
	Alarms  int            // opened so far
	open    models.Score
}

// Follow starts a follower of a new model.
func (s Subject) Follow() *Follower {
	// Not the epoch: a model must not take its first time for a special one.
	return &Follower{Model: s.New(), At: 1_700_000_000_000, open: s.Open}
}

// Next takes one more value in and reports whether it opened an alarm.
func (f *Follower) Next(x float64) bool {
	f.At += Minute
	f.Model.Score(f.At, x, &f.Reading)
	change := f.Alarm.Step(f.Reading.Score, f.open, f.open/2)
	f.Model.Learn(f.At, x, &f.Reading, models.WeightOf(f.Reading.Score))
	if change == models.Opened {
		f.Alarms++
	}
	return change == models.Opened
}

// Run takes n values of a source in and returns how many alarms they opened.
func (f *Follower) Run(n int, next func() float64) int {
	before := f.Alarms
	for range n {
		f.Next(next())
	}
	return f.Alarms - before
}

func record(t *testing.T, m models.Model) []byte {
	t.Helper()
	b, err := m.AppendBinary(nil)
	if err != nil {
		t.Fatalf("AppendBinary: %v", err)
	}
	return b
}

func finite(r *models.Reading) bool {
	for _, v := range []float64{r.Expected, r.Scale, r.Residual} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return r.Score >= 0 && r.Score <= models.MaxScore
}
