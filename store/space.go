package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

const (
	// askEvery is how many calls of Admit share one look at the disk.
	askEvery = 16
	// pageFloor is what a write of pages leaves free: the keys' tables and the
	// sectors of the log.
	pageFloor = 16 << 20
	// openFloor is what Badger needs to open without dying.
	openFloor = 32 << 20

	ballastName = "BALLAST"
)

// space is the guard of the free space. Badger writes through memory maps: on a
// full disk the kernel kills the process, so that one must never come to it.
type space struct {
	disk    disk
	dir     string
	least   atomic.Uint64
	ballast int64
	next    func() int64 // bytes of the next checkpoint

	asked atomic.Uint64
	full  atomic.Bool

	mu       sync.Mutex
	held     bool   // the ballast is there
	free     uint64 // when last asked
	releases int
	refused  atomic.Uint64
}

// need is the free space below which nothing is taken in: room for the next
// checkpoint, its older twin and a value-log file that is being rewritten.
func (g *space) need() uint64 {
	return max(g.least.Load(), 2*uint64(g.next())+valueLogFile)
}

// admit says ErrNoSpace while there is too little. Between two looks at the
// disk it answers from memory; while it refuses it looks each time.
func (g *space) admit() error {
	full := g.full.Load()
	if full || g.asked.Add(1)%askEvery == 1 {
		g.look()
		full = g.full.Load()
	}
	if full {
		g.refused.Add(1)
		return fmt.Errorf("%w: %s needs %d MiB free", ErrNoSpace, g.dir, g.need()>>20)
	}
	return nil
}

// look asks the disk. To resume takes an eighth more than to go on, so that the
// answer does not flap. A disk that cannot be asked counts as full: unknown
// means hold.
func (g *space) look() {
	g.mu.Lock()
	defer g.mu.Unlock()
	free, err := g.disk.Free(g.dir)
	if err != nil {
		g.full.Store(true)
		return
	}
	need := g.need()
	limit := need
	if g.full.Load() {
		limit += need / 8
	}
	g.full.Store(free < limit)
	switch {
	case free < need/4 && g.held:
		g.release()
		if free, err = g.disk.Free(g.dir); err != nil {
			return
		}
	case !g.held && g.ballast > 0 && free >= need+need/8+uint64(g.ballast):
		g.load()
	}
	g.free = free
}

// room says whether bytes of pages may be written. Below the floor the ballast
// goes first.
func (g *space) room(bytes int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	want := 2*uint64(bytes) + pageFloor
	free, err := g.disk.Free(g.dir)
	if err == nil && free < want && g.held {
		g.release()
		free, err = g.disk.Free(g.dir)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrNoSpace, g.dir, err)
	}
	if free < want {
		g.full.Store(true)
		return fmt.Errorf("%w: %d MiB free in %s, a write of pages needs %d MiB", ErrNoSpace, free>>20, g.dir, want>>20)
	}
	return nil
}

// toRewrite says whether there is room to rewrite a value-log file.
func (g *space) toRewrite() bool {
	free, err := g.disk.Free(g.dir)
	return err == nil && free > valueLogFile+pageFloor
}

// toOpen makes sure that Badger can open.
func (g *space) toOpen() error {
	free, err := g.disk.Free(g.dir)
	if err != nil {
		return fmt.Errorf("store: free space of %s: %w", g.dir, err)
	}
	if free < openFloor {
		g.release()
		if free, err = g.disk.Free(g.dir); err != nil {
			return fmt.Errorf("store: free space of %s: %w", g.dir, err)
		}
	}
	if free < openFloor {
		return fmt.Errorf("%w: %d MiB free in %s, a start needs %d MiB", ErrNoSpace, free>>20, g.dir, openFloor>>20)
	}
	return nil
}

// load takes the ballast on. That it fails is no harm: it is room to spare.
func (g *space) load() {
	name := filepath.Join(g.dir, ballastName)
	f, err := g.disk.OpenFile(name, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return
	}
	err = f.Allocate(g.ballast)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		g.disk.Remove(name)
		return
	}
	g.held = true
}

// release gives the ballast's room back, to the log and the last checkpoint.
func (g *space) release() {
	err := g.disk.Remove(filepath.Join(g.dir, ballastName))
	if err == nil {
		g.releases++
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		g.held = false
	}
}
