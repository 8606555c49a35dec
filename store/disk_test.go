package store

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"sync"
)

var errCrash = errors.New("the machine stopped")

// memDisk is a file system in memory that forgets, at a crash, what was not
// synced: sectors of 512 bytes each by its own luck, lengths, and names in
// directories.
type memDisk struct {
	mu      sync.Mutex
	names   map[string]*inode // as a running program sees them
	durable map[string]*inode // as they are on the platter
	free    uint64
	ops     int
	crashAt int   // the operation that finds the machine dead, 0 for never
	failing error // what Sync of a file answers
	failAt  int   // the operation at which failing begins
}

type inode struct {
	data, durable []byte
}

func newMemDisk() *memDisk {
	return &memDisk{names: map[string]*inode{}, durable: map[string]*inode{}, free: 1 << 40}
}

func (d *memDisk) step() error {
	d.ops++
	if d.crashAt > 0 && d.ops >= d.crashAt {
		return errCrash
	}
	return nil
}

// crash is the disk that the next start finds.
func (d *memDisk) crash(r *rand.Rand) *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := newMemDisk()
	seen := map[*inode]*inode{}
	for _, name := range unionOf(d.names, d.durable) {
		n := d.durable[name]
		if now := d.names[name]; now != n && r.IntN(2) == 0 {
			n = now
		}
		if n == nil {
			continue
		}
		if seen[n] == nil {
			b := n.survivor(r)
			seen[n] = &inode{data: b, durable: append([]byte(nil), b...)}
		}
		after.names[name], after.durable[name] = seen[n], seen[n]
	}
	return after
}

func unionOf(a, b map[string]*inode) []string {
	var names []string
	for n := range a {
		names = append(names, n)
	}
	for n := range b {
		if _, ok := a[n]; !ok {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	return names
}

func (n *inode) survivor(r *rand.Rand) []byte {
	out := make([]byte, max(len(n.data), len(n.durable)))
	copy(out, n.durable)
	size := len(n.durable)
	for at := 0; at < len(out); at += sectorSize {
		end := min(at+sectorSize, len(out))
		if at < len(n.data) && r.IntN(3) > 0 {
			now := make([]byte, end-at)
			copy(now, n.data[at:])
			if string(now) != string(out[at:end]) {
				copy(out[at:end], now)
				size = max(size, min(end, len(n.data)))
			}
		}
	}
	if len(n.data) > size {
		size += r.IntN(len(n.data) - size + 1)
	}
	return out[:size]
}

func (d *memDisk) clone() *memDisk {
	c := newMemDisk()
	for name, n := range d.names {
		i := &inode{data: append([]byte(nil), n.data...), durable: append([]byte(nil), n.data...)}
		c.names[name], c.durable[name] = i, i
	}
	return c
}

func (d *memDisk) OpenFile(name string, flag int) (diskFile, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return nil, err
	}
	n := d.names[name]
	switch {
	case n == nil && flag&os.O_CREATE == 0:
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	case n != nil && flag&os.O_EXCL != 0:
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrExist}
	case n == nil:
		n = &inode{}
		d.names[name] = n
	case flag&os.O_TRUNC != 0:
		n.data = nil
	}
	return &memFile{d, n}, nil
}

func (d *memDisk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	d.names[to] = d.names[from]
	delete(d.names, from)
	return nil
}

func (d *memDisk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	if d.names[name] == nil {
		return &os.PathError{Op: "remove", Path: name, Err: os.ErrNotExist}
	}
	delete(d.names, name)
	return nil
}

func (d *memDisk) List(dir string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return nil, err
	}
	var names []string
	for n := range d.names {
		if filepath.Dir(n) == dir {
			names = append(names, filepath.Base(n))
		}
	}
	sort.Strings(names)
	return names, nil
}

func (d *memDisk) MkdirAll(string) error { return nil }

func (d *memDisk) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	for _, name := range unionOf(d.names, d.durable) {
		if filepath.Dir(name) != dir {
			continue
		}
		if n := d.names[name]; n != nil {
			d.durable[name] = n
		} else {
			delete(d.durable, name)
		}
	}
	return nil
}

func (d *memDisk) Free(string) (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.free, nil
}

type memFile struct {
	disk *memDisk
	node *inode
}

func (f *memFile) ReadAt(b []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if at >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.node.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(b []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	err := f.disk.step()
	// A write that finds the machine dead may have reached the disk all the same.
	if grow := at + int64(len(b)) - int64(len(f.node.data)); grow > 0 {
		f.node.data = append(f.node.data, make([]byte, grow)...)
	}
	copy(f.node.data[at:], b)
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

func (f *memFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step(); err != nil {
		return err
	}
	if size <= int64(len(f.node.data)) {
		f.node.data = append([]byte(nil), f.node.data[:size]...)
	} else {
		f.node.data = append(f.node.data, make([]byte, size-int64(len(f.node.data)))...)
	}
	return nil
}

func (f *memFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step(); err != nil {
		return err
	}
	if f.disk.failing != nil && f.disk.ops >= f.disk.failAt {
		return f.disk.failing
	}
	f.node.durable = append([]byte(nil), f.node.data...)
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return int64(len(f.node.data)), nil
}

func (f *memFile) Allocate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if uint64(size) > f.disk.free {
		return errors.New("no space left on device")
	}
	f.disk.free -= uint64(size)
	return nil
}

func (f *memFile) Close() error { return nil }
