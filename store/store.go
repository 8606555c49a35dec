package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
	"github.com/homeostat/homeostat/engine/wire"
)

// Config says how a store behaves. Its zero value is usable: every field that is
// zero takes the default named beside it.
type Config struct {
	// SegmentBytes is the size at which a file of the log is full. Default 16 MiB.
	SegmentBytes int64
	// MinFreeBytes is the free space below which Admit refuses, unless the next
	// checkpoint needs more: twice its size and a value-log file. Default 1 GiB.
	MinFreeBytes int64
	// BallastBytes is the size of a file that is given up when the disk runs
	// full in spite of Admit. Default 64 MiB; negative for none.
	BallastBytes int64
	// TailBytes bounds the tail log. Default 1 GiB; negative for none.
	TailBytes int64
	// TailAge is how long the tail log keeps a point, in event time. Default 30 days.
	TailAge time.Duration

	disk disk
}

func (c Config) withDefaults() Config {
	if c.SegmentBytes == 0 {
		c.SegmentBytes = 16 << 20
	}
	if c.MinFreeBytes == 0 {
		c.MinFreeBytes = 1 << 30
	}
	if c.BallastBytes == 0 {
		c.BallastBytes = 64 << 20
	}
	if c.TailBytes == 0 {
		c.TailBytes = 1 << 30
	}
	if c.TailAge == 0 {
		c.TailAge = 30 * 24 * time.Hour
	}
	if c.disk == nil {
		c.disk = osDisk{}
	}
	return c
}

// Validate says which field is out of its bounds.
func (c Config) Validate() error {
	if c.SegmentBytes < 0 || c.SegmentBytes > 1<<30 {
		return fmt.Errorf("segment_bytes %d: want 0 to %d", c.SegmentBytes, 1<<30)
	}
	if c.MinFreeBytes < 0 {
		return fmt.Errorf("min_free_bytes %d: want 0 or more", c.MinFreeBytes)
	}
	if c.TailBytes > 0 && c.TailBytes < minTailBytes {
		return fmt.Errorf("tail_bytes %d: want %d or more, or a negative number for no tail log", c.TailBytes, minTailBytes)
	}
	if c.TailAge < 0 {
		return fmt.Errorf("tail_age %v: want 0 or more", c.TailAge)
	}
	return nil
}

// Store is a directory. It fits loop.Journal. What writes is called by one
// goroutine at a time, or waits; Scan, First, Last, Admit and Stats may run
// beside it.
type Store struct {
	cfg    Config
	dir    string
	lock   *lock
	log    *journal
	labels *journal
	pages  *pages
	space  *space
	tail   *Tail // nil for none

	write  sync.Mutex
	closed bool
	encode []byte
	ends   []int
	slices [][]byte
}

const (
	versionName = "VERSION"
	versionText = "homeostat store "
	version1    = 1
)

// Open opens a directory, or makes one. ErrInUse says that another process has
// it, ErrNewer that a newer program wrote it, ErrDamaged that bytes are not what
// was written and no crash explains it, ErrNoSpace that there is no room to
// start.
func Open(dir string, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	cfg = cfg.withDefaults()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	held, err := lockDir(filepath.Join(dir, "LOCK"))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	s := &Store{cfg: cfg, dir: dir, lock: held}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.release())
	}
	return s, nil
}

func (s *Store) open() error {
	if err := s.checkVersion(); err != nil {
		return err
	}
	var err error
	if s.log, err = openJournal(s.cfg.disk, logDir(s.dir), segmentOfLog, s.cfg.SegmentBytes); err != nil {
		return err
	}
	if s.labels, err = openJournal(s.cfg.disk, labelsDir(s.dir), segmentOfLabels, s.cfg.SegmentBytes); err != nil {
		return err
	}
	s.space = &space{
		disk: s.cfg.disk, dir: s.dir, ballast: s.cfg.BallastBytes,
		next: func() int64 { return 0 },
	}
	s.space.least.Store(uint64(s.cfg.MinFreeBytes))
	if f, err := s.cfg.disk.OpenFile(filepath.Join(s.dir, ballastName), os.O_RDONLY); err == nil {
		s.space.held = true
		f.Close()
	}
	if err := s.space.toOpen(); err != nil {
		return err
	}
	if s.pages, err = openPages(pagesDir(s.dir), s.space.toRewrite); err != nil {
		return err
	}
	s.space.next = s.pages.held.Load
	s.space.look()
	if s.cfg.TailBytes > 0 {
		s.tail, err = openTail(s.cfg, s.dir, func() bool { return !s.space.full.Load() })
	}
	return err
}

