package store

import (
	"errors"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
)

// spoil flips a byte of what is stored under the keys of a prefix; the newest
// version only, or all.
func spoil(t *testing.T, s *Store, prefix []byte, all bool) {
	t.Helper()
	type found struct {
		key, val []byte
		asOf     uint64
	}
	var values []found
	if err := s.pages.db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix = prefix
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			b, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			v, err := parseValue(b)
			if err != nil {
				return err
			}
			values = append(values, found{it.Item().KeyCopy(nil), b, v.asOf})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	newest := uint64(0)
	for _, f := range values {
		newest = max(newest, f.asOf)
	}
	for _, f := range values {
		if !all && f.asOf < newest {
			continue
		}
		f.val[len(f.val)-1] ^= 1
		if err := s.pages.db.Update(func(txn *badger.Txn) error { return txn.Set(f.key, f.val) }); err != nil {
			t.Fatal(err)
		}
	}
}

// twice drives an engine over two sweeps, so that each page has two versions.
func twice(t *testing.T, dir string) *Store {
	t.Helper()
	s, e, _ := reopen(t, dir)
	drive(t, s, e, 0, 400, true)
	drive(t, s, e, 400, 500, true)
	return s
}

func TestARottenPageFallsBackToTheOneBefore(t *testing.T) {
	dir := t.TempDir()
	s := twice(t, dir)
	last := s.Last()
	spoil(t, s, pagePrefix, false)
	closed(t, s)
	s, e, rep := reopen(t, dir)
	if rep.Pages == 0 || rep.Older != rep.Pages || len(rep.Lost) != 0 || rep.Redone == 0 || rep.From == 0 {
		t.Fatalf("%+v", rep)
	}
	if _, tick := e.Open(); tick == 0 || s.Last() != last {
		t.Fatal("the settle state did not come back")
	}
	drive(t, s, e, 500, 600, true)
	closed(t, s)
}

func TestAPageWithoutAGoodVersionIsReportedAndLearntAnew(t *testing.T) {
	dir := t.TempDir()
	s := twice(t, dir)
	spoil(t, s, pagePrefix, true)
	closed(t, s)
	s, e, rep := reopen(t, dir)
	if rep.Pages != 0 || len(rep.Lost) == 0 || rep.Gone != 0 {
		t.Fatalf("%+v", rep)
	}
	drive(t, s, e, 500, 900, true)
	closed(t, s)
	_, _, rep = reopen(t, dir)
	if rep.Pages == 0 {
		t.Fatalf("after another sweep: %+v", rep)
	}
}

func TestARottenSettleRecordFallsBackOrIsMadeAgain(t *testing.T) {
	for _, all := range []bool{false, true} {
		dir := t.TempDir()
		s := twice(t, dir)
		want, tick := settledAt(t, s)
		spoil(t, s, settlePrefix, all)
		closed(t, s)
		s, e, rep := reopen(t, dir)
		if !rep.Aged || rep.Redone == 0 {
			t.Fatalf("all %v: %+v", all, rep)
		}
		if all && rep.Settled != 0 || !all && (rep.Settled == 0 || rep.Settled >= want) {
			t.Fatalf("all %v: settled as of %d, the newest was %d", all, rep.Settled, want)
		}
		if _, got := e.Open(); got != tick {
			t.Fatalf("all %v: the tick is %d, was %d", all, got, tick)
		}
		closed(t, s)
	}
}

func settledAt(t *testing.T, s *Store) (asOf uint64, tick int64) {
	t.Helper()
	if err := s.Scan(0, func(_ uint64, r engine.Record) error {
		if k, ok := r.(engine.Tick); ok {
			tick = k.Now
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return s.pages.settle.asOf, tick
}

// Where retention took what people said out of the log, a settle record that is
// lost cannot be made again: that is no small thing to pass over.
func TestALostSettleRecordBesideAShortLogRefuses(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Config{SegmentBytes: 2 << 10})
	fill(t, s, 200)
	sweeps(t, s)
	if rep, err := s.Retire(Retention{Records: 1}); err != nil || rep.Segments == 0 {
		t.Fatalf("%+v, %v", rep, err)
	}
	spoil(t, s, settlePrefix, true)
	if _, err := s.Restore(newEngine(t)); !errors.Is(err, ErrDamaged) {
		t.Fatalf("Restore = %v", err)
	}
	closed(t, s)
}

// Pages that Badger forgot without a word are noticed.
func TestPagesThatAreGoneAreCounted(t *testing.T) {
	dir := t.TempDir()
	s := twice(t, dir)
	if err := s.pages.db.Update(func(txn *badger.Txn) error {
		for id := range s.pages.known {
			for turn := range byte(2) {
				if err := txn.Delete(appendPageKey(nil, id, turn)); err != nil {
					return err
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	closed(t, s)
	_, _, rep := reopen(t, dir)
	if rep.Gone == 0 || rep.Pages != 0 {
		t.Fatalf("%+v", rep)
	}
}

// A pass tells of the passes before it: an idle page does not keep the log.
func TestPassesMoveTheOldestRecordThatARestartNeeds(t *testing.T) {
	s := open(t, t.TempDir(), Config{})
	defer s.Close()
	fill(t, s, 10)
	if err := s.WritePages(10, []loop.Page{{ID: engine.PageID{Number: 1}, Bytes: []byte("idle")}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []uint64{10, 10, 10, 20} {
		sweeps(t, s)
		if got := s.pages.oldest(); got != min(want, s.pages.settle.asOf) {
			t.Fatalf("after the pass as of %d a restart needs %d, want %d", s.pages.settle.asOf, got, want)
		}
		fill(t, s, 10)
	}
}

func TestPagesBeyondTheLogAreRefused(t *testing.T) {
	s := open(t, t.TempDir(), Config{})
	defer s.Close()
	if err := s.WritePages(1, []loop.Page{{Bytes: []byte("x")}}); err == nil {
		t.Fatal("a page as of a record that is not there")
	}
	if err := s.WriteSettle(1, []byte("x")); err == nil {
		t.Fatal("a settle record as of a record that is not there")
	}
}

func TestValuesRoundTripAndNoByteIsIdle(t *testing.T) {
	want := value{kind: kindSettle, id: engine.PageID{Partition: 7, Number: 1 << 31}, turn: 1, asOf: 1 << 40, swept: 99, bytes: []byte("state")}
	b := want.append(nil)
	got, err := parseValue(b)
	if err != nil || got.kind != want.kind || got.id != want.id || got.turn != want.turn || got.asOf != want.asOf || got.swept != want.swept || string(got.bytes) != "state" {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range b {
		b[i] ^= 4
		if _, err := parseValue(b); err == nil {
			t.Fatalf("byte %d does not count", i)
		}
		b[i] ^= 4
		if _, err := parseValue(b[:i]); err == nil {
			t.Fatalf("cut at %d passes", i)
		}
	}
}
