package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/models"
)

const tailStart = 1_700_000_000_000

// tailOf are points of some series, a second apart.
func tailOf(from, n int) []engine.TailPoint {
	var naming engine.Naming
	out := make([]engine.TailPoint, n)
	for i := range out {
		k := from + i
		s := naming.NewSeries(labels.FromStrings("__name__", "m", "job", "api", "instance", fmt.Sprint(k%7)), engine.TypeGauge)
		out[i] = engine.TailPoint{
			Series: s, Slot: uint32(k % 7), Interval: 15, At: tailStart + int64(k)*1000, Score: models.Score(130 + k%500),
			Base: 315, Open: 314, Close: 157, NumParts: 3, Parts: [4]uint8{uint8(k), uint8(k >> 8), 1}, Before: uint8(k % 6), Up: k%2 == 0,
		}
	}
	return out
}

// key tells points apart.
func key(p *engine.TailPoint) string {
	q := *p
	q.Series = nil
	return fmt.Sprintf("%v %+v", p.Series.ID, q)
}

func keys(points []engine.TailPoint) []string {
	var out []string
	for i := range points {
		out = append(out, key(&points[i]))
	}
	return out
}

// memTail opens a tail log on a disk in memory.
func memTail(t testing.TB, d disk, bytes int64) *Tail {
	t.Helper()
	tail, err := openTail(Config{disk: d, TailBytes: bytes, TailAge: 30 * 24 * time.Hour}, "/", func() bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tail.close)
	return tail
}

