package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sort"
	"testing"
)

func mustOpen(t testing.TB, d disk, limit int64) *journal {
	t.Helper()
	j, err := openJournal(d, "/log", segmentOfLog, limit)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func contents(t testing.TB, j *journal, from uint64) (records [][]byte) {
	t.Helper()
	want := max(from, j.First())
	err := j.scan(from, func(seq uint64, p []byte) error {
		if seq != want {
			return fmt.Errorf("record %d where %d was expected", seq, want)
		}
		want++
		records = append(records, append([]byte(nil), p...))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func randomPayloads(r *rand.Rand, n, size int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = make([]byte, r.IntN(size))
		for k := range out[i] {
			out[i][k] = byte(r.Uint32())
		}
	}
	return out
}

func TestLogKeepsOrderOverSegmentsAndStarts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	d := newMemDisk()
	var truth [][]byte
	for range 5 {
		j := mustOpen(t, d, 4<<10)
		if j.Last() != uint64(len(truth)) {
			t.Fatalf("Last = %d after %d records", j.Last(), len(truth))
		}
		for range 20 {
			p := randomPayloads(r, 1+r.IntN(5), 300)
			first, err := j.append(p, nil)
			if err != nil || first != uint64(len(truth)+1) {
				t.Fatalf("append = %d, %v, want %d", first, err, len(truth)+1)
			}
			truth = append(truth, p...)
		}
		for _, from := range []uint64{0, 1, 2, uint64(len(truth) / 2), uint64(len(truth)), uint64(len(truth) + 1)} {
			want := truth[min(max(int(from)-1, 0), len(truth)):]
			if got := contents(t, j, from); !equal(got, want) {
				t.Fatalf("scan from %d: %d records, want %d", from, len(got), len(want))
			}
		}
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(mustOpen(t, d, 4<<10).segments) < 5 {
		t.Fatal("the log did not rotate")
	}
}

func equal(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// A machine that stops at any operation, on a file system that forgets what was
// not synced: every record that append returned for is there afterwards.
func TestCrashLosesNothingAcknowledged(t *testing.T) {
	crashes, cuts := 0, 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 7))
		d := newMemDisk()
		var truth [][]byte // acknowledged
		for range 4 {
			d.crashAt = d.ops + 1 + r.IntN(60)
			var pending [][]byte
			j, err := openJournal(d, "/log", segmentOfLog, 8<<10)
			if err != nil && !errors.Is(err, errCrash) {
				t.Fatalf("seed %d: open: %v", seed, err)
			}
			for err == nil {
				pending = randomPayloads(r, 1+r.IntN(12), 1500)
				if _, err = j.append(pending, nil); err == nil {
					truth = append(truth, pending...)
					pending = nil
				}
			}
			if !errors.Is(err, errCrash) {
				t.Fatalf("seed %d: %v", seed, err)
			}
			crashes++
			d = d.crash(r)
			j, err = openJournal(d, "/log", segmentOfLog, 8<<10)
			if err != nil {
				t.Fatalf("seed %d: after the crash: %v", seed, err)
			}
			if j.cut.Bytes > 0 {
				cuts++
			}
			got := contents(t, j, 1)
			if len(got) < len(truth) || !equal(got[:len(truth)], truth) {
				t.Fatalf("seed %d: %d records after the crash, %d were acknowledged", seed, len(got), len(truth))
			}
			extra := got[len(truth):]
			if len(extra) > len(pending) || !equal(extra, pending[:len(extra)]) {
				t.Fatalf("seed %d: the log holds records that were never appended", seed)
			}
			truth = got
		}
	}
	if cuts < crashes/10 {
		t.Fatalf("only %d of %d crashes tore the tail: the test file system is too kind", cuts, crashes)
	}
}

// The test above can fail: a log whose sync is left out loses records.
func TestForgetfulDiskForgets(t *testing.T) {
	lost := 0
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 9))
		d := newMemDisk()
		j := mustOpen(t, d, 1<<20)
		if _, err := j.append(randomPayloads(r, 3, 100), nil); err != nil {
			t.Fatal(err)
		}
		j.file = noSync{j.file}
		for range 10 {
			if _, err := j.append(randomPayloads(r, 3, 1000), nil); err != nil {
				t.Fatal(err)
			}
		}
		after, err := openJournal(d.crash(r), "/log", segmentOfLog, 1<<20)
		if err != nil || after.Last() < 33 {
			lost++
		}
	}
	if lost < 40 {
		t.Fatalf("%d of 50 logs without sync lost records", lost)
	}
}

