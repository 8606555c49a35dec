package store

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/homeostat/homeostat/engine"
)

// The tail log keeps what scored in the tail, so that a question about a
// threshold can be answered from what was. It is an observer: it is written
// apart from the log, by a goroutine of its own, and what it cannot keep it
// counts as lost. A crash may take its last seconds, which a reader sees as a
// gap.

const (
	// tailBlock is the size at which a block is full, and tailEvery how long one
	// is filled at most, in the ticks' time.
	tailBlock = 64 << 10
	tailEvery = 5000 // ms
	// tailQueue is how many blocks wait for the disk.
	tailQueue = 8
	// tailRetry is how long nothing is kept after a write failed.
	tailRetry = 60_000 // ms
	// tailOverhead is what a block takes beside itself: a frame and a head.
	tailOverhead = frameHead + 24
	// minTailBytes is the least bound: some segments of a block each.
	minTailBytes = 1 << 20
)

// tailSegment is one file of the tail log.
type tailSegment struct {
	name string
	size int64
	from int64 // the earliest point of its first block, ms; 0 while it has none
}

// tailJob is what the writer is asked to do.
type tailJob struct {
	head  tailHead
	block []byte
	begin bool          // in a segment of its own
	said  chan struct{} // closed when all before it is written; then nothing else is set
}

// Tail is the tail log of a store. It fits loop.Tail. Keep is called by one
// goroutine at a time; everything else may run beside it.
type Tail struct {
	disk  disk
	dir   string
	cap   int64 // bytes
	age   int64 // ms
	limit int64 // bytes of a segment
	room  func() bool

	filling sync.Mutex // of what Keep fills
	encoder engine.TailEncoder
	block   []byte
	head    tailHead
	begun   int64 // the tick at which the block was begun
	written int64 // bytes handed out in this segment
	fresh   bool  // the next block begins a segment
	retry   int64 // the tick before which nothing is kept
	closed  bool

	queue  chan tailJob
	blank  chan []byte   // blocks to fill again
	quit   chan struct{} // closed when nothing more is handed out
	ended  chan struct{} // closed when the writer is done
	broken atomic.Bool   // the last write failed

	mu       sync.Mutex
	segments []tailSegment
	stats    TailStats

	// The writer's own.
	file  diskFile
	seq   uint64
	chain chain
	lost  uint64 // of blocks that could not be written
	buf   []byte
}

// TailStats are the figures of a tail log since it was opened.
type TailStats struct {
	Points   uint64 // kept
	Lost     uint64 // points that were not kept
	Gaps     uint64 // stretches of them, and beginnings after a crash
	Bytes    int64  // on disk
	Segments int
	From     int64 // of the oldest point on disk, ms; 0 when there is none
}

func tailDir(dir string) string { return filepath.Join(dir, "tail") }

// openTail opens a tail log and begins its writer. room says whether the disk
// has any.
func openTail(cfg Config, dir string, room func() bool) (*Tail, error) {
	t := &Tail{
		disk: cfg.disk, dir: tailDir(dir), cap: cfg.TailBytes, age: cfg.TailAge.Milliseconds(), room: room,
		limit: min(max(cfg.TailBytes/16, 64<<10), 64<<20), fresh: true,
		queue: make(chan tailJob, tailQueue), blank: make(chan []byte, tailQueue), quit: make(chan struct{}), ended: make(chan struct{}),
	}
	if err := t.disk.MkdirAll(t.dir); err != nil {
		return nil, fmt.Errorf("store: make %s: %w", t.dir, err)
	}
	if err := t.find(); err != nil {
		return nil, err
	}
	go t.write()
	return t, nil
}

// find lists the segments that there are. One that holds no block is removed:
// its name will be needed.
func (t *Tail) find() error {
	names, err := tailNames(t.disk, t.dir)
	if err != nil {
		return err
	}
	for i, name := range names {
		look, err := lookTail(t.disk, t.dir, name, i < len(names)-1)
		if err != nil {
			return err
		}
		if look.last == 0 && look.whole {
			if err := t.disk.Remove(filepath.Join(t.dir, name)); err != nil {
				return fmt.Errorf("store: %w", err)
			}
			continue
		}
		t.segments = append(t.segments, look.tailSegment)
		t.seq = max(t.seq, look.last)
		if look.whole && !look.ended {
			t.stats.Gaps++
		}
	}
	return nil
}