// scanned is everything in a tail log.
func scanned(t testing.TB, tail *Tail, from, to int64, wanted func(*engine.Series) bool) ([]string, engine.TailReport) {
	t.Helper()
	var got []string
	rep, err := tail.Scan(from, to, wanted, func(p *engine.TailPoint) error {
		got = append(got, key(p))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, rep
}

func TestWhatTheTailKeepsIsReadBack(t *testing.T) {
	d := newMemDisk()
	want := tailOf(0, 3000)
	tail := memTail(t, d, 1<<20)
	for i := 0; i < 2000; i += 10 {
		tail.Keep(want[i].At, want[i:i+10])
	}
	got, rep := scanned(t, tail, 0, 0, nil)
	if !slices.Equal(got, keys(want[:2000])) || len(rep.Gaps) != 0 || rep.Lost != 0 {
		t.Fatalf("%d points came back, %+v", len(got), rep)
	}
	tail.close()
	// A restart goes on in a segment of its own, and nothing is missing.
	tail = memTail(t, d, 1<<20)
	for i := 2000; i < 3000; i += 10 {
		tail.Keep(want[i].At, want[i:i+10])
	}
	got, rep = scanned(t, tail, 0, 0, nil)
	if !slices.Equal(got, keys(want)) || len(rep.Gaps) != 0 || rep.Segments != 2 {
		t.Fatalf("after a restart %d points came back, %+v", len(got), rep)
	}
	if st := tail.Stats(); st.Gaps != 0 || st.Points != 1000 || st.From != tailStart {
		t.Errorf("%+v", st)
	}
	if rep.From != tailStart || rep.To != want[2999].At || rep.Points != 3000 || float64(rep.Bytes)/3000 > 17 {
		t.Errorf("%+v", rep)
	}
	series := want[4].Series.ID
	got, _ = scanned(t, tail, want[100].At, want[200].At, func(s *engine.Series) bool { return s.ID == series })
	for _, p := range want[100:201] {
		if p.Series.ID != series {
			continue
		}
		if len(got) == 0 || got[0] != key(&p) {
			t.Fatalf("of one series, for a while: %v", got)
		}
		got = got[1:]
	}
	if len(got) > 0 {
		t.Fatalf("too much: %v", got)
	}
}

// stuckDisk is a disk whose writes wait for a gate.
type stuckDisk struct {
	*memDisk
	gate chan struct{}
}

type stuckFile struct {
	diskFile
	gate chan struct{}
}

func (d stuckDisk) OpenFile(name string, flag int) (diskFile, error) {
	f, err := d.memDisk.OpenFile(name, flag)
	return stuckFile{f, d.gate}, err
}

func (f stuckFile) WriteAt(b []byte, at int64) (int, error) {
	<-f.gate
	return f.diskFile.WriteAt(b, at)
}

// The loop keeps points while the disk hangs: none of them waits, what finds no
// room is counted, and a reader is told how much is missing and where.
func TestATailNeverWaitsForTheDisk(t *testing.T) {
	d := stuckDisk{newMemDisk(), make(chan struct{})}
	tail := memTail(t, d, 1<<20)
	all := tailOf(0, 100_000)
	for i := 0; i < len(all); i += 10 {
		tail.Keep(all[i].At, all[i:i+10])
		if i == len(all)*9/10 {
			close(d.gate)
			tail.flush()
		}
	}
	got, rep := scanned(t, tail, 0, 0, nil)
	st := tail.Stats()
	if st.Lost == 0 || st.Gaps == 0 || st.Points+st.Lost != uint64(len(all)) {
		t.Fatalf("%+v of %d points", st, len(all))
	}
	if uint64(len(got)) != st.Points || rep.Lost != st.Lost || len(rep.Gaps) == 0 {
		t.Fatalf("%d points were read, %+v, kept were %+v", len(got), rep, st)
	}
	known := map[string]bool{}
	for _, k := range keys(all) {
		known[k] = true
	}
	for _, k := range got {
		if !known[k] {
			t.Fatalf("%s was never kept", k)
		}
	}
	if g := rep.Gaps[0]; g.Points == 0 || g.After == 0 || g.Before <= g.After || g.Damage {
		t.Errorf("the gap is %+v", g)
	}
}

// failDisk is a disk without room for a while.
type failDisk struct {
	*memDisk
	full *bool
}

type failFile struct {
	diskFile
	full *bool
}

func (d failDisk) OpenFile(name string, flag int) (diskFile, error) {
	f, err := d.memDisk.OpenFile(name, flag)
	return failFile{f, d.full}, err
}

func (f failFile) WriteAt(b []byte, at int64) (int, error) {
	if *f.full {
		return 0, errors.New("no space left on device")
	}
	return f.diskFile.WriteAt(b, at)
}

// A disk that is full stops no one: points are counted as lost, and a minute
// after there is room they are kept again.
func TestATailOutlivesAFullDisk(t *testing.T) {
	full := false
	tail := memTail(t, failDisk{newMemDisk(), &full}, 1<<20)
	all := tailOf(0, 600)
	for i := range all {
		if i == 200 || i == 300 {
			tail.flush() // so that the flag is not read meanwhile
			full = i == 200
		}
		tail.Keep(all[i].At, all[i:i+1])
	}
	got, rep := scanned(t, tail, 0, 0, nil)
	st := tail.Stats()
	if !slices.Equal(got[:200], keys(all[:200])) || !slices.Contains(got, key(&all[599])) {
		t.Fatalf("%d points came back", len(got))
	}
	if st.Lost < 100 || st.Lost > 100+2*tailRetry/1000 || st.Points+st.Lost != 600 || rep.Lost != st.Lost || uint64(len(got)) != st.Points {
		t.Fatalf("%+v, and read %d: %+v", st, len(got), rep)
	}
}

// A crash takes the last seconds, and a reader sees it.
func TestACrashOfTheTailIsAGap(t *testing.T) {
	d := newMemDisk()
	tail := memTail(t, d, 1<<20)
	all := tailOf(0, 1000)
	for i := range all {
		tail.Keep(all[i].At, all[i:i+1])
	}
	tail.flush()
	for range 20 {
		tail.Keep(all[999].At, nil)
	}
	// What the process still held is gone; what it wrote is on disk.
	next := memTail(t, d.clone(), 1<<20)
	if st := next.Stats(); st.Gaps != 1 {
		t.Errorf("after a crash: %+v", st)
	}
	more := tailOf(2000, 10)
	next.Keep(more[0].At, more)
	got, rep := scanned(t, next, 0, 0, nil)
	if !slices.Equal(got, append(keys(all), keys(more)...)) {
		t.Fatalf("%d points came back", len(got))
	}
	if len(rep.Gaps) != 1 || rep.Gaps[0].Damage || rep.Gaps[0].After != all[999].At || rep.Gaps[0].Before != more[0].At {
		t.Fatalf("%+v", rep.Gaps)
	}
}

func TestATailKeepsToItsCapAndItsAge(t *testing.T) {
	tail := memTail(t, newMemDisk(), minTailBytes)
	all := tailOf(0, 7)
	const day = 24 * 3600 * 1000
	for n := range 20_000 {
		for i := range all {
			all[i].At = tailStart + int64(n)*1000
		}
		tail.Keep(all[0].At, all)
		if n%1000 == 0 {
			tail.flush()
		}
	}
	if st := tail.Stats(); st.Bytes > minTailBytes || st.Bytes < minTailBytes/2 || st.Lost != 0 || st.From == tailStart {
		t.Errorf("beyond its cap: %+v", st)
	}
	// Within the cap, the age decides.
	aged := memTail(t, newMemDisk(), 64<<20)
	for days := range 100 {
		for i := range all {
			all[i].At = tailStart + int64(days)*day
		}
		aged.Keep(all[0].At, all)
		aged.filling.Lock()
		aged.fresh = true // a segment a day
		aged.filling.Unlock()
		aged.flush()
	}
	if st := aged.Stats(); st.Segments > 33 || st.Segments < 31 || st.From < tailStart+67*day {
		t.Errorf("beyond its age: %+v", st)
	}
}

// Any byte of a segment flipped or cut is a gap or nothing, never a panic and
// never a point that was not kept.
func TestARottenTailMisleadsNobody(t *testing.T) {
	d := newMemDisk()
	tail := memTail(t, d, 1<<20)
	all := tailOf(0, 500)
	for i := range all {
		tail.Keep(all[i].At, all[i:i+1])
	}
	tail.close()
	known := map[string]bool{}
	for _, k := range keys(all) {
		known[k] = true
	}
	name := "/tail/" + segmentName(1)
	whole := d.names[name].data
	r := rand.New(rand.NewPCG(5, 5))
	for n := range 2000 {
		rotten := append([]byte(nil), whole...)
		if n%3 == 0 {
			rotten = rotten[:r.IntN(len(rotten))]
		} else {
			rotten[r.IntN(len(rotten))] ^= byte(1 + r.IntN(255))
		}
		at := newMemDisk()
		at.names[name] = &inode{data: rotten}
		s := tailScan{disk: at, dir: "/tail", fn: func(p *engine.TailPoint) error {
			if !known[key(p)] {
				t.Fatalf("mutation %d: %s was never kept", n, key(p))
			}
			return nil
		}}
		if err := s.run([]tailSegment{{name: name[len("/tail/"):]}}, 0); err != nil && !errors.Is(err, ErrNewer) {
			t.Fatalf("mutation %d: %v", n, err)
		} else if err == nil && len(s.Gaps) == 0 && s.Points != uint64(len(all)) {
			t.Fatalf("mutation %d: %d points, and no gap is told of", n, s.Points)
		}
	}
}

// FuzzTail reads any bytes as the one segment of a tail log.
func FuzzTail(f *testing.F) {
	d := newMemDisk()
	tail := memTail(f, d, 1<<20)
	for _, p := range tailOf(0, 30) {
		tail.Keep(p.At, []engine.TailPoint{p})
	}
	tail.close()
	whole := d.names["/tail/"+segmentName(1)].data
	f.Add(whole)
	f.Add(whole[:len(whole)-7])
	f.Add(whole[:segmentHead])
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newMemDisk()
		d.names["/tail/"+segmentName(1)] = &inode{data: b}
		s := tailScan{disk: d, dir: "/tail", fn: func(*engine.TailPoint) error { return nil }}
		if err := s.run([]tailSegment{{name: segmentName(1)}}, 0); err != nil && !errors.Is(err, ErrNewer) {
			t.Fatal(err)
		}
		tail, err := openTail(Config{disk: d, TailBytes: 1 << 20}, "/", func() bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		p := tailOf(5, 1)
		tail.Keep(p[0].At, p)
		tail.close()
		found := false
		s = tailScan{disk: d, dir: "/tail", fn: func(q *engine.TailPoint) error {
			found = found || key(q) == key(&p[0])
			return nil
		}}
		names, err := tailNames(d, "/tail")
		if err != nil {
			t.Fatal(err)
		}
		var segments []tailSegment
		for _, name := range names {
			segments = append(segments, tailSegment{name: name})
		}
		if err := s.run(segments, 0); err != nil && !errors.Is(err, ErrNewer) {
			t.Fatal(err)
		} else if err == nil && !found {
			t.Fatal("what was kept behind it is not found")
		}
	})
}

// tailFixture is a tail log of version 1.
const tailFixture = "testdata/tail-v1"

func TestTailVersion1IsRead(t *testing.T) {
	want := tailOf(0, 200)
	if *rewrite {
		if err := os.RemoveAll(tailFixture); err != nil {
			t.Fatal(err)
		}
		tail, err := openTail(Config{disk: osDisk{}, TailBytes: 1 << 20}.withDefaults(), tailFixture, func() bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			tail.Keep(want[i].At, want[i:i+1])
		}
		tail.close()
	}
	var got []string
	rep, err := ReadTail(tailFixture, 0, 0, nil, func(p *engine.TailPoint) error {
		got = append(got, key(p))
		return nil
	})
	if err != nil || !slices.Equal(got, keys(want)) || len(rep.Gaps) != 0 {
		t.Fatalf("%v: %d points, %+v", err, len(got), rep)
	}
	names, err := filepath.Glob(tailFixture + "/tail/*.log")
	if err != nil || len(names) != 1 {
		t.Fatalf("%v, %v", names, err)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	if each := float64(len(b)) / 200; each > 30 {
		t.Errorf("%.1f bytes a point in a small file", each)
	}
	if rep, err := ReadTail(t.TempDir(), 0, 0, nil, nil); err != nil || rep.Points != 0 {
		t.Errorf("a store without a tail log: %+v, %v", rep, err)
	}
}

// A store keeps its tail log beside the log; inspect tells of it, and salvage
// copies it.
func TestInspectAndSalvageKnowTheTail(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Config{})
	all := tailOf(0, 500)
	s.Tail().Keep(all[0].At, all)
	closed(t, s)
	rep, err := Inspect(dir)
	if err != nil || !rep.Sound() || rep.Tail.Points != 500 || len(rep.Tail.Gaps) != 0 {
		t.Fatalf("%v: %+v", err, rep.Tail)
	}
	var text strings.Builder
	if err := rep.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if want := "tail log: 500 points from 2023-11-14T22:13:20Z to 2023-11-14T22:21:39Z, in 1 blocks of 1 segments"; !strings.Contains(text.String(), want) {
		t.Errorf("%q is not in\n%s", want, text.String())
	}
	out := filepath.Join(t.TempDir(), "out")
	if rep, err = Salvage(dir, out); err != nil || rep.Tail.Points != 500 {
		t.Fatalf("%v: %+v", err, rep.Tail)
	}
	var got []string
	if _, err := ReadTail(out, 0, 0, nil, func(p *engine.TailPoint) error {
		got = append(got, key(p))
		return nil
	}); err != nil || !slices.Equal(got, keys(all)) {
		t.Fatalf("%v: %d points of the copy", err, len(got))
	}
	name := filepath.Join(tailDir(dir), segmentName(1))
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[segmentHead+100] ^= 1
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if rep, err = Inspect(dir); err != nil || rep.Sound() || !rep.Tail.Damaged() {
		t.Fatalf("%v: a flipped bit is not told of: %+v", err, rep.Tail)
	}
	none := open(t, t.TempDir(), Config{TailBytes: -1})
	defer none.Close()
	if none.Tail() != nil {
		t.Error("there is a tail log where none was asked for")
	}
}
