package store

import (
	"io"
	"os"
	"path/filepath"
	"sort"
)

// disk is what the log needs of a file system. Tests put one beneath it that
// forgets what was not synced.
type disk interface {
	OpenFile(name string, flag int) (diskFile, error)
	Rename(from, to string) error
	Remove(name string) error
	// List is the names of the files in a directory, sorted.
	List(dir string) ([]string, error)
	MkdirAll(dir string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
	// Free is what an ordinary process may still write, in bytes.
	Free(dir string) (uint64, error)
}

// diskFile is a file of a disk.
type diskFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	// Sync makes the contents durable. When it fails nobody knows what is on
	// disk, and a second call may succeed without having written anything: so
	// it is never called again after an error.
	Sync() error
	Size() (int64, error)
	// Allocate reserves room for size bytes, which later writes cannot lack.
	Allocate(size int64) error
}

// osDisk is the file system of the machine.
type osDisk struct{}

func (osDisk) OpenFile(name string, flag int) (diskFile, error) {
	f, err := os.OpenFile(name, flag, 0o640)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osDisk) Rename(from, to string) error { return os.Rename(from, to) }
func (osDisk) Remove(name string) error     { return os.Remove(name) }
func (osDisk) MkdirAll(dir string) error    { return os.MkdirAll(dir, 0o750) }

func (osDisk) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	sort.Strings(names)
	return names, nil
}

func (osDisk) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// readFile is the whole of a file.
func readFile(d disk, name string) ([]byte, error) {
	f, err := d.OpenFile(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if m, err := f.ReadAt(b, 0); int64(m) < n {
		return nil, err
	}
	return b, nil
}

// writeFile puts a file in place at once: a crash leaves the old one or the new
// one, whole.
func writeFile(d disk, name string, b []byte) error {
	tmp := name + ".tmp"
	f, err := d.OpenFile(tmp, os.O_CREATE|os.O_RDWR|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := d.Rename(tmp, name); err != nil {
		return err
	}
	return d.SyncDir(filepath.Dir(name))
}

func zeroFill(w io.WriterAt, size int64) error {
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := w.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
	}
	return nil
}
