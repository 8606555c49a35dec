package store

import (
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homeostat/homeostat/engine"
)

var rewrite = flag.Bool("rewrite", false, "make testdata/format-v1 and its description anew")

const (
	fixture     = "testdata/format-v1"
	fixtureTold = "testdata/format-v1.txt"
)

// makeFixture writes a small store: a log of several segments, labels beyond it,
// pages in two versions, a settle record, and a recording beside.
func makeFixture(t *testing.T, dir string) {
	s, err := Open(dir, Config{SegmentBytes: 2 << 10, MinFreeBytes: 1, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t)
	if _, err := s.Restore(e); err != nil {
		t.Fatal(err)
	}
	drive(t, s, e, 0, 150, true)
	if _, err := s.Append([]engine.Record{
		engine.Label{RequestID: "one", Anomaly: 7, Series: 8, Partition: 9, Judgement: engine.JudgedFalse, By: "ann", Note: "a deployment", At: 1_700_000_000_000},
		engine.Undo{RequestID: "two", Label: "one", By: "ann", At: 1_700_000_001_000},
		engine.Performed{Action: 5, Result: engine.ResultDone, Detail: "sent", At: 1_700_000_002_000},
	}); err != nil {
		t.Fatal(err)
	}
	drive(t, s, e, 150, 500, true)
	drive(t, s, e, 500, 600, true)
	if rep, err := s.Retire(Retention{Bytes: 6 << 10}); err != nil || rep.Segments == 0 || rep.Labels == 0 {
		t.Fatalf("%+v, %v", rep, err)
	}
	if err := s.EndInOrder(); err != nil {
		t.Fatal(err)
	}
	closed(t, s)
	record(t, osDisk{}, filepath.Join(dir, "inputs.rec"), inputs(5))
	// Badger makes these anew, and one is a megabyte of zeros.
	for _, name := range []string{"LOCK", "pages/LOCK", "pages/DISCARD"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
}

// tell describes a store to the byte, but for what Badger calls its files.
func tell(t *testing.T, dir string) string {
	var b strings.Builder
	rep, err := Inspect(dir)
	if err != nil || !rep.Sound() {
		t.Fatalf("%v: %+v", err, rep)
	}
	for _, l := range []LogReport{rep.Log, rep.Labels} {
		fmt.Fprintln(&b, l.First, l.Last, l.Tip, l.Kinds)
		for _, s := range l.Segments {
			fmt.Fprintln(&b, s.Name, s.Bytes, s.Records)
		}
	}
	s, err := Open(dir, Config{MinFreeBytes: 1, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.log.scan(0, func(seq uint64, p []byte) error {
		_, err := fmt.Fprintf(&b, "record %d %08x\n", seq, crc32.ChecksumIEEE(p))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, prefix := range [][]byte{pagePrefix, settlePrefix, orderPrefix} {
		if err := eachStored(s.pages.db, prefix, func(p stored) error {
			for _, v := range p.versions {
				fmt.Fprintf(&b, "value %d %d %d turn %d as of %d swept %d %08x\n", v.kind, v.id.Partition, v.id.Number, v.turn, v.asOf, v.swept, crc32.ChecksumIEEE(v.bytes))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Labels(func(seq uint64, r engine.Record) error {
		_, err := fmt.Fprintf(&b, "said %d %+v\n", seq, r)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	p, err := OpenRecording(filepath.Join(dir, "inputs.rec"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	got, err := play(p)
	fmt.Fprintln(&b, "inputs", len(got), err)
	if err != io.EOF {
		t.Fatal(err)
	}
	return b.String()
}

// A store that this format's first version wrote opens, holds what it held, and
// restores an engine.
func TestFormatVersion1Opens(t *testing.T) {
	if *rewrite {
		if err := os.RemoveAll(fixture); err != nil {
			t.Fatal(err)
		}
		makeFixture(t, fixture)
	}
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.CopyFS(dir, os.DirFS(fixture)); err != nil {
		t.Fatal(err)
	}
	told := tell(t, dir)
	if *rewrite {
		if err := os.WriteFile(fixtureTold, []byte(told), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(fixtureTold)
	if err != nil {
		t.Fatal(err)
	}
	if told != string(want) {
		t.Fatalf("the store holds\n%s\nand should hold\n%s", told, want)
	}
	s, e, rep := reopen(t, dir)
	defer s.Close()
	if !rep.Clean || rep.Pages == 0 || len(rep.Lost) != 0 || rep.Gone != 0 {
		t.Fatalf("%+v", rep)
	}
	if series, _ := e.Size(); series != 1 {
		t.Fatalf("%d series came back", series)
	}
}

func TestANewerStoreIsRefused(t *testing.T) {
	dir := t.TempDir()
	closed(t, open(t, dir, Config{}))
	for text, want := range map[string]error{"homeostat store 2\n": ErrNewer, "homeostat store x\n": ErrDamaged, "": ErrDamaged} {
		if err := os.WriteFile(filepath.Join(dir, versionName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, Config{}); err == nil || !strings.Contains(err.Error(), want.Error()) {
			t.Fatalf("VERSION %q: %v", text, err)
		}
	}
}