// Tail is the store's tail log; nil when it has none.
func (s *Store) Tail() *Tail { return s.tail }

func logDir(dir string) string    { return filepath.Join(dir, "log") }
func labelsDir(dir string) string { return filepath.Join(dir, "labels") }

// checkVersion reads which format the directory has, or says so in a new one.
func (s *Store) checkVersion() error {
	name := filepath.Join(s.dir, versionName)
	b, err := readFile(osDisk{}, name)
	if err == nil {
		return parseVersion(b)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: read %s: %w", name, err)
	}
	for _, kept := range []string{logDir(s.dir), pagesDir(s.dir)} {
		if entries, err := os.ReadDir(kept); err == nil && len(entries) > 0 {
			return (Damage{File: versionName, Why: "the file is missing beside a log"}).err()
		}
	}
	if err := writeFile(osDisk{}, name, []byte(versionText+strconv.Itoa(version1)+"\n")); err != nil {
		return fmt.Errorf("store: write %s: %w", name, err)
	}
	return nil
}

func parseVersion(b []byte) error {
	text, ok := strings.CutPrefix(string(b), versionText)
	n, err := strconv.Atoi(strings.TrimSuffix(text, "\n"))
	switch {
	case !ok || err != nil || n < 1:
		return (Damage{File: versionName, Why: fmt.Sprintf("%q is no version", b)}).err()
	case n > version1:
		return fmt.Errorf("%w: store version %d, this program knows %d", ErrNewer, n, version1)
	}
	return nil
}

// Append makes the records durable, in order, before it returns. An error is
// final.
func (s *Store) Append(records []engine.Record) (first uint64, err error) {
	s.write.Lock()
	defer s.write.Unlock()
	s.encode, s.ends, s.slices = s.encode[:0], s.ends[:0], s.slices[:0]
	for i, r := range records {
		if s.encode, err = wire.MarshalRecord(s.encode, r); err != nil {
			err = fmt.Errorf("store: record %d of an append: %w", i, err)
			s.log.fail(err)
			return 0, err
		}
		s.ends = append(s.ends, len(s.encode))
	}
	from := 0
	for _, end := range s.ends {
		s.slices = append(s.slices, s.encode[from:end])
		from = end
	}
	if first, err = s.log.append(s.slices, nil); err != nil {
		return 0, fmt.Errorf("store: append %d records: %w", len(records), err)
	}
	return first, nil
}

// Last is the sequence of the newest record, 0 for an empty log.
func (s *Store) Last() uint64 { return s.log.Last() }

// First is the sequence of the oldest record kept, 0 for an empty log.
func (s *Store) First() uint64 { return s.log.First() }

// Scan calls fn with each record from a sequence on, in order, as far as the log
// is durable when it begins, until fn fails. ErrRetired says that retention
// took what was asked for in the meantime. Where a salvage lost records their
// sequences are skipped.
func (s *Store) Scan(from uint64, fn func(seq uint64, r engine.Record) error) error {
	return scanRecords(s.log, from, fn)
}

func scanRecords(j *journal, from uint64, fn func(seq uint64, r engine.Record) error) error {
	return j.scan(from, func(seq uint64, payload []byte) error {
		r, err := wire.UnmarshalRecord(payload)
		if err != nil {
			return fmt.Errorf("store: record %d: %w", seq, err)
		}
		return fn(seq, r)
	})
}

// WritePages stores pages, in synced batches. It refuses with ErrNoSpace before
// the disk is full; then the pages keep the versions that they had.
func (s *Store) WritePages(asOf uint64, out []loop.Page) error {
	s.write.Lock()
	defer s.write.Unlock()
	if last := s.log.Last(); asOf > last {
		return fmt.Errorf("store: pages as of record %d, the log ends at %d", asOf, last)
	}
	return s.pages.write(asOf, out, s.space.room)
}

