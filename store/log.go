package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"
)

// segment is one file of the log. All of it up to size is durable.
type segment struct {
	header
	name  string
	size  int64
	last  uint64 // 0 while it has no record
	chain chain  // after the last record
	count int
	marks []mark
}

// mark is where one frame begins, so that a reader need not start at the top.
type mark struct {
	seq uint64
	at  int64
}

// markEvery is the distance of marks in a file, in bytes.
const markEvery = 64 << 10

func (s *segment) note(f frame, at int64) {
	if n := len(s.marks); n == 0 || at-s.marks[n-1].at >= markEvery {
		s.marks = append(s.marks, mark{f.seq, at})
	}
	s.last, s.chain, s.size = f.seq, f.chain, at+f.size()
	s.count++
}

// from is the offset of the last mark at or before seq.
func (s *segment) from(seq uint64) int64 {
	i := sort.Search(len(s.marks), func(i int) bool { return s.marks[i].seq > seq })
	if i == 0 {
		return segmentHead
	}
	return s.marks[i-1].at
}

// journal is the append-only log: files of frames, one after the other. One
// goroutine appends; any may read.
type journal struct {
	disk   disk
	dir    string
	kind   segmentKind
	sparse bool
	limit  int64 // bytes at which a segment is full

	mu       sync.RWMutex
	segments []*segment
	last     uint64
	chain    chain
	broken   error

	file  diskFile // of the last segment
	buf   []byte
	spans []span
	cut   Cut
	noted noted
	synced,
	syncTime int64 // counts of Sync and their nanoseconds
}

type span struct {
	f  frame
	at int64
}

// Cut says what opening the log took off its end: records that no Append had
// returned for.
type Cut struct {
	File  string
	At    int64 // offset of the cut
	Bytes int64
	Tip   bool // the note of how far the log was durable could not be read
}

func segmentName(first uint64) string { return fmt.Sprintf("%020d.log", first) }

// First is the sequence of the oldest record, 0 for an empty log.
func (j *journal) First() uint64 {
	j.mu.RLock()
	defer j.mu.RUnlock()
	for _, s := range j.segments {
		if s.count > 0 {
			if len(s.marks) > 0 {
				return s.marks[0].seq
			}
			return s.first
		}
	}
	return 0
}

// Last is the sequence of the newest record, or the one before the next.
func (j *journal) Last() uint64 {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.last
}

// append makes payloads durable as the next records. seqs gives their sequences
// in a sparse log; it is nil otherwise.
func (j *journal) append(payloads [][]byte, seqs []uint64) (first uint64, err error) {
	if j.broken != nil {
		return 0, fmt.Errorf("%w: %w", ErrBroken, j.broken)
	}
	first = j.last + 1
	if len(payloads) == 0 {
		return first, nil
	}
	first, err = j.write(payloads, seqs)
	if err != nil {
		j.fail(err)
	}
	return first, err
}

// fail makes an error final: what is on disk is no longer known.
func (j *journal) fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken == nil {
		j.broken = err
	}
}

