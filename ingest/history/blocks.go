package history

import (
	"container/heap"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tombstones"

	"github.com/homeostat/homeostat/engine"
)

// blocks merges the chunks of a Prometheus' blocks in order of time. A block
// holds its samples series by series; so that it need not be sorted in memory,
// every series has one chunk at hand, from which the earliest sample of all is
// taken. A block is open from its beginning to the end of its last chunk, and
// what is in memory is bounded by the series and, by Config.MaxSamples, by the
// chunks of the blocks that are open at one time. Of two samples of one series
// at one time, as blocks that overlap have them, the first block's counts.
type blocks struct {
	cfg     Config
	file    *file
	table   *seriesTable
	waiting []*block // in order of time, not open yet
	open    []*block
	due     int64 // when the next block or chunk begins
	heads   headHeap
	cursors []cursor
	spare   []uint32 // of the cursors
	last    []int64  // the time of the last row, by the series
	pool    chunkenc.Pool
	shape   *histogram.FloatHistogram // used again and again
}

// cursor is a chunk that is being read.
type cursor struct {
	block *block
	at    chunkAt
	chunk chunkenc.Chunk
	it    chunkenc.Iterator
	kind  chunkenc.ValueType
	gone  tombstones.Intervals
}

// head is the next sample of a cursor.
type head struct {
	at     int64
	series uint32
	place  uint32 // of the block
	cursor uint32
}

// newBlocks reads the blocks of a file that is a folder.
func newBlocks(cfg Config, f *file, found []*block, room *seriesRoom) *blocks {
	b := &blocks{cfg: cfg, file: f, waiting: found, pool: chunkenc.NewPool(), shape: &histogram.FloatHistogram{}}
	b.table = newSeriesTable(&b.cfg, room)
	b.plan()
	return b
}

func (b *blocks) next() (row, error) {
	for {
		for len(b.heads) == 0 || b.due <= b.heads[0].at {
			if b.due == never {
				b.file.read.Store(b.file.size)
				return row{}, io.EOF
			}
			if err := b.begin(); err != nil {
				return row{}, err
			}
		}
		h := b.heads[0]
		r, err := b.take(h)
		if err != nil {
			return row{}, err
		}
		if r.series != nil && h.at > b.last[h.series] {
			b.last[h.series] = h.at
			return r, nil
		}
	}
}

// plan finds out when the next block or chunk begins.
func (b *blocks) plan() {
	b.due = never
	if len(b.waiting) > 0 {
		b.due = b.waiting[0].due(false)
	}
	for _, o := range b.open {
		b.due = min(b.due, o.due(true))
	}
}

// begin opens what begins next.
func (b *blocks) begin() error {
	defer b.plan()
	if len(b.waiting) > 0 && b.waiting[0].due(false) == b.due {
		next := b.waiting[0]
		b.waiting = b.waiting[1:]
		b.open = append(b.open, next)
		room := b.cfg.MaxSamples
		for _, o := range b.open {
			room -= len(o.pending)
		}
		if err := next.open(b.table, b.pool, room); err != nil {
			return err
		}
		for len(b.last) < len(b.table.all) {
			b.last = append(b.last, none)
		}
		return b.leave(next, 0)
	}
	i := slices.IndexFunc(b.open, func(o *block) bool { return o.due(true) == b.due })
	o := b.open[i]
	at := o.pending[0]
	o.pending = o.pending[1:]
	n := b.cursor()
	c := &b.cursors[n]
	c.block, c.at, c.gone = o, at, o.gone[at.series]
	t, err := b.first(c)
	switch {
	case err != nil:
		return errors.Join(b.bad(o, at, err), b.end(n))
	case c.kind == chunkenc.ValNone:
		return b.end(n)
	}
	heap.Push(&b.heads, head{at: t, series: at.series, place: o.place, cursor: n})
	return nil
}

// first opens the chunk of a cursor and goes to its first sample.
func (b *blocks) first(c *cursor) (t int64, err error) {
	if c.chunk, c.it, err = c.block.chunk(c.at, c.it); err != nil {
		return never, err
	}
	b.file.read.Add(int64(len(c.chunk.Bytes())) + chunkFrame)
	return b.advance(c, c.at.begin)
}

// cursor is one that is not in use.
func (b *blocks) cursor() uint32 {
	if n := len(b.spare); n > 0 {
		c := b.spare[n-1]
		b.spare = b.spare[:n-1]
		return c
	}
	b.cursors = append(b.cursors, cursor{})
	return uint32(len(b.cursors) - 1)
}