type noSync struct{ diskFile }

func (noSync) Sync() error { return nil }

func TestFailedSyncIsFinal(t *testing.T) {
	d := newMemDisk()
	j := mustOpen(t, d, 1<<20)
	if _, err := j.append([][]byte{{1}}, nil); err != nil {
		t.Fatal(err)
	}
	d.failing, d.failAt = errors.New("input/output error"), d.ops
	if _, err := j.append([][]byte{{2}}, nil); err == nil {
		t.Fatal("a failed sync was taken for durable")
	}
	d.failing = nil
	if _, err := j.append([][]byte{{3}}, nil); !errors.Is(err, ErrBroken) {
		t.Fatalf("append after a failed sync = %v", err)
	}
	if j.Last() != 1 {
		t.Fatalf("Last = %d, want 1", j.Last())
	}
}

func buildLog(t testing.TB, clean bool) (*memDisk, [][]byte) {
	r := rand.New(rand.NewPCG(3, 3))
	d := newMemDisk()
	j := mustOpen(t, d, 3<<10)
	var truth [][]byte
	for range 30 {
		p := randomPayloads(r, 1+r.IntN(6), 200)
		if _, err := j.append(p, nil); err != nil {
			t.Fatal(err)
		}
		truth = append(truth, p...)
	}
	if clean {
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
	}
	return d, truth
}

// mutate changes one thing on the disk and says what.
func mutate(r *rand.Rand, d *memDisk) string {
	names := unionOf(d.names, nil)
	name := names[r.IntN(len(names))]
	n := d.names[name]
	at := r.IntN(len(n.data))
	switch r.IntN(8) {
	default:
		bit := byte(1) << r.IntN(8)
		n.data[at] ^= bit
		return fmt.Sprintf("flip bit %d of byte %d of %s", bit, at, name)
	case 2:
		n.data = n.data[:at]
		return fmt.Sprintf("cut %s at %d", name, at)
	case 3:
		end := min(len(n.data), at+1+r.IntN(2000))
		clear(n.data[at:end])
		return fmt.Sprintf("zero bytes %d to %d of %s", at, end, name)
	case 4:
		end := min(len(n.data), at+1+r.IntN(200))
		n.data = append(n.data[:at:at], n.data[end:]...)
		return fmt.Sprintf("take bytes %d to %d out of %s", at, end, name)
	case 5:
		delete(d.names, name)
		return "remove " + name
	case 6:
		other := names[r.IntN(len(names))]
		d.names[name], d.names[other] = d.names[other], n
		return fmt.Sprintf("swap %s and %s", name, other)
	case 7:
		junk := make([]byte, 1+r.IntN(600))
		for i := range junk {
			junk[i] = byte(r.Uint32())
		}
		n.data = append(n.data[:at:at], append(junk, n.data[at:]...)...)
		return fmt.Sprintf("put %d bytes into %s at %d", len(junk), name, at)
	}
}

