package store

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
)

// readerDir names the directory that the test binary, run again, opens and
// tells the pages of.
const readerDir = "HOMEOSTAT_STORE_READER"

func reader(dir string) error {
	s, err := Open(dir, Config{MinFreeBytes: 1, BallastBytes: -1})
	if err != nil {
		return err
	}
	fmt.Printf("noted %d %d\n", s.log.noted.pages, s.log.noted.settled)
	if err := eachStored(s.pages.db, pagePrefix, func(p stored) error {
		fmt.Printf("page %d %d", p.id.Number, p.bad)
		for _, v := range p.versions {
			fmt.Printf(" %d:%08x", v.asOf, crc32.ChecksumIEEE(v.bytes))
		}
		fmt.Println()
		return nil
	}); err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	fmt.Println("end")
	return nil
}

func pageOf(r *rand.Rand, n uint32, asOf uint64) []byte {
	b := make([]byte, 3000)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return fmt.Appendf(b, "page %d as of %d", n, asOf)
}

// rotten makes a store with two versions of each page and returns the sums of
// what is right.
func rotten(t *testing.T, dir string, clean bool) map[string]bool {
	s := open(t, dir, Config{MinFreeBytes: 1, BallastBytes: -1})
	r := rand.New(rand.NewPCG(2, 2))
	right := map[string]bool{}
	for range 5 {
		fill(t, s, 10)
		var out []loop.Page
		for n := range uint32(60) {
			b := pageOf(r, n, s.Last())
			right[fmt.Sprintf("%d %d:%08x", n, s.Last(), crc32.ChecksumIEEE(b))] = true
			out = append(out, loop.Page{ID: engine.PageID{Number: n}, Bytes: b})
		}
		if err := s.WritePages(s.Last(), out); err != nil {
			t.Fatal(err)
		}
		if err := s.WriteSettle(s.Last(), []byte("settle")); err != nil {
			t.Fatal(err)
		}
	}
	if clean {
		closed(t, s)
		return right
	}
	// As kill -9 leaves it: the files, without an orderly end.
	copied := dir + "-killed"
	copyStore(t, dir, copied)
	closed(t, s)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(copied, dir); err != nil {
		t.Fatal(err)
	}
	return right
}

func copyStore(t *testing.T, from, to string) {
	t.Helper()
	for _, sub := range []string{"", "log", "labels", "pages"} {
		if err := os.MkdirAll(filepath.Join(to, sub), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := copyFiles(filepath.Join(from, sub), filepath.Join(to, sub)); err != nil {
			t.Fatal(err)
		}
	}
}

// rot changes one of Badger's files where it is not a hole.
func rot(t *testing.T, r *rand.Rand, dir string) string {
	names, err := osDisk{}.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	name := names[r.IntN(len(names))]
	for name == "LOCK" {
		name = names[r.IntN(len(names))]
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 2<<20) // all that is written lies at the beginning
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		t.Fatal(err)
	}
	used := len(bytes.TrimRight(b[:n], "\x00"))
	at := r.IntN(max(used, 1))
	what := fmt.Sprintf("%s: flip at %d of %d", name, at, used)
	part := b[at : at+1]
	switch r.IntN(4) {
	case 0:
		if err := f.Truncate(int64(at)); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s: cut at %d of %d", name, at, used)
	case 1:
		part = b[at:max(at, min(used, at+1+r.IntN(4096)))]
		clear(part)
		what = fmt.Sprintf("%s: zeros from %d of %d", name, at, used)
	default:
		part[0] ^= 1 << r.IntN(8)
	}
	if _, err := f.WriteAt(part, int64(at)); err != nil {
		t.Fatal(err)
	}
	return what
}

// Badger's files are changed at random: a start ends with an error or with
// pages that are right, the newest or an older version, and what is missing is
// known. It runs in a process of its own, since Badger may end it.
func TestRottenPagesAreNeverTakenForGood(t *testing.T) {
	rounds := 20
	if os.Getenv("HOMEOSTAT_ROT_ROUNDS") != "" {
		fmt.Sscan(os.Getenv("HOMEOSTAT_ROT_ROUNDS"), &rounds)
	}
	counts := map[string]int{}
	for _, clean := range []bool{true, false} {
		base := filepath.Join(t.TempDir(), "base")
		right := rotten(t, base, clean)
		for seed := range uint64(rounds) {
			r := rand.New(rand.NewPCG(seed, 21))
			dir := filepath.Join(t.TempDir(), "copy")
			copyStore(t, base, dir)
			what := rot(t, r, pagesDir(dir))
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), readerDir+"="+dir)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			counts[judge(t, what, right, string(out), stderr.String(), err)]++
			os.RemoveAll(dir)
		}
	}
	t.Logf("%v", counts)
}

func judge(t *testing.T, what string, right map[string]bool, out, stderr string, err error) string {
	t.Helper()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if strings.Contains(stderr, "goroutine") || !strings.Contains(stderr, "homeostat inspect --salvage") {
			t.Logf("%s: %.300s", what, stderr)
			t.Errorf("%s: the process died", what)
			return "died"
		}
		return "refused"
	}
	if err != nil {
		t.Fatal(err)
	}
	pages, noted, older := 0, 0, 0
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		switch f[0] {
		case "noted":
			fmt.Sscan(f[1], &noted)
		case "page":
			if len(f) > 3 {
				pages++
			}
			if f[2] != "0" || len(f) < 5 {
				older++
			}
			for _, v := range f[3:] {
				if !right[f[1]+" "+v] {
					t.Fatalf("%s: page %s has a version %s that was never written", what, f[1], v)
				}
			}
		}
	}
	if !strings.HasSuffix(out, "end\n") {
		t.Fatalf("%s: the reader said %q", what, out)
	}
	switch {
	case noted != 60:
		t.Fatalf("%s: %d pages were noted", what, noted)
	case pages < 60:
		return "opened, pages missing"
	case older > 0:
		return "opened, older versions"
	}
	return "opened whole"
}