func (j *journal) write(payloads [][]byte, seqs []uint64) (uint64, error) {
	for i, p := range payloads {
		if len(p) > maxPayload {
			return 0, fmt.Errorf("record %d of the append has %d bytes, more than %d", i, len(p), maxPayload)
		}
	}
	if len(j.segments) == 0 || j.tail().size >= j.limit {
		if err := j.rotate(); err != nil {
			return 0, err
		}
	}
	s := j.tail()
	j.buf, j.spans = j.buf[:0], j.spans[:0]
	last, link := j.last, j.chain
	first := last + 1
	for i, p := range payloads {
		seq := last + 1
		if seqs != nil {
			seq = seqs[i]
		}
		if i == 0 {
			first = seq
		}
		link = link.next(seq, p)
		f := frame{seq: seq, position: uint32(i), chain: link, payload: p}
		j.spans = append(j.spans, span{f, s.size + int64(len(j.buf))})
		j.buf = f.append(j.buf)
		last = seq
	}
	if _, err := j.file.WriteAt(j.buf, s.size); err != nil {
		return 0, fmt.Errorf("write %d bytes to %s at offset %d: %w", len(j.buf), s.name, s.size, err)
	}
	begun := time.Now()
	if err := j.file.Sync(); err != nil {
		return 0, fmt.Errorf("sync %s: %w", s.name, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.synced++
	j.syncTime += int64(time.Since(begun))
	for _, sp := range j.spans {
		s.note(sp.f, sp.at)
	}
	j.last, j.chain = last, link
	return first, nil
}

func (j *journal) tail() *segment { return j.segments[len(j.segments)-1] }

// rotate begins a new segment. The file and its name are durable before the
// first record goes in.
func (j *journal) rotate() error {
	h := header{kind: j.kind, sparse: j.sparse, first: j.last + 1, chain: j.chain}
	name := segmentName(h.first)
	path := filepath.Join(j.dir, name)
	f, err := j.disk.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR)
	if err != nil {
		return fmt.Errorf("begin segment %s: %w", name, err)
	}
	if _, err = f.WriteAt(h.append(nil), 0); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = j.disk.SyncDir(j.dir)
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("begin segment %s: %w", name, err)
	}
	if j.file != nil {
		if err := j.file.Close(); err != nil {
			f.Close()
			return fmt.Errorf("end segment %s: %w", j.tail().name, err)
		}
	}
	j.file = f
	j.mu.Lock()
	j.segments = append(j.segments, &segment{header: h, name: name, size: segmentHead, chain: h.chain})
	j.mu.Unlock()
	return j.writeTip()
}

// close notes how far the log is durable and lets go of its file.
func (j *journal) close() error {
	var err error
	if j.broken == nil && len(j.segments) > 0 {
		err = j.writeTip()
	}
	if j.file != nil {
		if cerr := j.file.Close(); err == nil {
			err = cerr
		}
		j.file = nil
	}
	j.fail(errors.New("the store is closed"))
	return err
}

// scan calls fn for each record from the sequence on, in order, as far as the
// log was durable when it began. The payload is good during the call only.
func (j *journal) scan(from uint64, fn func(seq uint64, payload []byte) error) error {
	j.mu.RLock()
	views := make([]segment, 0, len(j.segments))
	for _, s := range j.segments {
		if s.count > 0 && s.last >= from {
			views = append(views, *s)
		}
	}
	j.mu.RUnlock()
	for i := range views {
		if err := j.scanSegment(&views[i], from, fn); err != nil {
			return err
		}
	}
	return nil
}

func (j *journal) scanSegment(s *segment, from uint64, fn func(uint64, []byte) error) error {
	f, err := j.disk.OpenFile(filepath.Join(j.dir, s.name), os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: records %d to %d", ErrRetired, s.first, s.last)
	}
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	defer f.Close()
	w := newWalk(f, s.from(from), s.size)
	for {
		at := w.at
		fr, err := w.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return &DamageError{File: s.name, Offset: at, Why: err.Error()}
		}
		if fr.seq < from {
			continue
		}
		if err := fn(fr.seq, fr.payload); err != nil {
			return err
		}
	}
}

// drop removes the oldest n segments. Whoever calls it has kept what must stay.
func (j *journal) drop(n int) error {
	if j.broken != nil {
		return fmt.Errorf("%w: %w", ErrBroken, j.broken)
	}
	j.mu.Lock()
	gone := j.segments[:n]
	j.segments = append([]*segment(nil), j.segments[n:]...)
	j.mu.Unlock()
	// The tip says first that the log begins later, so that a crash in between
	// leaves files too many, which is no damage, and never too few.
	if err := j.writeTip(); err != nil {
		j.fail(err)
		return err
	}
	for _, s := range gone {
		if err := j.disk.Remove(filepath.Join(j.dir, s.name)); err != nil {
			return fmt.Errorf("remove segment %s: %w", s.name, err)
		}
	}
	return j.disk.SyncDir(j.dir)
}