// advance goes on to the next sample, which is not older than earliest.
func (b *blocks) advance(c *cursor, earliest int64) (t int64, err error) {
	defer guard(&err, debug.SetPanicOnFault(true))
	if c.kind = c.it.Next(); c.kind == chunkenc.ValNone {
		return never, c.it.Err()
	}
	switch t = c.it.AtT(); {
	case t > maxMillis:
		return t, errors.New("a sample lies outside the years 1970 to 9999")
	case t < earliest:
		return t, fmt.Errorf("a sample of %d comes where none before %d may be", t, earliest)
	}
	return t, nil
}

// take returns the first of the samples at hand, and goes on. A row without a
// series is a sample that was deleted, or was skipped.
func (b *blocks) take(h head) (row, error) {
	c := &b.cursors[h.cursor]
	r := row{}
	if !b.deleted(c, h.at) {
		var err error
		if r, err = b.sample(c, h); err != nil {
			if err := b.bad(c.block, c.at, err); err != nil {
				return row{}, err
			}
		}
	}
	t, err := b.advance(c, h.at+1)
	if err != nil {
		if err := b.bad(c.block, c.at, err); err != nil {
			return row{}, err
		}
		c.kind = chunkenc.ValNone
	}
	if c.kind == chunkenc.ValNone {
		heap.Pop(&b.heads)
		return r, b.end(h.cursor)
	}
	b.heads[0].at = t
	heap.Fix(&b.heads, 0)
	return r, nil
}

func (b *blocks) deleted(c *cursor, t int64) bool {
	for len(c.gone) > 0 && c.gone[0].Maxt < t {
		c.gone = c.gone[1:]
	}
	return len(c.gone) > 0 && c.gone[0].InBounds(t)
}

// sample is the sample at which the cursor stands. A stale marker, of a
// histogram too, is one of a value.
func (b *blocks) sample(c *cursor, h head) (r row, err error) {
	defer guard(&err, debug.SetPanicOnFault(true))
	s := b.table.all[h.series]
	if c.kind == chunkenc.ValFloat {
		_, v := c.it.At()
		return row{series: s, at: h.at, value: v}, nil
	}
	_, b.shape = c.it.AtFloatHistogram(b.shape)
	if value.IsStaleNaN(b.shape.Sum) {
		return row{series: s, at: h.at, value: b.shape.Sum}, nil
	}
	shape, err := shapeOf(s, h.at, b.shape)
	if err != nil {
		return row{}, err
	}
	return row{series: s, at: h.at, shape: shape}, nil
}

// shapeOf is a native histogram as the engine takes it.
func shapeOf(s *engine.Series, at int64, h *histogram.FloatHistogram) (*engine.HistogramSample, error) {
	if err := h.Validate(); err != nil {
		return nil, err
	}
	out := &engine.HistogramSample{Series: s, At: at, Count: h.Count, Sum: h.Sum, Gauge: h.CounterResetHint == histogram.GaugeType}
	for it := h.AllBucketIterator(); it.Next(); {
		if b := it.At(); b.Count > 0 {
			bucket := engine.Bucket{Lower: b.Lower, Upper: b.Upper, Count: b.Count}
			out.Buckets = append(out.Buckets, aboveZero(bucket, len(out.Buckets) == 0))
		}
	}
	return out, nil
}

// bad is a chunk that can't be read, or the rest of one: an error, or one more
// skipped.
func (b *blocks) bad(o *block, at chunkAt, why error) error {
	if b.cfg.Lenient {
		b.file.skipped.Add(1)
		return nil
	}
	return damaged(o.where(at), why)
}

// end gives the cursor back.
func (b *blocks) end(n uint32) error {
	c := &b.cursors[n]
	o := c.block
	var err error
	if c.chunk != nil {
		err = b.pool.Put(c.chunk)
	}
	// The iterator, which knows only the bytes of this chunk, is used again.
	*c = cursor{it: c.it}
	b.spare = append(b.spare, n)
	return errors.Join(err, b.leave(o, 1))
}

// leave says that so many chunks of the block are at their end, and closes it
// after the last.
func (b *blocks) leave(o *block, ended int) error {
	if o.left -= ended; o.left > 0 {
		return nil
	}
	b.open = slices.DeleteFunc(b.open, func(x *block) bool { return x == o })
	return o.close()
}

// Close lets go of the files that are still open.
func (b *blocks) Close() error {
	var all []error
	for _, o := range b.open {
		all = append(all, o.close())
	}
	b.open = nil
	return errors.Join(all...)
}

// headHeap has the earliest head first, those of one time by the series.
type headHeap []head

func (h headHeap) Len() int { return len(h) }
func (h headHeap) Less(i, j int) bool {
	a, b := &h[i], &h[j]
	if a.at != b.at {
		return a.at < b.at
	}
	return a.series < b.series || a.series == b.series && a.place < b.place
}
func (h headHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *headHeap) Push(x any)   { *h = append(*h, x.(head)) }
func (h *headHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}
