package store

import (
	"strconv"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
)

// drive runs an engine over a store for some minutes of a gauge.
func drive(t *testing.T, s *Store, e *engine.Engine, from, to int, fault bool) {
	t.Helper()
	d := loop.NewDriver(loop.Config{}, e, s)
	defer d.Close()
	series := e.Naming().NewSeries(labels.FromStrings("__name__", "depth", "job", "api"), engine.TypeGauge)
	for n := from; n < to; n++ {
		at := int64(1_700_000_000_000) + int64(n)*30_000
		v := 100 + float64(n*7919%13)
		if fault && n > to-5 {
			v += 500
		}
		b := &engine.Batch{Samples: []engine.Sample{{Series: series, Partition: series.Partition, At: at, Value: v}}}
		if _, err := d.Take(b); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Take(engine.Tick{Now: at + 20_000}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Sweep(); err != nil {
		t.Fatal(err)
	}
}

func reopen(t *testing.T, dir string) (*Store, *engine.Engine, RestoreReport) {
	t.Helper()
	s, err := Open(dir, Config{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(engine.Config{}, 2)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := s.Restore(e)
	if err != nil {
		t.Fatal(err)
	}
	return s, e, rep
}

func TestARestartContinuesWhereItWas(t *testing.T) {
	dir := t.TempDir()
	s, e, _ := reopen(t, dir)
	drive(t, s, e, 0, 400, true)
	last := s.Last()
	if last == 0 {
		t.Fatal("the fault made no record")
	}
	before, err := e.AppendSettle(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.EndInOrder(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, e, rep := reopen(t, dir)
	if !rep.Clean || rep.Redone != 0 || rep.Pages == 0 || s.Last() != last {
		t.Errorf("report %+v, last %d, want %d", rep, s.Last(), last)
	}
	after, err := e.AppendSettle(nil)
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Error("the settle state changed over a restart")
	}
	seqs := uint64(0)
	if err := s.Scan(1, func(seq uint64, _ engine.Record) error { seqs++; return nil }); err != nil || seqs != last {
		t.Errorf("%d records scanned of %d: %v", seqs, last, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Without the note of an orderly end the log is redone, and nothing breaks.
	s, _, rep = reopen(t, dir)
	if rep.Clean || rep.Pages == 0 {
		t.Errorf("report %+v after an end that was not in order", rep)
	}
	s.Close()
}

func TestTwoProcessesCannotShareADirectory(t *testing.T) {
	dir := t.TempDir()
	s, _, _ := reopen(t, dir)
	defer s.Close()
	if _, err := Open(dir, Config{}); err == nil {
		t.Error("the second Open succeeded")
	}
}

func TestTooLittleRoomIsRefused(t *testing.T) {
	s, err := Open(t.TempDir(), Config{MinFreeBytes: 1 << 60})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Admit() == nil {
		t.Error("a disk without an exbibyte of room was let in")
	}
}

// A page full of series that the deep tier looks at is near a mebibyte. It is
// stored and read back like any other.
func TestAPageOfTheDeepTierIsStored(t *testing.T) {
	const count = 64
	cfg := engine.Config{Deep: engine.Deep{Match: func(labels.Labels) bool { return true }}}
	newDeep := func() *engine.Engine {
		e, err := engine.New(cfg, 2)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	dir := t.TempDir()
	s := open(t, dir, Config{MinFreeBytes: 1})
	e := newDeep()
	d := loop.NewDriver(loop.Config{}, e, s)
	defer d.Close()
	for n := range 5 {
		at := int64(1_700_000_000_000) + int64(n)*60_000
		b := &engine.Batch{}
		for i := range count {
			series := e.Naming().NewSeries(labels.FromStrings("__name__", "depth", "job", "api", "queue", strconv.Itoa(i)), engine.TypeGauge)
			b.Samples = append(b.Samples, engine.Sample{Series: series, Partition: series.Partition, At: at, Value: float64(i + n)})
		}
		if _, err := d.Take(b); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Take(engine.Tick{Now: at + 20_000}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Sweep(); err != nil {
		t.Fatal(err)
	}
	largest := 0
	for _, id := range allPages(e) {
		b, err := e.AppendPage(id, nil)
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, len(b))
	}
	if largest < 800_000 {
		t.Errorf("the largest page has %d bytes: it is no page full of the deep tier", largest)
	}
	closed(t, s)
	s = open(t, dir, Config{MinFreeBytes: 1})
	defer s.Close()
	again := newDeep()
	if _, err := s.Restore(again); err != nil {
		t.Fatal(err)
	}
	if series, refused, _ := again.DeepSize(); series != count || refused != 0 {
		t.Errorf("read back, the deep tier looks at %d series and refused %d, want %d and 0", series, refused, count)
	}
}

// allPages are the pages of slots of an engine whose series are of one workload.
func allPages(e *engine.Engine) []engine.PageID {
	var ids []engine.PageID
	for number := range engine.Partitions {
		id := engine.PageID{Partition: uint8(number)}
		if _, err := e.AppendPage(id, nil); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}
