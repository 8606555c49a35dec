package history

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"container/heap"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"github.com/homeostat/homeostat/engine"
)

// Replay reads files and yields their events in order of time.
type Replay struct {
	*pace
	files  []*file
	heads  []string
	merge  merged
	series int
}

// file is one file that is being read, or a folder of blocks.
type file struct {
	path    string
	name    string // the series' service
	closer  io.Closer
	release func() // what unpacks it; nil when nothing is to be released
	size    int64
	read    atomic.Int64 // of the bytes on disk
	sorts   bool         // it is read to its end before its first row
	yielded atomic.Int64 // if so: the part of size whose rows were given
	skipped atomic.Uint64
	rows    rows
	ahead   row
	place   int // among the paths, to order what is of one time
}

// Open opens the files of a replay. A file whose first line says so, with a
// comment or a sample, is OpenMetrics; the others are CSV; gzip and zstd are
// unpacked on the way. A folder is a block of a Prometheus' database, or holds such blocks.
// Close closes them.
func Open(cfg Config, paths ...string) (*Replay, error) {
	return open(cfg, nil, paths)
}

// OpenFS opens the files of a replay in a file system, such as one that is
// embedded in the binary. Blocks are read from the disk only.
func OpenFS(cfg Config, fsys fs.FS, paths ...string) (*Replay, error) {
	return open(cfg, fsys, paths)
}

// open opens files of a file system, those of the disk when it is nil.
func open(cfg Config, fsys fs.FS, paths []string) (*Replay, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	if len(paths) == 0 {
		return nil, errors.New("replay: no file is given")
	}
	cfg = cfg.withDefaults()
	r := &Replay{}
	names := names(paths)
	for i, path := range paths {
		f, err := r.open(cfg, fsys, path, names[i])
		if err != nil {
			r.Close()
			return nil, err
		}
		f.place = i
	}
	r.pace = newPace(cfg, &r.merge)
	r.merge.fresh = r.files
	return r, nil
}

func (r *Replay) open(cfg Config, fsys fs.FS, path, name string) (*file, error) {
	f := &file{path: path, name: name}
	opened, err := openOne(fsys, path)
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	f.closer = opened
	r.files = append(r.files, f)
	info, err := opened.Stat()
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	room := &seriesRoom{cfg: cfg, used: &r.series}
	if info.IsDir() && fsys == nil {
		return f, r.openFolder(cfg, f, room)
	}
	f.size = info.Size()
	b, release, err := unpack(&counted{opened, &f.read})
	if err != nil {
		return nil, fmt.Errorf("replay %s: %w", path, err)
	}
	f.release = release
	if looksLikeMetrics(b) {
		f.rows, f.sorts = newMetrics(cfg, f, b, room), true
		return f, nil
	}
	f.rows, err = newCSV(cfg, f, b, room)
	return f, err
}

func openOne(fsys fs.FS, path string) (fs.File, error) {
	if fsys != nil {
		return fsys.Open(path)
	}
	return os.Open(path)
}

// openFolder finds the blocks in f, which is a folder.
func (r *Replay) openFolder(cfg Config, f *file, room *seriesRoom) error {
	found, head, err := findBlocks(f.path)
	if err != nil {
		return err
	}
	if head {
		r.heads = append(r.heads, f.path)
	}
	for _, b := range found {
		f.size += b.size
	}
	err = f.closer.Close()
	blocks := newBlocks(cfg, f, found, room)
	f.rows, f.closer = blocks, blocks
	return err
}

// maxWindow bounds what unpacking zstd keeps in memory: a file that says it
// needs more is refused.
const maxWindow = 128 << 20

// unpack reads gzip and zstd as what is in them. What it returns beside the
// reader is released once that was read, and may be nil.
func unpack(r io.Reader) (*bufio.Reader, func(), error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, _ := b.Peek(4)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, nil, err
		}
		return bufio.NewReaderSize(z, 64<<10), nil, nil
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return bufio.NewReaderSize(z, 64<<10), z.Close, nil
	}
	return b, nil, nil
}