// tailNames are the files of a tail log, in order.
func tailNames(d disk, dir string) ([]string, error) {
	all, err := d.List(dir)
	if err != nil {
		return nil, fmt.Errorf("store: list the tail log: %w", err)
	}
	var names []string
	for _, name := range all {
		if strings.HasSuffix(name, ".log") {
			names = append(names, name)
		}
	}
	return names, nil
}

// Keep takes points in. It never waits for the disk.
func (t *Tail) Keep(tick int64, points []engine.TailPoint) {
	t.filling.Lock()
	defer t.filling.Unlock()
	if t.broken.Load() {
		// What the lost block defined is unknown to a reader.
		t.broken.Store(false)
		t.fresh, t.retry = true, tick+tailRetry
		t.drop(t.head.points)
		t.block, t.head.points = t.block[:0], 0
	}
	if t.closed || tick < t.retry {
		t.drop(uint64(len(points)))
		return
	}
	for i := range points {
		if len(t.block) == 0 {
			t.start(tick)
		}
		p := &points[i]
		t.block = t.encoder.Append(t.block, p)
		t.head.take(p.At)
		if len(t.block) >= tailBlock {
			t.hand()
		}
	}
	// Where time runs faster than the disk, as in a replay, blocks fill up.
	if len(t.block) > 0 && tick-t.begun >= tailEvery && len(t.queue) == 0 {
		t.hand()
	}
}

// start begins a block, and a segment where one is due.
func (t *Tail) start(tick int64) {
	t.fresh = t.fresh || t.written >= t.limit
	if t.fresh {
		t.encoder.Begin()
		t.written = 0
	}
	t.begun = tick
	t.block = t.encoder.Block(t.block)
	t.head = tailHead{lost: t.head.lost, from: math.MaxInt64}
}

// hand gives the block to the writer. When it has too much to do already, the
// block is lost.
func (t *Tail) hand() {
	select {
	case t.queue <- tailJob{head: t.head, block: t.block, begin: t.fresh}:
		t.written += int64(len(t.block)) + tailOverhead
		t.fresh, t.head = false, tailHead{}
		select {
		case t.block = <-t.blank:
		default:
			t.block = nil
		}
	default:
		points := t.head.points
		t.head.points, t.block = 0, t.block[:0]
		t.fresh = true
		t.drop(points)
	}
}

// drop counts points that are not kept.
func (t *Tail) drop(points uint64) {
	if points == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.head.lost == 0 {
		t.stats.Gaps++
	}
	t.head.lost += points
	t.stats.Lost += points
}

// flush has everything that was kept written, or lost.
func (t *Tail) flush() {
	t.filling.Lock()
	if len(t.block) > 0 && !t.closed {
		t.hand()
	}
	t.filling.Unlock()
	said := make(chan struct{})
	select {
	case t.queue <- tailJob{said: said}:
	case <-t.ended:
		return
	}
	select {
	case <-said:
	case <-t.ended:
	}
}

// close writes what is kept and ends the last segment.
func (t *Tail) close() {
	t.flush()
	t.filling.Lock()
	if !t.closed {
		t.closed = true
		close(t.quit)
	}
	t.filling.Unlock()
	<-t.ended
}

// pending is how many points were lost that no block tells of yet.
func (t *Tail) pending() uint64 {
	t.filling.Lock()
	defer t.filling.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lost + t.head.lost
}

// Stats are the figures so far.
func (t *Tail) Stats() TailStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.Segments = len(t.segments)
	for _, seg := range t.segments {
		s.Bytes += seg.size
	}
	if len(t.segments) > 0 {
		s.From = t.segments[0].from
	}
	return s
}

// write is the writer.
func (t *Tail) write() {
	defer close(t.ended)
	for more := true; more; {
		select {
		case job := <-t.queue:
			t.do(job)
		case <-t.quit:
			more = false
		}
	}
	for len(t.queue) > 0 {
		t.do(<-t.queue)
	}
	if t.file == nil {
		return
	}
	t.filling.Lock()
	t.lost += t.head.lost // nothing follows that could tell of them
	t.filling.Unlock()
	if err := t.end(); err != nil {
		t.fail(0)
	}
}