// Ten thousand changes to a log: each gives an error that says what to run, or
// a prefix of the true records with the loss reported.
func TestMutationsAreDetected(t *testing.T) {
	refused, cut := 0, 0
	for _, clean := range []bool{true, false} {
		base, truth := buildLog(t, clean)
		for seed := range uint64(5000) {
			r := rand.New(rand.NewPCG(seed, 5))
			d := base.clone()
			what := mutate(r, d)
			j, err := openJournal(d, "/log", segmentOfLog, 3<<10)
			if err != nil {
				if !errors.Is(err, ErrDamaged) || !bytes.Contains([]byte(err.Error()), []byte("homeostat inspect --salvage")) {
					t.Fatalf("seed %d, %s: %v", seed, what, err)
				}
				refused++
				continue
			}
			got := contents(t, j, 0)
			if len(got) > len(truth) || !equal(got, truth[:len(got)]) {
				t.Fatalf("seed %d, %s: %d records that are no prefix of the %d true ones", seed, what, len(got), len(truth))
			}
			if len(got) < len(truth) {
				cut++
				if j.cut.Bytes == 0 && !j.cut.Tip && !cutsWholeFrames(base, d) {
					t.Fatalf("seed %d, %s: %d of %d records and no word of it", seed, what, len(got), len(truth))
				}
				if clean && !j.cut.Tip {
					t.Fatalf("seed %d, %s: a log that was closed lost %d records and opened", seed, what, len(truth)-len(got))
				}
			}
		}
	}
	t.Logf("%d refused, %d cut, %d without effect on the records", refused, cut, 10000-refused-cut)
	if refused < 5000 || cut < 100 {
		t.Fatalf("%d refused and %d cut of 10000: the mutations are too kind", refused, cut)
	}
}

// cutsWholeFrames says that the mutation cut the unclosed log exactly between
// two records, which nobody can tell from a crash before the append.
func cutsWholeFrames(base, d *memDisk) bool {
	for name, n := range d.names {
		was := base.names[name]
		if was == nil || len(n.data) >= len(was.data) || !bytes.Equal(n.data, was.data[:len(n.data)]) {
			continue
		}
		w := newWalk(&memFile{d, n}, segmentHead, int64(len(n.data)))
		for {
			if _, err := w.next(); err != nil {
				return w.at == w.size
			}
		}
	}
	return false
}

// Every byte of the log, one after the other: a flip is never unnoticed.
func TestEveryByteCounts(t *testing.T) {
	base, truth := buildLog(t, true)
	names := unionOf(base.names, nil)
	sort.Strings(names)
	for _, name := range names {
		for at := range base.names[name].data {
			d := base.clone()
			d.names[name].data[at] ^= 0x41
			j, err := openJournal(d, "/log", segmentOfLog, 3<<10)
			switch {
			case err != nil && !errors.Is(err, ErrDamaged):
				t.Fatalf("byte %d of %s: %v", at, name, err)
			case err == nil && !j.cut.Tip:
				t.Fatalf("byte %d of %s was flipped and the log opened", at, name)
			case err == nil && len(contents(t, j, 0)) != len(truth):
				t.Fatalf("byte %d of %s: records are missing", at, name)
			}
		}
	}
}

func TestDropKeepsTheRestReadable(t *testing.T) {
	d, truth := buildLog(t, true)
	j := mustOpen(t, d, 3<<10)
	first := j.segments[2].first
	if err := j.drop(2); err != nil {
		t.Fatal(err)
	}
	if j.First() != first || !equal(contents(t, j, 0), truth[first-1:]) {
		t.Fatalf("First = %d, want %d", j.First(), first)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	j = mustOpen(t, d, 3<<10)
	if j.First() != first || j.Last() != uint64(len(truth)) {
		t.Fatalf("after a start: %d to %d", j.First(), j.Last())
	}
	if err := j.drop(1); err != nil {
		t.Fatal(err)
	}
	// What retention did not take must be there.
	delete(d.names, filepath.Join("/log", j.segments[0].name))
	if _, err := openJournal(d, "/log", segmentOfLog, 3<<10); !errors.Is(err, ErrDamaged) {
		t.Fatalf("a missing segment: %v", err)
	}
}

func TestOversizeRecordIsRefused(t *testing.T) {
	j := mustOpen(t, newMemDisk(), 1<<20)
	if _, err := j.append([][]byte{make([]byte, maxPayload+1)}, nil); err == nil {
		t.Fatal("a record beyond the bound was taken")
	}
}