// counted counts the bytes that pass.
type counted struct {
	r io.Reader
	n *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// looksLikeMetrics tells OpenMetrics from CSV by the first line: a comment of
// its own kind, or a sample, which has a space before its value and no comma
// outside braces.
func looksLikeMetrics(b *bufio.Reader) bool {
	head, _ := b.Peek(4096)
	line, _, _ := bytes.Cut(head, []byte("\n"))
	for _, start := range []string{"# TYPE ", "# HELP ", "# UNIT ", "# EOF"} {
		if bytes.HasPrefix(line, []byte(start)) {
			return true
		}
	}
	if brace := bytes.IndexByte(line, '{'); brace >= 0 {
		comma := bytes.IndexByte(line, ',')
		return comma < 0 || brace < comma
	}
	fields := bytes.Fields(line)
	return len(fields) == 3 && !bytes.ContainsAny(line, ",;\t")
}

// names makes one name a file: its own, or its whole path when others share it.
func names(paths []string) []string {
	base := func(path string) string {
		path = strings.TrimSuffix(strings.TrimSuffix(path, ".gz"), ".zst")
		for _, ext := range []string{".csv", ".tsv", ".txt", ".om", ".openmetrics", ".prom"} {
			path = strings.TrimSuffix(path, ext)
		}
		return path
	}
	count := map[string]int{}
	for _, p := range paths {
		count[base(filepath.Base(p))]++
	}
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = base(filepath.Base(p))
		if count[out[i]] > 1 {
			out[i] = strings.Trim(filepath.ToSlash(base(filepath.Clean(p))), "./")
		}
	}
	return out
}

// Progress is how many bytes of all files were read, as they are on disk, and
// how many there are. Of a file that is sorted in memory, half of it is its
// reading and half its rows. It may be asked for while Next runs.
func (r *Replay) Progress() (read, total int64) {
	for _, f := range r.files {
		done := f.read.Load()
		if f.sorts {
			done = (done + f.yielded.Load()) / 2
		}
		read += min(done, f.size)
		total += f.size
	}
	return read, total
}

// Skipped is how many rows could not be read, with Config.Lenient.
func (r *Replay) Skipped() uint64 {
	n := uint64(0)
	for _, f := range r.files {
		n += f.skipped.Load()
	}
	return n
}

// Heads are the folders that are the data of a Prometheus with a write-ahead
// log: it holds what is in no block yet, the last two hours or three, and is not
// read.
func (r *Replay) Heads() []string { return r.heads }

// Close closes the files.
func (r *Replay) Close() error {
	var all []error
	for _, f := range r.files {
		if f.release != nil {
			f.release()
		}
		all = append(all, f.closer.Close())
	}
	return errors.Join(all...)
}

// bad is a row that can't be read: an error, or one more skipped.
func (f *file) bad(cfg *Config, line int, why error) error {
	if _, limit := errors.AsType[*limitError](why); cfg.Lenient && !limit {
		f.skipped.Add(1)
		return nil
	}
	return fmt.Errorf("%s:%d: %w", f.path, line, why)
}

// seriesRoom bounds the series of all files together.
type seriesRoom struct {
	cfg  Config
	used *int
}

func (s *seriesRoom) take() error {
	if *s.used >= s.cfg.MaxSeries {
		return fmt.Errorf("more than %d series", s.cfg.MaxSeries)
	}
	*s.used++
	return nil
}

// merged merges files in order of time; what is of one time comes in the order
// of the files.
type merged struct {
	fresh []*file // not read yet
	heads fileHeap
	err   error // that comes after what was read before it
}

func (m *merged) next() (row, error) {
	if m.err != nil {
		return row{}, m.err
	}
	for ; len(m.fresh) > 0; m.fresh = m.fresh[1:] {
		if err := m.advance(m.fresh[0], true); err != nil {
			return row{}, err
		}
	}
	if len(m.heads) == 0 {
		return row{}, io.EOF
	}
	f := m.heads[0]
	r := f.ahead
	m.err = m.advance(f, false)
	return r, nil
}

// advance reads the file's next row and puts the file where it belongs.
func (m *merged) advance(f *file, fresh bool) error {
	r, err := f.rows.next()
	switch {
	case err == io.EOF && fresh:
		return nil
	case err == io.EOF:
		heap.Pop(&m.heads)
		return nil
	case err != nil:
		return err
	}
	f.ahead = r
	if fresh {
		heap.Push(&m.heads, f)
	} else if len(m.heads) > 1 {
		heap.Fix(&m.heads, 0)
	}
	return nil
}

type fileHeap []*file

func (h fileHeap) Len() int { return len(h) }
func (h fileHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	return a.ahead.at < b.ahead.at || a.ahead.at == b.ahead.at && a.place < b.place
}
func (h fileHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *fileHeap) Push(x any)   { *h = append(*h, x.(*file)) }
func (h *fileHeap) Pop() any {
	last := len(*h) - 1
	f := (*h)[last]
	*h = (*h)[:last]
	return f
}

var _ interface {
	Next() (engine.Event, error)
} = (*Replay)(nil)
