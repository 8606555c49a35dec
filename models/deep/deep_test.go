package deep

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
	"unsafe"

	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/modeltest"
)

// open is one false alarm a series in 56 days of one-minute points.
var open = models.ScoreOf(math.Log10(56 * 24 * 60))

func subject() modeltest.Subject {
	// Once a month is a quarter of a time a week; the suite runs eight.
	const monthly = 0.25
	return modeltest.Subject{
		New:    func() models.Model { return &Core{Seed: 1} },
		Bytes:  RecordSize,
		Points: 1_000_000,
		Open:   open,
		Weekly: map[string]float64{
			modeltest.White.Name:          monthly,
			modeltest.Autoregressive.Name: monthly,
			modeltest.RandomWalk.Name:     monthly,
			modeltest.FewCounts.Name:      monthly,
			modeltest.Counts.Name:         monthly,
			modeltest.ManyCounts.Name:     monthly,
			modeltest.MostlyZero.Name:     monthly,
			modeltest.Lognormal.Name:      monthly,
			// A bound that holds, not a goal: a heavy tail sets records all the time.
			modeltest.StudentT3.Name: 0.75,
		},
	}
}

func TestContract(t *testing.T) { modeltest.Run(t, subject()) }

func TestStateStaysWithinItsBytes(t *testing.T) {
	const most = 14_336
	if size := unsafe.Sizeof(Core{}); size > most {
		t.Errorf("Core takes %d bytes, want at most %d", size, most)
	}
	if RecordSize > most {
		t.Errorf("a record takes %d bytes, want at most %d", RecordSize, most)
	}
}

// A service whose requests come in bursts of four minutes of every ten is, one
// night, evenly busy at a level that it passes through in every burst. No point is
// unusual; the mix of the last hour is.
func TestAShapeWithoutAnUnusualPointIsFound(t *testing.T) {
	f := subject().Follow()
	noise := modeltest.White.Start(21)
	i := 0
	bursts := func() float64 {
		i++
		if i%10 < 4 {
			return 200 + noise()
		}
		return noise()
	}
	if n := f.Run(7*1440, bursts); n != 0 {
		t.Fatalf("a week of bursts: %d alarms", n)
	}
	if n := f.Run(90, func() float64 { return 100 + noise() }); n != 1 {
		t.Errorf("90 minutes of neither: %d alarms, want 1", n)
	}
}

// News is told once: a level that is new stays so for hours, and there is one
// alarm about it. Something far newer within that time is told again.
func TestNewsIsToldOnce(t *testing.T) {
	f, next := subject().Follow(), modeltest.White.Start(22)
	f.Run(3*1440, next)
	if n := f.Run(recent, func() float64 { return next() + 80 }); n != 1 {
		t.Errorf("a new level: %d alarms in the time that news is held, want 1", n)
	}
	var r models.Reading
	f.Model.Score(f.At+modeltest.Minute, next()+80, &r)
	if r.Score >= open {
		t.Errorf("the same level an hour on scores %v, as if it were news", r.Score.Float())
	}
}

// An unknown version of one member's state makes that member begin anew and
// leaves the others as they were.
func TestAnUnknownSubRecordIsLearntAnew(t *testing.T) {
	f := subject().Follow()
	f.Run(2000, modeltest.Seasonal.Start(23))
	whole, err := f.Model.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	for kind := placeKind; kind <= windowsKind; kind++ {
		b, at := bytes.Clone(whole), 0
		for int(b[at]) != kind {
			at += headerSize + int(binary.LittleEndian.Uint16(b[at+2:]))
		}
		b[at+1] = 99
		var c Core
		if err := c.UnmarshalBinary(b); err != nil {
			t.Fatalf("kind %d of version 99: %v", kind, err)
		}
		if want := 2000; kind != placeKind && c.Points() != want {
			t.Errorf("kind %d of version 99: %d points are known, want %d", kind, c.Points(), want)
		}
		var r models.Reading
		c.Score(f.At+modeltest.Minute, 100, &r)
		c.Learn(f.At+modeltest.Minute, 100, &r, 1)
		if kind == placeKind && c.Points() != 1 {
			t.Errorf("without a place %d points are known after the first, want 1", c.Points())
		}
	}
}

// A weight of 0 keeps a point out.
func TestNoWeightLearnsNothing(t *testing.T) {
	f := subject().Follow()
	f.Run(500, modeltest.White.Start(24))
	before, _ := f.Model.AppendBinary(nil)
	var r models.Reading
	f.Model.Score(f.At+modeltest.Minute, 1e6, &r)
	f.Model.Learn(f.At+modeltest.Minute, 1e6, &r, 0)
	after, _ := f.Model.AppendBinary(nil)
	if !bytes.Equal(before, after) {
		t.Error("a point of weight 0 changed the state")
	}
}

// BenchmarkScoreLearn is one point of one series, looked at and learnt, with
// every memory full.
func BenchmarkScoreLearn(b *testing.B) {
	const days = 5 * 24 * 60
	values := make([]float64, days)
	for i, next := 0, modeltest.Seasonal.Start(1); i < days; i++ {
		values[i] = next()
	}
	c := &Core{Seed: 1}
	var r models.Reading
	at := int64(0)
	point := func(i int) {
		at += modeltest.Minute
		c.Score(at, values[i%days], &r)
		c.Learn(at, values[i%days], &r, models.WeightOf(r.Score))
	}
	for i := range days {
		point(i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		point(i)
		i++
	}
}
