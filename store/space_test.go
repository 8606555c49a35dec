package store

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
)

// fakeSpace is the machine's disk with a free space of our own.
type fakeSpace struct {
	osDisk
	free *atomic.Uint64
	fail *atomic.Bool
}

func (d fakeSpace) Free(string) (uint64, error) {
	if d.fail.Load() {
		return 0, errors.New("statfs: input/output error")
	}
	return d.free.Load(), nil
}

func (d fakeSpace) Remove(name string) error {
	err := d.osDisk.Remove(name)
	if err == nil {
		d.free.Add(ballast)
	}
	return err
}

const (
	mib     = 1 << 20
	ballast = 8 * mib
)

func newFakeSpace(free uint64) fakeSpace {
	d := fakeSpace{free: new(atomic.Uint64), fail: new(atomic.Bool)}
	d.free.Store(free)
	return d
}

func asked(s *Store) error {
	var err error
	for range askEvery {
		err = s.Admit()
	}
	return err
}

func TestAFullDiskIsSeenBeforeItIsFull(t *testing.T) {
	d := newFakeSpace(1000 * mib)
	s := open(t, t.TempDir(), Config{MinFreeBytes: 200 * mib, BallastBytes: ballast, disk: d})
	defer s.Close()
	if err := asked(s); err != nil || !s.Stats().BallastHeld {
		t.Fatalf("with room: %v, %+v", err, s.Stats())
	}
	d.free.Store(199 * mib)
	if err := asked(s); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("below the limit: %v", err)
	}
	// A little more than the limit is not enough: the answer must not flap.
	d.free.Store(210 * mib)
	if err := s.Admit(); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("just above the limit: %v", err)
	}
	d.free.Store(226 * mib)
	if err := s.Admit(); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	// Others go on writing: at a quarter the ballast is given up, and what is
	// under way can end.
	d.free.Store(45 * mib)
	if err := asked(s); !errors.Is(err, ErrNoSpace) || s.Stats().BallastHeld || s.Stats().BallastGiven != 1 {
		t.Fatalf("at a quarter of the limit: %v, %+v", err, s.Stats())
	}
	fill(t, s, 10)
	if err := s.WritePages(s.Last(), []loop.Page{{Bytes: []byte("page")}}); err != nil {
		t.Fatalf("the last checkpoint: %v", err)
	}
	if err := s.WriteSettle(s.Last(), []byte("settle")); err != nil {
		t.Fatal(err)
	}
	d.free.Store(1000 * mib)
	if err := asked(s); err != nil || !s.Stats().BallastHeld {
		t.Fatalf("after: %v, %+v", err, s.Stats())
	}
}

// TestMinFreeBytesChangesWhileItRuns raises the floor above what is free and
// lowers it again.
func TestMinFreeBytesChangesWhileItRuns(t *testing.T) {
	d := newFakeSpace(1000 * mib)
	s := open(t, t.TempDir(), Config{MinFreeBytes: 200 * mib, BallastBytes: -1, disk: d})
	defer s.Close()
	if err := s.Admit(); err != nil {
		t.Fatalf("with room: %v", err)
	}
	if err := s.SetMinFreeBytes(2000 * mib); err != nil {
		t.Fatal(err)
	}
	if err := s.Admit(); !errors.Is(err, ErrNoSpace) {
		t.Errorf("under the raised floor: %v", err)
	}
	if err := s.SetMinFreeBytes(-1); err == nil {
		t.Error("a negative floor was accepted")
	}
	if err := s.SetMinFreeBytes(200 * mib); err != nil {
		t.Fatal(err)
	}
	if err := s.Admit(); err != nil {
		t.Errorf("above the lowered floor: %v", err)
	}
}

func TestPagesAreRefusedBeforeTheDiskIsFull(t *testing.T) {
	d := newFakeSpace(1000 * mib)
	s := open(t, t.TempDir(), Config{MinFreeBytes: 1, BallastBytes: ballast, disk: d})
	defer s.Close()
	page := []loop.Page{{ID: engine.PageID{Partition: 1}, Bytes: []byte("one")}}
	if err := s.WritePages(0, page); err != nil {
		t.Fatal(err)
	}
	d.free.Store(10 * mib)
	// The ballast's 8 MiB are the difference.
	if err := s.WritePages(0, page); err != nil || s.Stats().BallastGiven != 1 {
		t.Fatalf("with the ballast: %v", err)
	}
	d.free.Store(10 * mib)
	if err := s.WritePages(0, page); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("on a full disk: %v", err)
	}
	if err := s.WriteSettle(0, []byte("x")); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("on a full disk: %v", err)
	}
	if err := s.Admit(); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("the next batch: %v", err)
	}
	d.free.Store(1000 * mib)
	if err := s.WritePages(0, page); err != nil {
		t.Fatalf("with room again: %v", err)
	}
}

func TestTheNextCheckpointCounts(t *testing.T) {
	d := newFakeSpace(1000 * mib)
	s := open(t, t.TempDir(), Config{MinFreeBytes: 1, BallastBytes: -1, disk: d})
	defer s.Close()
	var out []loop.Page
	for n := range uint32(100) {
		out = append(out, loop.Page{ID: engine.PageID{Number: n}, Bytes: make([]byte, 64<<10)})
	}
	if err := s.WritePages(0, out); err != nil {
		t.Fatal(err)
	}
	want := uint64(valueLogFile + 2*100*(64<<10+pageHead))
	if got := s.Stats().NeedBytes; got != want {
		t.Fatalf("needs %d bytes, want %d", got, want)
	}
	d.free.Store(want - 1)
	if err := asked(s); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("a byte below: %v", err)
	}
}

func TestADiskThatCannotBeAskedIsFull(t *testing.T) {
	d := newFakeSpace(1000 * mib)
	s := open(t, t.TempDir(), Config{MinFreeBytes: 1, BallastBytes: -1, disk: d})
	defer s.Close()
	d.fail.Store(true)
	if err := asked(s); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("Admit = %v", err)
	}
	d.fail.Store(false)
	if err := s.Admit(); err != nil {
		t.Fatalf("Admit = %v", err)
	}
}

func TestAStartOnAFullDiskSaysSo(t *testing.T) {
	d := newFakeSpace(20 * mib)
	if _, err := Open(t.TempDir(), Config{disk: d}); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("Open = %v", err)
	}
}

func TestAdmitAsksTheDiskSeldom(t *testing.T) {
	d := newFakeSpace(1000 * mib)
	s := open(t, t.TempDir(), Config{MinFreeBytes: 1, disk: d})
	defer s.Close()
	if err := errors.Join(asked(s), s.Admit()); err != nil {
		t.Fatal(err)
	}
	d.free.Store(0)
	no := 0
	for range askEvery {
		if s.Admit() != nil {
			no++
		}
	}
	if no != 1 {
		t.Fatalf("%d of %d calls saw it", no, askEvery)
	}
}
