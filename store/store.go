package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
	"github.com/homeostat/homeostat/engine/wire"
)

// Config says how a store behaves. Its zero value is usable: every field that is
// zero takes the default named beside it.
type Config struct {
	// SegmentBytes is the size at which a file of the log is full. Default 64 MiB.
	SegmentBytes int64
	// MinFreeBytes is the free space below which Admit refuses. Default 1 GiB.
	MinFreeBytes int64
}

func (c Config) withDefaults() Config {
	if c.SegmentBytes == 0 {
		c.SegmentBytes = 64 << 20
	}
	if c.MinFreeBytes == 0 {
		c.MinFreeBytes = 1 << 30
	}
	return c
}

// Store is a directory: the log of records in log/, and the pages in pages/,
// which are Badger's. It fits loop.Journal.
type Store struct {
	cfg    Config
	dir    string
	lock   *lock
	log    *journal
	pages  *badger.DB
	asks   atomic.Uint64 // of Admit
	full   atomic.Bool
	encode []byte
}

// askDisk is how many calls of Admit share one look at the disk.
const askDisk = 16

// The keys in Badger: a page is 'p', partition, number; the settle record is
// 's'; 'c' says that the last run ended in order, and after which record. A
// value is {as-of u64, CRC32C u32 of key, as-of and payload, payload}, all
// little-endian.
var (
	settleKey = []byte{'s'}
	cleanKey  = []byte{'c'}
)

func pageKey(id engine.PageID) []byte {
	return binary.BigEndian.AppendUint32([]byte{'p', id.Partition}, id.Number)
}

const valueHead = 12

func sealed(key []byte, asOf uint64, payload []byte) []byte {
	v := binary.LittleEndian.AppendUint64(make([]byte, 0, valueHead+len(payload)), asOf)
	v = binary.LittleEndian.AppendUint32(v, valueSum(key, v[:8], payload))
	return append(v, payload...)
}

func valueSum(key, asOf, payload []byte) uint32 {
	sum := crc32.Update(0, castagnoli, key)
	sum = crc32.Update(sum, castagnoli, asOf)
	return crc32.Update(sum, castagnoli, payload)
}

func unseal(key, v []byte) (asOf uint64, payload []byte, ok bool) {
	if len(v) < valueHead || binary.LittleEndian.Uint32(v[8:]) != valueSum(key, v[:8], v[valueHead:]) {
		return 0, nil, false
	}
	return binary.LittleEndian.Uint64(v), v[valueHead:], true
}

// Open opens a directory, or makes one. ErrInUse says that another process has
// it, a *DamageError that the log is damaged as no crash explains.
func Open(dir string, cfg Config) (*Store, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	lock, err := lockDir(filepath.Join(dir, "LOCK"))
	if err != nil {
		return nil, fmt.Errorf("store: %s: %w", dir, err)
	}
	s := &Store{cfg: cfg.withDefaults(), dir: dir, lock: lock}
	logDir := filepath.Join(dir, "log")
	if err := os.MkdirAll(logDir, 0o750); err != nil {
		lock.release()
		return nil, fmt.Errorf("store: %w", err)
	}
	if s.log, err = openJournal(osDisk{}, logDir, segmentOfLog, s.cfg.SegmentBytes); err != nil {
		lock.release()
		return nil, err
	}
	o := badger.DefaultOptions(filepath.Join(dir, "pages")).WithLogger(nil).WithCompression(options.None).
		WithBlockCacheSize(0).WithIndexCacheSize(64 << 20).WithMemTableSize(32 << 20).WithNumMemtables(2).
		WithDetectConflicts(false).WithValueLogFileSize(64 << 20).WithVerifyValueChecksum(true).
		WithNumVersionsToKeep(2).WithValueThreshold(1 << 10)
	if s.pages, err = badger.Open(o); err != nil {
		s.log.close()
		lock.release()
		return nil, fmt.Errorf("store: pages: %w", err)
	}
	return s, nil
}

