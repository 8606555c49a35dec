package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
)

// fill appends n labels and ticks in turn, some at a time.
func fill(t testing.TB, s *Store, n int) {
	t.Helper()
	for i := 0; i < n; {
		var records []engine.Record
		for k := 0; k < 7 && i < n; k++ {
			at := int64(s.Last()+uint64(k)+1) * 1000
			if i%5 == 0 {
				records = append(records, engine.Label{RequestID: "request", Anomaly: engine.AnomalyID(at), By: "a person", At: at, Judgement: engine.JudgedTrue})
			} else {
				records = append(records, engine.Tick{Now: at})
			}
			i++
		}
		if _, err := s.Append(records); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t testing.TB, dir string, cfg Config) *Store {
	t.Helper()
	s, err := Open(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closed(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func sequences(t testing.TB, scan func(uint64, func(uint64, engine.Record) error) error) (seqs []uint64) {
	t.Helper()
	if err := scan(0, func(seq uint64, _ engine.Record) error {
		seqs = append(seqs, seq)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return seqs
}

func TestSalvageCopiesWhatIsIntactAndNamesTheRest(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Config{SegmentBytes: 4 << 10})
	fill(t, s, 300)
	if err := s.WritePages(250, []loop.Page{{ID: engine.PageID{Partition: 3, Number: 9}, Bytes: []byte("baselines")}}); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteSettle(260, []byte("settled")); err != nil {
		t.Fatal(err)
	}
	closed(t, s)
	rep, err := Inspect(dir)
	if err != nil || !rep.Sound() || rep.Log.Records != 300 || rep.Pages.Pages != 1 || rep.Pages.SettleAsOf != 260 {
		t.Fatalf("a sound store: %v, %+v", err, rep)
	}

	second := filepath.Join(logDir(dir), rep.Log.Segments[1].Name)
	b, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(second, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Config{}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "homeostat inspect --salvage") {
		t.Fatalf("a damaged store opens: %v", err)
	}
	rep, err = Inspect(dir)
	if err != nil || rep.Sound() || len(rep.Log.Damages) != 1 || rep.Log.Records != 299 {
		t.Fatalf("%v, %+v", err, rep.Log)
	}
	lost := rep.Log.Damages[0]
	if lost.From != lost.To || lost.From < rep.Log.Segments[1].First || lost.File != filepath.Base(second) {
		t.Fatalf("damage %+v", lost)
	}

	out := filepath.Join(t.TempDir(), "out")
	rep, err = Salvage(dir, out)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := rep.WriteText(&text); err != nil || !strings.Contains(text.String(), "lost: "+lost.Lost()) {
		t.Fatalf("%v: the report does not name %s:\n%s", err, lost.Lost(), text.String())
	}
	s = open(t, out, Config{})
	seqs := sequences(t, s.Scan)
	if len(seqs) != 299 || s.Last() != 300 || s.First() != 1 {
		t.Fatalf("%d records, %d to %d", len(seqs), s.First(), s.Last())
	}
	for _, seq := range seqs {
		if seq == lost.From {
			t.Fatal("the damaged record was copied")
		}
	}
	fill(t, s, 3)
	closed(t, s)
	rep, err = Inspect(out)
	if err != nil || !rep.Sound() || rep.Log.Last != 303 || rep.Pages.Pages != 1 || rep.Pages.SettleAsOf != 260 {
		t.Fatalf("the salvaged store: %v, %+v", err, rep)
	}
	if _, err := Salvage(dir, out); err == nil {
		t.Fatal("a salvage wrote over a directory")
	}
}

// When the log's end is lost, no sequence that was given out is given again.
func TestSalvageGoesOnBehindWhatWasLost(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Config{SegmentBytes: 2 << 10})
	fill(t, s, 200)
	closed(t, s)
	rep, err := Inspect(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, seg := range rep.Log.Segments[3:] {
		if err := os.Remove(filepath.Join(logDir(dir), seg.Name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(dir, Config{}); !errors.Is(err, ErrDamaged) {
		t.Fatalf("a log without its end opens: %v", err)
	}
	out := filepath.Join(t.TempDir(), "out")
	if _, err := Salvage(dir, out); err != nil {
		t.Fatal(err)
	}
	s = open(t, out, Config{})
	if s.Last() != 200 {
		t.Fatalf("Last = %d, want 200", s.Last())
	}
	if first, err := s.Append([]engine.Record{engine.Tick{Now: 1}}); err != nil || first != 201 {
		t.Fatalf("Append = %d, %v", first, err)
	}
	closed(t, s)
	s = open(t, out, Config{})
	if seqs := sequences(t, s.Scan); seqs[len(seqs)-1] != 201 || seqs[len(seqs)-2] != rep.Log.Segments[2].Last {
		t.Fatalf("the end of the log is %v", seqs[len(seqs)-3:])
	}
	closed(t, s)
}

func TestInspectNamesTheFirstRecordThatBreaksTheChain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Config{})
	fill(t, s, 20)
	closed(t, s)
	// Someone with an editor changes a record and mends its checksum.
	name := filepath.Join(logDir(dir), segmentName(1))
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := int64(segmentHead)
	for range 9 {
		f, err := parseFrame(b[at:])
		if err != nil {
			t.Fatal(err)
		}
		at += f.size()
	}
	f, err := parseFrame(b[at:])
	if err != nil {
		t.Fatal(err)
	}
	payload := append([]byte(nil), f.payload...)
	payload[len(payload)-1] ^= 1
	f.payload = payload
	copy(b[at:], f.append(nil))
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Config{}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "record 10 ") {
		t.Fatalf("Open = %v", err)
	}
	rep, err := Inspect(dir)
	if err != nil || rep.Sound() || !strings.Contains(rep.Log.Damages[0].Why, "record 10 does not continue the hash chain") {
		t.Fatalf("%v, %+v", err, rep.Log.Damages)
	}
}

func TestInspectBesideARunningStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Config{})
	defer s.Close()
	fill(t, s, 10)
	rep, err := Inspect(dir)
	if err != nil || rep.Log.Records != 10 || rep.Pages.Unread == "" {
		t.Fatalf("%v, %+v", err, rep)
	}
	if _, err := Salvage(dir, t.TempDir()); !errors.Is(err, ErrInUse) {
		t.Fatalf("salvage of a running store: %v", err)
	}
	n := len(sequences(t, func(from uint64, fn func(uint64, engine.Record) error) error { return Read(dir, from, fn) }))
	if n != 10 {
		t.Fatalf("Read found %d records", n)
	}
}
