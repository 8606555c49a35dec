package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
)

const (
	// batchBytes is how much is written between two syncs. A batch of Badger's
	// holds all of it in memory.
	batchBytes = 8 << 20
	// discardRatio is the share of garbage at which a value-log file is
	// rewritten.
	discardRatio = 0.5
)

// version is where the newest version of something lies.
type version struct {
	turn  byte
	asOf  uint64
	bytes int64
}

// pages are the checkpoints. One goroutine writes; a collector of its own takes
// the garbage out of the value log.
type pages struct {
	db      *badger.DB
	known   map[engine.PageID]version
	settle  version
	held    atomic.Int64 // bytes of the newest versions: the next checkpoint's size
	written int64        // since the collector was woken
	broken  error

	passes []uint64 // as-of of this run's settle records, the last two
	swept  uint64   // every page's newest version contains the log up to here

	wake      chan struct{}
	quit      chan struct{}
	done      sync.WaitGroup
	collected atomic.Int64 // value-log files rewritten
	room      func() bool  // there is room to rewrite a file
	arena     []byte
	keys      []byte
}

func openPages(dir string, room func() bool) (p *pages, err error) {
	return openPagesAs(badgerOptions(dir), room)
}

// openPagesAs is openPages with other options, for comparing layouts.
func openPagesAs(o badger.Options, room func() bool) (p *pages, err error) {
	dir := o.Dir
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("store: make %s: %w", dir, err)
	}
	db, err := openBadger(o)
	if err != nil {
		return nil, fmt.Errorf("%w: %s does not open: %w; run `homeostat inspect --salvage` to copy what is intact", ErrDamaged, dir, err)
	}
	p = &pages{db: db, known: map[engine.PageID]version{}, wake: make(chan struct{}, 1), quit: make(chan struct{}), room: room}
	p.done.Go(p.collect)
	return p, nil
}

func (p *pages) collect() {
	for {
		select {
		case <-p.quit:
			return
		case <-p.wake:
		}
		for p.room() && p.db.RunValueLogGC(discardRatio) == nil {
			p.collected.Add(1)
			select {
			case <-p.quit:
				return
			default:
			}
		}
		// An error says that nothing is worth it now; what else it may be, the
		// next write of pages meets too.
	}
}

// nudge wakes the collector, unless it is at work.
func (p *pages) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pages) close() error {
	close(p.quit)
	p.done.Wait()
	p.fail(errors.New("the store is closed"))
	if err := p.db.Close(); err != nil {
		return fmt.Errorf("store: close the pages: %w", err)
	}
	return nil
}

// fail makes an error final, as in the log.
func (p *pages) fail(err error) error {
	if err != nil && p.broken == nil {
		p.broken = err
	}
	return err
}

// write stores pages in batches, each of them synced before the next begins.
// room is asked before each.
func (p *pages) write(asOf uint64, out []loop.Page, room func(bytes int64) error) error {
	if p.broken != nil {
		return fmt.Errorf("%w: %w", ErrBroken, p.broken)
	}
	for len(out) > 0 {
		n, size := 0, int64(0)
		for n < len(out) && (n == 0 || size+int64(len(out[n].Bytes)) <= batchBytes) {
			size += int64(len(out[n].Bytes)) + pageHead
			n++
		}
		if err := room(size); err != nil {
			return err
		}
		if err := p.fail(p.batch(asOf, out[:n], size)); err != nil {
			return err
		}
		out = out[n:]
	}
	return nil
}

func (p *pages) batch(asOf uint64, out []loop.Page, size int64) error {
	if int64(cap(p.arena)) < size {
		p.arena = make([]byte, 0, size)
	}
	b, keys := p.arena[:0], p.keys[:0]
	if cap(keys) < 8*len(out) {
		keys = make([]byte, 0, 8*len(out))
	}
	wb := p.db.NewWriteBatch()
	defer wb.Cancel()
	for _, page := range out {
		v := value{kind: kindPage, id: page.ID, turn: p.turn(page.ID), asOf: asOf, bytes: page.Bytes}
		from, key := len(b), len(keys)
		b, keys = v.append(b), appendPageKey(keys, page.ID, v.turn)
		if err := wb.Set(keys[key:len(keys):len(keys)], b[from:len(b):len(b)]); err != nil {
			return fmt.Errorf("store: write page %d of partition %d: %w", page.ID.Number, page.ID.Partition, err)
		}
	}
	if err := wb.Flush(); err != nil {
		return fmt.Errorf("store: write %d pages: %w", len(out), err)
	}
	if err := p.db.Sync(); err != nil {
		return fmt.Errorf("store: sync %d pages: %w", len(out), err)
	}
	p.keys = keys
	for _, page := range out {
		old := p.known[page.ID]
		now := version{turn: p.turn(page.ID), asOf: asOf, bytes: int64(len(page.Bytes)) + pageHead}
		p.known[page.ID] = now
		p.held.Add(now.bytes - old.bytes)
	}
	p.wrote(size)
	return nil
}

