package modeltest

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/homeostat/homeostat/models"
)

func scoreIsPure(t *testing.T, s Subject) {
	f, next := s.Follow(), Seasonal.Start(1)
	for i := range 4 * pointsPerDay {
		f.Next(next())
		if i%397 != 0 {
			continue
		}
		before := record(t, f.Model)
		var first, second models.Reading
		f.Model.Score(f.At+Minute, 123, &first)
		for _, ahead := range []int64{Minute, 7 * Minute, 5 * 60 * Minute, pointsPerDay * Minute} {
			f.Model.Score(f.At+ahead, 1e6, &second)
		}
		f.Model.Score(f.At+Minute, 123, &second)
		if first != second {
			t.Fatalf("point %d: the same look said %+v and then %+v", i, first, second)
		}
		if !bytes.Equal(before, record(t, f.Model)) {
			t.Fatalf("point %d: Score changed the state", i)
		}
	}
}

func savedAndLoaded(t *testing.T, s Subject) {
	const n = 4 * pointsPerDay
	next := Seasonal.Start(2)
	values := make([]float64, n+300)
	for i := range values {
		values[i] = next()
		if i%500 == 499 {
			values[i] += 200
		}
	}
	f := s.Follow()
	for i, x := range values[:n] {
		if i < 4 || i%173 == 0 {
			g := s.Follow()
			g.At, g.Alarm = f.At, f.Alarm
			if err := g.Model.UnmarshalBinary(record(t, f.Model)); err != nil {
				t.Fatalf("point %d: load: %v", i, err)
			}
			h := s.Follow()
			h.At, h.Alarm = f.At, f.Alarm
			if err := h.Model.UnmarshalBinary(record(t, g.Model)); err != nil {
				t.Fatalf("point %d: load again: %v", i, err)
			}
			for k, y := range values[i : i+300] {
				g.Next(y)
				if h.Next(y); g.Reading != h.Reading {
					t.Fatalf("saved at %d, %d points on: %+v and %+v", i, k, g.Reading, h.Reading)
				}
			}
			// The one never saved is compared over the points it goes through anyway.
			g = s.Follow()
			g.At, g.Alarm = f.At, f.Alarm
			if err := g.Model.UnmarshalBinary(record(t, f.Model)); err != nil {
				t.Fatal(err)
			}
			f.Next(x)
			if g.Next(x); f.Reading != g.Reading {
				t.Fatalf("saved at %d: %+v, never saved: %+v", i, g.Reading, f.Reading)
			}
			if !bytes.Equal(record(t, f.Model), record(t, g.Model)) {
				t.Fatalf("saved at %d: the state differs one point on", i)
			}
			continue
		}
		f.Next(x)
	}
}

func noLookAhead(t *testing.T, s Subject) {
	const n, cut = 3 * pointsPerDay, 2*pointsPerDay + 100
	whole, prefix, other := s.Follow(), s.Follow(), s.Follow()
	next := Seasonal.Start(3)
	for i := range n {
		x := next()
		whole.Next(x)
		other.Next(-3 * x) // another series between the points shares nothing with them
		if i >= cut {
			continue
		}
		if prefix.Next(x); whole.Reading != prefix.Reading {
			t.Fatalf("point %d: %+v in the whole series, %+v in its prefix", i, whole.Reading, prefix.Reading)
		}
	}
}

func recordsAreBounded(t *testing.T, s Subject) {
	for _, kind := range Noises {
		f, next := s.Follow(), kind.Start(4)
		for i := range 6 * pointsPerDay {
			f.Next(next())
			if i%101 != 0 {
				continue
			}
			if n := len(record(t, f.Model)); n > s.Bytes {
				t.Fatalf("%s, point %d: the record takes %d bytes, want at most %d", kind.Name, i, n, s.Bytes)
			}
		}
	}
	prefix := []byte("what was there before")
	b, err := s.New().AppendBinary(prefix)
	if err != nil || !bytes.HasPrefix(b, prefix) {
		t.Fatalf("AppendBinary does not append: %q, %v", b, err)
	}
}

func corruptRecords(t *testing.T, s Subject) {
	f := s.Follow()
	f.Run(4*pointsPerDay, Seasonal.Start(5))
	good := record(t, f.Model)
	for n := range good {
		tryRecord(t, s, good[:n])
	}
	r := rand.New(rand.NewPCG(5, 5))
	for range 2000 {
		bad := bytes.Clone(good)
		for range 1 + r.IntN(4) {
			bad[r.IntN(len(bad))] = byte(r.Uint32())
		}
		tryRecord(t, s, bad)
	}
}

// tryRecord loads a record that may be corrupt. What is loaded must be usable.
func tryRecord(t *testing.T, s Subject, b []byte) {
	t.Helper()
	f := s.Follow()
	if f.Model.UnmarshalBinary(b) != nil {
		return
	}
	f.At += 10 * pointsPerDay * Minute
	for _, x := range []float64{1, 2, 1e9, 0, -5} {
		if f.Next(x); !finite(&f.Reading) {
			t.Fatalf("a loaded record leads to %+v", f.Reading)
		}
	}
}

func extremeValues(t *testing.T, s Subject) {
	extremes := []float64{0, math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, 1e300, -1e-300, 1e38, 5}
	f, next := s.Follow(), White.Start(6)
	f.Run(300, next)
	r := rand.New(rand.NewPCG(6, 6))
	for i := range 5000 {
		x := next()
		if i%3 == 0 {
			x = extremes[r.IntN(len(extremes))]
		}
		if f.Next(x); !finite(&f.Reading) {
			t.Fatalf("point %d, value %g: %+v", i, x, f.Reading)
		}
	}
	if err := s.New().UnmarshalBinary(record(t, f.Model)); err != nil {
		t.Fatalf("the state after extreme values does not load: %v", err)
	}
	f.Run(20*pointsPerDay, next)
	if n := f.Run(pointsPerDay, next); n != 0 {
		t.Errorf("20 days after extreme values a quiet day has %d alarms", n)
	}
}

func nothingAllocates(t *testing.T, s Subject) {
	f := s.Follow()
	f.Run(5*pointsPerDay, Seasonal.Start(7))
	x := 100.0
	if n := testing.AllocsPerRun(2*pointsPerDay, func() {
		f.Next(x)
		x += 0.01
	}); n != 0 {
		t.Errorf("Score and Learn make %v allocations a point", n)
	}
	b := make([]byte, 0, s.Bytes)
	if n := testing.AllocsPerRun(100, func() { b, _ = f.Model.AppendBinary(b[:0]) }); n != 0 {
		t.Errorf("AppendBinary into room enough makes %v allocations", n)
	}
}