// Append makes the records durable before it returns. An error is final.
func (s *Store) Append(records []engine.Record) (uint64, error) {
	payloads := make([][]byte, len(records))
	s.encode = s.encode[:0]
	ends := make([]int, len(records))
	for i, r := range records {
		var err error
		if s.encode, err = wire.MarshalRecord(s.encode, r); err != nil {
			return 0, fmt.Errorf("store: %w", err)
		}
		ends[i] = len(s.encode)
	}
	from := 0
	for i, end := range ends {
		payloads[i] = s.encode[from:end]
		from = end
	}
	return s.log.append(payloads, nil)
}

// Last is the sequence of the newest record, 0 for an empty log.
func (s *Store) Last() uint64 { return s.log.Last() }

// First is the sequence of the oldest record, 0 for an empty log.
func (s *Store) First() uint64 { return s.log.First() }

// Scan calls fn with each record from a sequence on, in order, until it fails.
// It may run while records are appended.
func (s *Store) Scan(from uint64, fn func(seq uint64, r engine.Record) error) error {
	return s.log.scan(from, func(seq uint64, payload []byte) error {
		r, err := wire.UnmarshalRecord(payload)
		if err != nil {
			return fmt.Errorf("store: record %d: %w", seq, err)
		}
		return fn(seq, r)
	})
}

// WritePages stores pages and returns when they are durable.
func (s *Store) WritePages(asOf uint64, pages []loop.Page) error {
	w := s.pages.NewWriteBatch()
	defer w.Cancel()
	for _, p := range pages {
		key := pageKey(p.ID)
		if err := w.Set(key, sealed(key, asOf, p.Bytes)); err != nil {
			return fmt.Errorf("store: page %v: %w", p.ID, err)
		}
	}
	return s.flush(w)
}

// WriteSettle stores the settle record likewise.
func (s *Store) WriteSettle(asOf uint64, record []byte) error {
	w := s.pages.NewWriteBatch()
	defer w.Cancel()
	if err := w.Set(settleKey, sealed(settleKey, asOf, record)); err != nil {
		return fmt.Errorf("store: settle record: %w", err)
	}
	if err := s.flush(w); err != nil {
		return err
	}
	// One rewrite at the end of each sweep keeps the value log bounded.
	if err := s.pages.RunValueLogGC(0.5); err != nil && !errors.Is(err, badger.ErrNoRewrite) && !errors.Is(err, badger.ErrRejected) {
		return fmt.Errorf("store: collecting old pages: %w", err)
	}
	return nil
}

func (s *Store) flush(w *badger.WriteBatch) error {
	if err := w.Flush(); err != nil {
		return fmt.Errorf("store: pages: %w", err)
	}
	if err := s.pages.Sync(); err != nil {
		return fmt.Errorf("store: pages: %w", err)
	}
	return nil
}

// Admit says ErrNoSpace while the disk has too little room. Badger dies of a
// full disk, so that one must never come to it.
func (s *Store) Admit() error {
	if s.asks.Add(1)%askDisk == 1 {
		free, err := osDisk{}.Free(s.dir)
		if err == nil {
			limit := uint64(s.cfg.MinFreeBytes)
			if s.full.Load() {
				limit += limit / 8 // a little more than enough, so that it does not flap
			}
			s.full.Store(free < limit)
		}
	}
	if s.full.Load() {
		return fmt.Errorf("%w below %s", ErrNoSpace, s.dir)
	}
	return nil
}

// EndInOrder notes that every page and the settle record are stored, so that
// the next start need redo nothing.
func (s *Store) EndInOrder() error {
	return s.pages.Update(func(t *badger.Txn) error {
		return t.Set(cleanKey, sealed(cleanKey, s.Last(), nil))
	})
}

// Close ends the store.
func (s *Store) Close() error {
	err := errors.Join(s.pages.Close(), s.log.close())
	return errors.Join(err, s.lock.release())
}