func (p *pages) wrote(n int64) {
	if p.written += n; p.written >= valueLogFile/2 {
		p.written = 0
		p.nudge()
	}
}

// turn is the key that the next version of a page goes to.
func (p *pages) turn(id engine.PageID) byte {
	if v, ok := p.known[id]; ok {
		return 1 - v.turn
	}
	return 0
}

// writeSettle stores the settle record. It ends a pass over the dirty pages:
// what was dirty when the pass began is stored by now, so that every page
// contains what the log had at the end of the pass before. One pass more is left
// as a margin, because a power failure may take pages whose keys Badger had in
// memory only.
func (p *pages) writeSettle(asOf uint64, record []byte, room func(bytes int64) error) error {
	if p.broken != nil {
		return fmt.Errorf("%w: %w", ErrBroken, p.broken)
	}
	record, err := squeeze(record)
	if err != nil {
		return err
	}
	if len(record)+pageHead >= valueLogFile {
		return fmt.Errorf("store: the settle record has %d bytes, a value-log file %d", len(record), valueLogFile)
	}
	if err := room(int64(len(record))); err != nil {
		return err
	}
	if len(p.passes) == 2 {
		p.swept = max(p.swept, p.passes[0])
	}
	v := value{kind: kindSettle, turn: 1 - p.settle.turn, asOf: asOf, swept: p.swept, bytes: record}
	if err := p.put(soleKey(settlePrefix, v.turn), v); err != nil {
		return p.fail(fmt.Errorf("store: write the settle record: %w", err))
	}
	now := version{turn: v.turn, asOf: asOf, bytes: int64(len(record)) + pageHead}
	p.held.Add(now.bytes - p.settle.bytes)
	p.settle = now
	if p.passes = append(p.passes, asOf); len(p.passes) > 2 {
		p.passes = p.passes[1:]
	}
	p.wrote(now.bytes)
	return nil
}

// put stores one value and syncs it.
func (p *pages) put(key []byte, v value) error {
	b := v.append(nil)
	if err := p.db.Update(func(txn *badger.Txn) error { return txn.Set(key, b) }); err != nil {
		return err
	}
	return p.db.Sync()
}

// order notes that the run ended in order after a record, or takes the note
// away.
func (p *pages) order(last uint64, ended bool) error {
	if p.broken != nil {
		return fmt.Errorf("%w: %w", ErrBroken, p.broken)
	}
	key := soleKey(orderPrefix, 0)
	var err error
	if ended {
		err = p.put(key, value{kind: kindOrder, asOf: last})
	} else {
		err = p.db.Update(func(txn *badger.Txn) error { return txn.Delete(key) })
		if err == nil {
			err = p.db.Sync()
		}
	}
	if err != nil {
		return p.fail(fmt.Errorf("store: note the end of the run: %w", err))
	}
	return nil
}

// oldest is the sequence up to which every page and the settle record contain
// the log.
func (p *pages) oldest() uint64 {
	low := p.settle.asOf
	for _, v := range p.known {
		low = min(low, max(v.asOf, p.swept))
	}
	return low
}

// stored is what a page store holds of one thing.
type stored struct {
	id       engine.PageID
	versions []value // the good ones, the newest first
	bad      int     // versions that could not be read
	why      error   // of the last bad one
}

// sole is what is stored of what there is one of.
func sole(db *badger.DB, prefix []byte) (s stored, err error) {
	err = eachStored(db, prefix, func(found stored) error {
		s = found
		return nil
	})
	return s, err
}

// eachStored calls fn for each page with a prefix, in order. The versions are
// fn's to keep.
func eachStored(db *badger.DB, prefix []byte, fn func(stored) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: reading pages: %v", ErrDamaged, r)
		}
	}()
	return db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix, o.PrefetchValues = prefix, false
		it := txn.NewIterator(o)
		defer it.Close()
		var cur stored
		have := false
		for it.Rewind(); it.Valid(); it.Next() {
			kind, id, turn, ok := parseKey(it.Item().Key())
			if !ok {
				continue
			}
			if have && cur.id != id {
				if err := fn(cur); err != nil {
					return err
				}
				cur = stored{}
			}
			cur.id, have = id, true
			cur.take(it.Item(), kind, turn)
		}
		if have {
			return fn(cur)
		}
		return nil
	})
}

func (s *stored) take(item *badger.Item, kind pageKind, turn byte) {
	b, err := item.ValueCopy(nil)
	var v value
	if err == nil {
		v, err = parseValue(b)
	}
	if err == nil && (v.kind != kind || v.id != s.id || v.turn != turn) {
		err = errors.New("it lies under another's key")
	}
	if err != nil {
		s.bad++
		s.why = err
		return
	}
	s.versions = append(s.versions, v)
	if len(s.versions) == 2 && s.versions[1].asOf > s.versions[0].asOf {
		s.versions[0], s.versions[1] = s.versions[1], s.versions[0]
	}
}

// pagesDir is where Badger lives.
func pagesDir(dir string) string { return filepath.Join(dir, "pages") }