func (t *Tail) do(job tailJob) {
	if job.said != nil {
		close(job.said)
		return
	}
	if err := t.put(job); err != nil {
		t.fail(job.head.points)
	}
	select {
	case t.blank <- job.block[:0]:
	default:
	}
}

// fail counts a block that was not written. Until a segment is begun, what
// follows it says nothing to a reader and is not written either.
func (t *Tail) fail(points uint64) {
	if t.file != nil {
		t.file.Close()
		t.file = nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lost == 0 {
		t.stats.Gaps++
	}
	t.lost += points
	t.stats.Lost += points
	t.broken.Store(true)
}

// put writes a block.
func (t *Tail) put(job tailJob) error {
	switch {
	case !t.room():
		return ErrNoSpace
	case job.begin:
		if err := t.rotate(); err != nil {
			return err
		}
	case t.file == nil:
		return ErrBroken // what it refers to was not written
	}
	head := job.head
	head.lost += t.lost
	if err := t.frame(head, job.block); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lost = 0
	t.stats.Points += head.points
	if seg := &t.segments[len(t.segments)-1]; seg.from == 0 {
		seg.from = head.from
	}
	return nil
}

// frame writes one frame behind the last.
func (t *Tail) frame(head tailHead, block []byte) error {
	payload := append(head.append(nil), block...)
	link := t.chain.next(t.seq+1, payload)
	t.buf = frame{seq: t.seq + 1, chain: link, payload: payload}.append(t.buf[:0])
	t.mu.Lock()
	at := t.segments[len(t.segments)-1].size
	t.mu.Unlock()
	if _, err := t.file.WriteAt(t.buf, at); err != nil {
		return err
	}
	t.seq, t.chain = t.seq+1, link
	t.mu.Lock()
	defer t.mu.Unlock()
	t.segments[len(t.segments)-1].size += int64(len(t.buf))
	return nil
}

// rotate ends the segment and begins the next.
func (t *Tail) rotate() error {
	if t.file != nil {
		if err := t.end(); err != nil {
			return err
		}
	}
	h := header{kind: segmentOfTail, sparse: true, first: t.seq + 1, chain: t.chain}
	name := segmentName(h.first)
	f, err := t.disk.OpenFile(filepath.Join(t.dir, name), os.O_CREATE|os.O_RDWR|os.O_TRUNC)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(h.append(nil), 0); err != nil {
		f.Close()
		return err
	}
	t.file = f
	t.mu.Lock()
	// One of this name that held nothing is there from a try that failed.
	if n := len(t.segments); n > 0 && t.segments[n-1].name == name {
		t.segments = t.segments[:n-1]
	}
	t.segments = append(t.segments, tailSegment{name: name, size: segmentHead})
	t.mu.Unlock()
	return t.retire()
}

// end ends the segment in order: a reader then knows that nothing is missing.
func (t *Tail) end() error {
	err := t.frame(tailHead{ended: true, lost: t.lost}, nil)
	if err == nil {
		t.mu.Lock()
		t.lost = 0
		t.mu.Unlock()
		err = t.file.Sync()
	}
	if cerr := t.file.Close(); err == nil {
		err = cerr
	}
	t.file = nil
	return err
}

// retire removes the oldest segments beyond the cap or the age, but for the one
// that is being written. A segment is too old when the one after it begins with
// what is too old.
func (t *Tail) retire() error {
	for {
		t.mu.Lock()
		var bytes, newest int64
		for _, s := range t.segments {
			bytes += s.size
			newest = max(newest, s.from)
		}
		due := len(t.segments) > 1 && (bytes > t.cap-t.limit-2*tailBlock ||
			t.age > 0 && t.segments[1].from > 0 && t.segments[1].from < newest-t.age)
		var name string
		if due {
			name = t.segments[0].name
			t.segments = append([]tailSegment(nil), t.segments[1:]...)
		}
		t.mu.Unlock()
		if !due {
			return nil
		}
		if err := t.disk.Remove(filepath.Join(t.dir, name)); err != nil {
			return err
		}
	}
}
