package store

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
)

// childDir names the directory in which the test binary, run again, appends and
// checkpoints until it is killed.
const childDir = "HOMEOSTAT_STORE_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(readerDir); dir != "" {
		if err := reader(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child prints each sequence once Append has returned for it, and each pass of
// pages once WriteSettle has.
func child(dir string) error {
	s, err := Open(dir, Config{SegmentBytes: 32 << 10, MinFreeBytes: 1, BallastBytes: -1})
	if err != nil {
		return err
	}
	page := make([]byte, 20<<10)
	for round := s.Last(); ; round++ {
		var records []engine.Record
		for range 1 + round%5 {
			records = append(records, engine.Tick{Now: int64(round)})
		}
		first, err := s.Append(records)
		if err != nil {
			return err
		}
		last := first + uint64(len(records)) - 1
		fmt.Printf("log %d\n", last)
		if round%4 != 0 {
			continue
		}
		var pages []loop.Page
		for n := range uint32(40) {
			pages = append(pages, loop.Page{ID: engine.PageID{Number: n}, Bytes: page})
		}
		if err := s.WritePages(last, pages); err != nil {
			return err
		}
		if err := s.WriteSettle(last, page); err != nil {
			return err
		}
		fmt.Printf("pages %d\n", last)
	}
}

// kill -9 at random moments: what was acknowledged is there, and each page has
// the last pass or a later one.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(11, 11))
	var logged, paged uint64
	for round := range 20 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		acknowledged := 0
		wait := r.IntN(60)
		for lines.Scan() {
			var kind string
			var seq uint64
			if _, err := fmt.Sscan(lines.Text(), &kind, &seq); err != nil {
				t.Fatalf("child said %q", lines.Text())
			}
			if kind == "log" {
				logged = seq
			} else {
				paged = seq
			}
			if acknowledged++; acknowledged == wait+1 {
				// Some microseconds into whatever it does now.
				time.AfterFunc(time.Duration(r.IntN(8000))*time.Microsecond, func() { cmd.Process.Kill() })
			}
		}
		cmd.Wait()
		if acknowledged <= wait {
			t.Fatalf("round %d: the child ended by itself: %s", round, stderr.String())
		}
		rep, err := Inspect(dir)
		if err != nil {
			t.Fatal(err)
		}
		if rep.Pages.Unread != "" || rep.Pages.NewestAsOf < paged {
			t.Fatalf("round %d: inspect before a start: %+v", round, rep.Pages)
		}
		s := open(t, dir, Config{})
		if s.Last() < logged {
			t.Fatalf("round %d: the log ends at %d, %d was acknowledged", round, s.Last(), logged)
		}
		if n := len(sequences(t, s.Scan)); uint64(n) != s.Last() {
			t.Fatalf("round %d: %d records of %d", round, n, s.Last())
		}
		pages := 0
		if err := eachStored(s.pages.db, pagePrefix, func(p stored) error {
			pages++
			if len(p.versions) == 0 || p.versions[0].asOf < paged || p.bad > 0 {
				return fmt.Errorf("page %d has %d good versions and %d bad ones, pass %d was acknowledged", p.id.Number, len(p.versions), p.bad, paged)
			}
			return nil
		}); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if paged > 0 && pages != 40 {
			t.Fatalf("round %d: %d pages of 40", round, pages)
		}
		closed(t, s)
	}
	if logged < 100 || paged < 50 {
		t.Fatalf("only %s records were acknowledged", strconv.FormatUint(logged, 10))
	}
}
