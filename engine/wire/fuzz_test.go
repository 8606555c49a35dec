package wire_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/wire"
)

// FuzzUnmarshalRecord sees that no bytes make a reader panic, and that what is
// read can be written and read again.
func FuzzUnmarshalRecord(f *testing.F) {
	for _, r := range records {
		b, err := wire.MarshalRecord(nil, r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	full, err := wire.MarshalRecord(nil, &engine.Anomaly{
		ID: 1, Revision: engine.Opened, Kind: engine.KindDip, At: -1, Score: 200, Direction: -1,
		Series:    &engine.Series{ID: 2, Labels: labels.FromStrings("a", "b", "c", "d"), Workload: "w"},
		Threshold: engine.Threshold{Open: 1, Cause: "config"},
		Factors:   []engine.Factor{{Name: "n", Text: "t"}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := wire.UnmarshalRecord(b)
		if err != nil {
			return
		}
		out, err := wire.MarshalRecord(nil, r)
		if err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", r, err)
		}
		back, err := wire.UnmarshalRecord(out)
		if err != nil {
			t.Fatalf("%+v was written and cannot be read: %v", r, err)
		}
		if d := cmp.Diff(r, back, sameFloats); d != "" {
			t.Fatalf("it came back as another:\n%s", d)
		}
	})
}

// FuzzInput reads two inputs with one decoder, so that references are reached.
func FuzzInput(f *testing.F) {
	var enc wire.InputEncoder
	s := &engine.Series{ID: 1, Labels: labels.FromStrings("a", "b"), Workload: "w"}
	batch := &engine.Batch{
		Sender: "s", Samples: []engine.Sample{{Series: s, At: 5, Value: 1}},
		Histograms: []engine.HistogramSample{{Series: s, Count: 2, Buckets: []engine.Bucket{{Lower: 0, Upper: 1, Count: 2}}}},
	}
	first, err := enc.Append(nil, batch)
	if err != nil {
		f.Fatal(err)
	}
	second, err := enc.Append(nil, batch)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(first, second)
	f.Add(second, first)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var dec wire.InputDecoder
		var enc wire.InputEncoder
		for _, in := range [][]byte{a, b} {
			ev, err := dec.Input(in)
			if err != nil {
				return
			}
			if _, err := enc.Append(nil, ev); err != nil {
				t.Fatalf("%+v was read and cannot be written: %v", ev, err)
			}
		}
	})
}
