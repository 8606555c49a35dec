//go:build e2e && linux

package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestE2EFullDisk fills a real file system of 256 MiB: nothing dies, batches are
// refused, and it goes on by itself when there is room. It needs root.
func TestE2EFullDisk(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=256m"); err != nil {
		t.Fatalf("mount a tmpfs (as root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	dir := filepath.Join(mount, "data")
	cfg := Config{MinFreeBytes: 16 << 20, BallastBytes: 8 << 20, SegmentBytes: 1 << 20}
	s := open(t, dir, cfg)
	pages := checkpoint(4000)
	passes := 0
	admitted := func() error {
		for range askEvery - 1 {
			if err := s.Admit(); err != nil {
				return err
			}
		}
		return s.Admit()
	}
	for admitted() == nil {
		if passes++; passes > 1000 {
			break // the value log's garbage is collected: the store alone never fills it
		}
		fill(t, s, 50)
		if err := s.WritePages(s.Last(), pages); err != nil {
			if errors.Is(err, ErrNoSpace) {
				break
			}
			t.Fatal(err)
		}
		sweeps(t, s)
	}
	st := s.Stats()
	t.Logf("%d passes, %d MiB free, %+v", passes, st.FreeBytes>>20, st)
	// A stranger takes all the rest but little.
	filler := filepath.Join(mount, "filler")
	stuff(t, filler, osDisk{}, mount, 3<<20)
	if err := s.Admit(); !errors.Is(err, ErrNoSpace) {
		if err = admitted(); !errors.Is(err, ErrNoSpace) {
			t.Fatalf("on a full disk: %v", err)
		}
	}
	for range 50 {
		if err := s.WritePages(s.Last(), pages); err != nil && !errors.Is(err, ErrNoSpace) {
			t.Fatal(err)
		}
	}
	if !s.Stats().Refusing || s.Stats().BallastGiven == 0 {
		t.Fatalf("%+v", s.Stats())
	}
	last := s.Last()
	closed(t, s)
	if _, err := Open(dir, cfg); !errors.Is(err, ErrNoSpace) {
		t.Logf("a start on the full disk: %v", err)
		if err == nil {
			t.Fatal("a start on a full disk, which Badger may die of, was let happen")
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, cfg)
	if s.Last() != last {
		t.Fatalf("Last = %d, was %d", s.Last(), last)
	}
	if err := admitted(); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	fill(t, s, 50)
	if err := s.WritePages(s.Last(), pages); err != nil {
		t.Fatal(err)
	}
	closed(t, s)
}

// stuff writes a file until only so many bytes are free.
func stuff(t *testing.T, name string, d disk, dir string, leave uint64) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for {
		free, err := d.Free(dir)
		if err != nil {
			t.Fatal(err)
		}
		if free <= leave {
			return
		}
		if _, err := f.Write(block); err != nil {
			return
		}
	}
}
