package store

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/engine"
)

// inputs are some of every kind.
func inputs(n int) []engine.Event {
	var naming engine.Naming
	var series []*engine.Series
	for i := range 20 {
		series = append(series, naming.NewSeries(labels.FromStrings("__name__", "depth", "job", fmt.Sprint("job", i)), engine.TypeGauge))
	}
	var out []engine.Event
	for i := range n {
		at := int64(1_700_000_000_000 + i*1000)
		b := &engine.Batch{Sender: "one", Quiet: i%7 == 0}
		for k := range 5 {
			s := series[(i*3+k)%len(series)]
			b.Samples = append(b.Samples, engine.Sample{Series: s, Partition: s.Partition, At: at, Value: math.Sqrt(float64(i*k)) - 1})
		}
		out = append(out, b, engine.Tick{Now: at})
		if i%5 == 0 {
			out = append(out, engine.Label{RequestID: fmt.Sprint(i), Anomaly: engine.AnomalyID(i), Judgement: engine.JudgedFalse, By: "me", At: at},
				engine.Undo{RequestID: fmt.Sprint("u", i), Label: fmt.Sprint(i), At: at},
				engine.Performed{Action: 3, Result: engine.ResultDone, Detail: "done", At: at})
		}
	}
	return out
}

func record(t testing.TB, d disk, path string, events []engine.Event) {
	t.Helper()
	r, err := createRecording(d, path)
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range events {
		if err := r.Record(ev); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Record(engine.Tick{}); err == nil {
		t.Fatal("a closed recording takes more")
	}
}

func play(p *Playback) (out []engine.Event, err error) {
	for {
		ev, err := p.Next()
		if err != nil {
			return out, err
		}
		out = append(out, ev)
	}
}

func TestARecordingPlaysTheExactInputs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inputs.rec")
	want := inputs(300)
	record(t, osDisk{}, path, want)
	if !IsRecording(path) || IsRecording(t.TempDir()) {
		t.Fatal("IsRecording")
	}
	p, err := OpenRecording(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	got, err := play(p)
	if err != io.EOF || p.Torn() != 0 || !reflect.DeepEqual(got, want) {
		t.Fatalf("%d inputs of %d, torn %d, %v", len(got), len(want), p.Torn(), err)
	}
	if read, total := p.Progress(); read != total || total == 0 {
		t.Errorf("at the end the progress is %d of %d bytes", read, total)
	}
	if _, err := p.Next(); err != io.EOF {
		t.Fatalf("after the end: %v", err)
	}
	if _, err := CreateRecording(path); err == nil {
		t.Fatal("a recording was written over")
	}
}

func TestAMutatedRecordingIsAPrefixOrAnError(t *testing.T) {
	base := newMemDisk()
	want := inputs(40)
	record(t, base, "/rec", want)
	torn, damaged := 0, 0
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 3))
		d := base.clone()
		what := mutate(r, d)
		p, err := openRecording(d, "/rec")
		if err != nil {
			damaged++
			continue
		}
		got, err := play(p)
		if len(got) > len(want) || len(got) > 0 && !reflect.DeepEqual(got, want[:len(got)]) {
			t.Fatalf("seed %d, %s: no prefix of the inputs", seed, what)
		}
		switch {
		case err == io.EOF && p.Torn() > 0:
			torn++
		case errors.Is(err, ErrDamaged):
			damaged++
		case err == io.EOF && len(got) == len(want):
		case err == io.EOF && wholeFrames(d):
			// A file cut between two inputs is what a recording looks like that
			// was interrupted there.
		default:
			t.Fatalf("seed %d, %s: %d inputs of %d, %v", seed, what, len(got), len(want), err)
		}
	}
	if torn < 50 || damaged < 1000 {
		t.Fatalf("%d torn, %d damaged of 3000", torn, damaged)
	}
}

func wholeFrames(d *memDisk) bool {
	n := d.names["/rec"]
	w := newWalk(&memFile{d, n}, segmentHead, int64(len(n.data)))
	for {
		if _, err := w.next(); err != nil {
			return err == io.EOF
		}
	}
}

func TestAFailedRecordingSaysSo(t *testing.T) {
	d := newMemDisk()
	r, err := createRecording(d, "/rec")
	if err != nil {
		t.Fatal(err)
	}
	d.failing, d.failAt = errors.New("input/output error"), 0
	if err := r.Flush(); err == nil {
		t.Fatal("a failed sync passed")
	}
	d.failing = nil
	if err := r.Record(engine.Tick{}); err == nil {
		t.Fatal("it goes on after a failed sync")
	}
}

func TestMemoryIsAStore(t *testing.T) {
	m := NewMemory()
	if m.First() != 0 || m.Last() != 0 {
		t.Fatal("an empty one has records")
	}
	for i := range 10 {
		first, err := m.Append([]engine.Record{engine.Tick{Now: int64(i)}, engine.Tick{Now: int64(i)}})
		if err != nil || first != uint64(2*i+1) {
			t.Fatal(first, err)
		}
	}
	if got := sequences(t, func(_ uint64, fn func(uint64, engine.Record) error) error { return m.Scan(15, fn) }); len(got) != 6 || got[0] != 15 {
		t.Fatal(got)
	}
	if m.First() != 1 || m.Last() != 20 {
		t.Fatal(m.First(), m.Last())
	}
}