// WriteSettle stores the settle record. It ends a pass: every page that was
// dirty at the WriteSettle before has been stored since.
func (s *Store) WriteSettle(asOf uint64, record []byte) error {
	s.write.Lock()
	defer s.write.Unlock()
	if last := s.log.Last(); asOf > last {
		return fmt.Errorf("store: a settle record as of record %d, the log ends at %d", asOf, last)
	}
	if err := s.pages.writeSettle(asOf, record, s.space.room); err != nil {
		return err
	}
	s.log.noted = noted{settled: asOf, pages: uint64(len(s.pages.known))}
	if s.log.broken != nil || len(s.log.segments) == 0 {
		return nil
	}
	if err := s.log.writeTip(); err != nil {
		s.log.fail(err)
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// SetMinFreeBytes puts another Config.MinFreeBytes in force, 0 being the default.
// It may run beside everything else, and holds from the next look at the disk.
func (s *Store) SetMinFreeBytes(bytes int64) error {
	cfg := Config{MinFreeBytes: bytes}
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	s.space.least.Store(uint64(cfg.withDefaults().MinFreeBytes))
	s.space.look()
	return nil
}

// Admit says ErrNoSpace while the disk has too little room; it is cheap, and
// says yes again by itself.
func (s *Store) Admit() error {
	err := s.space.admit()
	if err != nil {
		// It may be garbage of our own that fills the disk, and while nothing is
		// taken in no page is written that would have it collected.
		s.pages.nudge()
	}
	return err
}

// EndInOrder notes that every page and the settle record are stored, so that
// the next start need redo nothing.
func (s *Store) EndInOrder() error {
	s.write.Lock()
	defer s.write.Unlock()
	return s.pages.order(s.log.Last(), true)
}

// Close ends the store. It stores nothing more.
func (s *Store) Close() error {
	s.write.Lock()
	defer s.write.Unlock()
	return s.release()
}

func (s *Store) release() error {
	var errs []error
	if s.closed {
		return nil
	}
	s.closed = true
	if s.tail != nil {
		s.tail.close()
	}
	if s.pages != nil {
		errs = append(errs, s.pages.close())
	}
	for _, j := range []*journal{s.labels, s.log} {
		if j != nil {
			errs = append(errs, j.close())
		}
	}
	return errors.Join(append(errs, s.lock.release())...)
}

// Stats are the figures of a store since it was opened.
type Stats struct {
	First, Last   uint64 // sequences of the log
	Segments      int
	LogBytes      int64
	Syncs         int64
	SyncTime      time.Duration // all of them together
	CutBytes      int64         // torn off the log's end when it was opened
	PageBytes     int64         // of the newest versions: the next checkpoint's size
	Rewritten     int64         // value-log files
	FreeBytes     uint64        // when last asked
	NeedBytes     uint64        // below it nothing is taken in
	Refusing      bool
	Refused       uint64 // calls of Admit
	BallastHeld   bool
	BallastGiven  int  // how often the ballast was given up
	TipUnreadable bool // the note of how far the log was durable was damaged
}

// Stats may be called at any time before Close.
func (s *Store) Stats() Stats {
	st := Stats{
		First: s.log.First(), Last: s.log.Last(),
		CutBytes: s.log.cut.Bytes, TipUnreadable: s.log.cut.Tip,
		PageBytes: s.pages.held.Load(), Rewritten: s.pages.collected.Load(),
		NeedBytes: s.space.need(), Refusing: s.space.full.Load(), Refused: s.space.refused.Load(),
	}
	s.log.mu.RLock()
	st.Segments, st.Syncs, st.SyncTime = len(s.log.segments), s.log.synced, time.Duration(s.log.syncTime)
	for _, seg := range s.log.segments {
		st.LogBytes += seg.size
	}
	s.log.mu.RUnlock()
	s.space.mu.Lock()
	st.FreeBytes, st.BallastHeld, st.BallastGiven = s.space.free, s.space.held, s.space.releases
	s.space.mu.Unlock()
	return st
}

// Cut says what opening the log took off its end.
func (s *Store) Cut() Cut { return s.log.cut }
