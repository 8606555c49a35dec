package store

import (
	"errors"
	"testing"

	"github.com/homeostat/homeostat/engine"
)

// sweeps ends passes, so that no restart needs what was before.
func sweeps(t testing.TB, s *Store) {
	t.Helper()
	if err := s.WriteSettle(s.Last(), []byte(`{"Version":1}`)); err != nil {
		t.Fatal(err)
	}
}

func TestRetireTakesTheOldestAndKeepsTheLabels(t *testing.T) {
	for _, c := range []struct {
		name string
		keep Retention
		ok   func(s *Store) bool
	}{
		{"records", Retention{Records: 100}, func(s *Store) bool { n := s.Last() - s.First() + 1; return n >= 100 && n < 160 }},
		{"bytes", Retention{Bytes: 10 << 10}, func(s *Store) bool { return s.Stats().LogBytes <= 10<<10 && s.Stats().LogBytes > 5<<10 }},
		{"age", Retention{Before: 300_000}, func(s *Store) bool { return s.First() <= 300 && s.First() > 240 }},
		{"nothing asked", Retention{}, func(s *Store) bool { return s.First() == 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Config{SegmentBytes: 3 << 10})
			fill(t, s, 500)
			var before, after []uint64
			if err := s.Labels(func(seq uint64, _ engine.Record) error { before = append(before, seq); return nil }); err != nil {
				t.Fatal(err)
			}
			sweeps(t, s)
			rep, err := s.Retire(c.keep)
			if err != nil {
				t.Fatal(err)
			}
			if !c.ok(s) {
				t.Fatalf("%+v: the log holds %d to %d, %d bytes", rep, s.First(), s.Last(), s.Stats().LogBytes)
			}
			again, err := s.Retire(c.keep)
			if err != nil || again.Segments != 0 || again.Labels != 0 {
				t.Fatalf("the same again took %+v, %v", again, err)
			}
			closed(t, s)
			s = open(t, dir, Config{SegmentBytes: 3 << 10})
			defer s.Close()
			if err := s.Labels(func(seq uint64, _ engine.Record) error { after = append(after, seq); return nil }); err != nil {
				t.Fatal(err)
			}
			if len(before) != 100 || len(after) != len(before) {
				t.Fatalf("%d labels before, %d after", len(before), len(after))
			}
			for i := range before {
				if before[i] != after[i] {
					t.Fatalf("label %d became %d", before[i], after[i])
				}
			}
			if s.Last() != 500 {
				t.Fatalf("Last = %d", s.Last())
			}
		})
	}
}

func TestRetireLeavesWhatARestartNeeds(t *testing.T) {
	s := open(t, t.TempDir(), Config{SegmentBytes: 3 << 10})
	defer s.Close()
	fill(t, s, 200)
	rep, err := s.Retire(Retention{Records: 1})
	if err != nil || rep.Segments != 0 || rep.Held == 0 {
		t.Fatalf("without a checkpoint %+v, %v", rep, err)
	}
	sweeps(t, s)
	fill(t, s, 200)
	if rep, err = s.Retire(Retention{Records: 1}); err != nil || rep.Segments == 0 || rep.Held == 0 {
		t.Fatalf("%+v, %v", rep, err)
	}
	if s.First() > 201 {
		t.Fatalf("record %d is gone, and the settle record ends at 200", s.First()-1)
	}
}

// A crash between the copy of the labels and the removal of the segment.
func TestLabelsAreNotCopiedTwice(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Config{SegmentBytes: 3 << 10})
	fill(t, s, 200)
	sweeps(t, s)
	if n, err := s.keepLabels(s.log.segments[0]); err != nil || n == 0 {
		t.Fatalf("%d, %v", n, err)
	}
	closed(t, s)
	s = open(t, dir, Config{SegmentBytes: 3 << 10})
	defer s.Close()
	if _, err := s.Restore(newEngine(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Retire(Retention{Records: 1}); err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	n := 0
	if err := s.Labels(func(seq uint64, _ engine.Record) error {
		if seq <= last {
			return errors.New("a label comes twice")
		}
		last = seq
		n++
		return nil
	}); err != nil || n != 40 {
		t.Fatalf("%d labels, %v", n, err)
	}
}

func TestScanSaysWhatRetentionTook(t *testing.T) {
	s := open(t, t.TempDir(), Config{SegmentBytes: 3 << 10})
	defer s.Close()
	fill(t, s, 300)
	sweeps(t, s)
	err := s.Scan(1, func(seq uint64, _ engine.Record) error {
		if seq == 1 {
			_, err := s.Retire(Retention{Records: 10})
			return err
		}
		return nil
	})
	if !errors.Is(err, ErrRetired) {
		t.Fatalf("Scan over a retirement = %v", err)
	}
}

func newEngine(t testing.TB) *engine.Engine {
	t.Helper()
	e, err := engine.New(engine.Config{}, 2)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
