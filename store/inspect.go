package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/wire"
)

// Report is what Inspect found in a directory, or what Salvage copied and lost.
type Report struct {
	Dir     string
	Version string   // the format, as VERSION has it
	Faults  []string // of the directory itself
	Log     LogReport
	Labels  LogReport // labels and undos that retention took out of the log
	Tail    engine.TailReport
	Pages   PagesReport
	Out     string // where Salvage put the copy
}

// LogReport is what a log holds.
type LogReport struct {
	Segments    []SegmentReport
	Records     int
	First, Last uint64
	Kinds       []KindCount
	Unknown     []string // records whose bytes are intact and say nothing to this program
	Damages     []Damage
	Tip         string // "agrees", "missing", "damaged"
}

// SegmentReport is one file of a log.
type SegmentReport struct {
	Name        string
	Bytes       int64
	Records     int
	First, Last uint64
}

// KindCount is how many records there are of a kind.
type KindCount struct {
	Kind  string
	Count int
}

// PagesReport is what the checkpoints hold.
type PagesReport struct {
	Pages      int
	Bytes      int64    // of the newest good versions
	Older      int      // pages of which a version is bad and another is good
	Lost       []string // pages without a good version
	OldestAsOf uint64
	NewestAsOf uint64
	Settle     string // "as of record 12", or what is wrong with it
	SettleAsOf uint64
	SweptAsOf  uint64 // every page contains the log up to here
	InOrder    bool   // the last run ended in order
	Unread     string // why the pages were not read
}

// Sound says that nothing is damaged but what a start mends by itself.
func (r Report) Sound() bool {
	for _, l := range []LogReport{r.Log, r.Labels} {
		if len(l.Unknown) > 0 {
			return false
		}
		for _, d := range l.Damages {
			if !d.Torn {
				return false
			}
		}
	}
	return len(r.Faults) == 0 && len(r.Pages.Lost) == 0 && r.Pages.Unread == "" && !r.Tail.Damaged()
}

// Inspect reads every byte of a directory and changes none. Beside a running
// server it reads the log only.
func Inspect(dir string) (Report, error) {
	r := Report{Dir: dir}
	if _, err := os.Stat(dir); err != nil {
		return r, fmt.Errorf("store: inspect: %w", err)
	}
	r.readVersion()
	var err error
	if r.Log, err = inspectLog(logDir(dir), segmentOfLog, nil); err != nil {
		return r, err
	}
	if r.Labels, err = inspectLog(labelsDir(dir), segmentOfLabels, nil); err != nil {
		return r, err
	}
	if r.Tail, err = ReadTail(dir, 0, 0, nil, nil); err != nil {
		return r, err
	}
	if lockHeld(filepath.Join(dir, "LOCK")) {
		r.Pages.Unread = ErrInUse.Error()
		return r, nil
	}
	r.Pages, err = inspectPages(pagesDir(dir), nil)
	return r, err
}

func (r *Report) readVersion() {
	b, err := os.ReadFile(filepath.Join(r.Dir, versionName))
	r.Version = strings.TrimSpace(string(b))
	if err == nil {
		err = parseVersion(b)
	}
	if err != nil {
		r.Faults = append(r.Faults, fmt.Sprintf("%s: %v", versionName, err))
	}
}

// inspectLog looks at a log; keep is given each intact record that this program
// can read.
func inspectLog(dir string, kind segmentKind, keep func(f frame) error) (LogReport, error) {
	var l LogReport
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	kinds := map[string]int{}
	v, err := look(osDisk{}, dir, kind, func(file string, f frame) error {
		rec, err := wire.UnmarshalRecord(f.payload)
		if err != nil {
			l.Unknown = append(l.Unknown, fmt.Sprintf("record %d in %s: %v", f.seq, file, err))
			return nil
		}
		kinds[kindName(rec)]++
		l.Records++
		if l.First == 0 {
			l.First = f.seq
		}
		l.Last = f.seq
		if keep != nil {
			return keep(f)
		}
		return nil
	})
	if err != nil {
		return l, err
	}
	for _, s := range v.segments {
		first := uint64(0)
		if len(s.marks) > 0 {
			first = s.marks[0].seq
		}
		l.Segments = append(l.Segments, SegmentReport{Name: s.name, Bytes: s.size, Records: s.count, First: first, Last: s.last})
	}
	for kind, n := range kinds {
		l.Kinds = append(l.Kinds, KindCount{kind, n})
	}
	sort.Slice(l.Kinds, func(i, k int) bool { return l.Kinds[i].Kind < l.Kinds[k].Kind })
	l.Damages = v.damages
	switch {
	case v.tipBad:
		l.Tip = "damaged"
	case !v.tipFound:
		l.Tip = "missing"
	default:
		l.Tip = fmt.Sprintf("durable up to record %d", v.tip.last)
	}
	return l, nil
}

func kindName(r engine.Record) string {
	switch r.(type) {
	case *engine.Anomaly:
		return "anomaly"
	case *engine.Incident:
		return "incident"
	case engine.Decision:
		return "decision"
	case engine.Outcome:
		return "outcome"
	case engine.ThresholdMove:
		return "threshold"
	case engine.Label:
		return "label"
	case engine.Undo:
		return "undo"
	case engine.Performed:
		return "performed"
	case engine.Tick:
		return "tick"
	}
	return "unknown"
}

// inspectPages looks at the checkpoints; keep is given the newest good version
// of each, and of the settle record.
func inspectPages(dir string, keep func(v value) error) (p PagesReport, err error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	db, done, err := viewBadger(dir)
	if err != nil {
		p.Unread = err.Error()
		return p, nil
	}
	defer done()
	err = p.read(db, keep)
	if cerr := db.Close(); err == nil && cerr != nil {
		p.Unread = cerr.Error()
	}
	if errors.Is(err, ErrDamaged) {
		p.Unread, err = err.Error(), nil
	}
	return p, err
}

// viewBadger opens pages without changing them. After a crash Badger opens them
// only to mend them: then it is given a copy, which done removes.
func viewBadger(dir string) (db *badger.DB, done func(), err error) {
	if db, err = openBadger(badgerOptions(dir).WithReadOnly(true)); err == nil {
		return db, func() {}, nil
	}
	copied, err := os.MkdirTemp("", "homeostat-pages-")
	if err != nil {
		return nil, nil, err
	}
	done = func() { os.RemoveAll(copied) }
	if err = copyFiles(dir, copied); err == nil {
		db, err = openBadger(badgerOptions(copied))
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return db, done, nil
}

// copyFiles copies the files of a directory and leaves room for Badger beside
// them. Zeros are not written: Badger's files are mostly holes.
func copyFiles(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	buf := make([]byte, 256<<10)
	for _, e := range entries {
		if !e.Type().IsRegular() || e.Name() == "LOCK" {
			continue
		}
		if err := copyFile(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()), buf); err != nil {
			return err
		}
		free, err := osDisk{}.Free(to)
		if err != nil {
			return err
		}
		if free < openFloor {
			return fmt.Errorf("%w in %s to look at a copy", ErrNoSpace, to)
		}
	}
	return nil
}

func copyFile(from, to string, buf []byte) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
	}()
	for at := int64(0); ; {
		n, rerr := in.ReadAt(buf, at)
		if !allZero(buf[:n]) {
			if _, err := out.WriteAt(buf[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if rerr == io.EOF {
			return out.Truncate(at)
		}
		if rerr != nil {
			return rerr
		}
	}
}

func (p *PagesReport) read(db *badger.DB, keep func(v value) error) error {
	settle, err := sole(db, settlePrefix)
	if err != nil {
		return err
	}
	switch {
	case len(settle.versions) > 0:
		v := settle.versions[0]
		p.SettleAsOf, p.SweptAsOf = v.asOf, v.swept
		p.Settle = fmt.Sprintf("as of record %d", v.asOf)
		if settle.bad > 0 {
			p.Settle += fmt.Sprintf(" (another version is bad: %v)", settle.why)
		}
		if keep != nil {
			if err := keep(v); err != nil {
				return err
			}
		}
	case settle.bad > 0:
		p.Settle = fmt.Sprintf("no good version: %v", settle.why)
		p.Lost = append(p.Lost, "the settle record: "+settle.why.Error())
	default:
		p.Settle = "none yet"
	}
	order, err := sole(db, orderPrefix)
	if err != nil {
		return err
	}
	p.InOrder = len(order.versions) > 0
	return eachStored(db, pagePrefix, func(s stored) error { return p.page(s, keep) })
}

func (p *PagesReport) page(s stored, keep func(v value) error) error {
	if len(s.versions) == 0 {
		p.Lost = append(p.Lost, fmt.Sprintf("page %d of partition %d: %v", s.id.Number, s.id.Partition, s.why))
		return nil
	}
	v := s.versions[0]
	if p.Pages == 0 || v.asOf < p.OldestAsOf {
		p.OldestAsOf = v.asOf
	}
	p.Pages++
	p.NewestAsOf = max(p.NewestAsOf, v.asOf)
	p.Bytes += int64(len(v.bytes)) + pageHead
	if s.bad > 0 {
		p.Older++
	}
	if keep != nil {
		return keep(v)
	}
	return nil
}

// maxListed bounds how many lines of one sort WriteText writes.
const maxListed = 100

// WriteText writes the report for people.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "store %s: %s\n", r.Dir, quiet(r.Version))
	for _, f := range r.Faults {
		fmt.Fprintf(&b, "  FAULT %s\n", f)
	}
	r.Log.text(&b, "log")
	if r.Labels.Records > 0 || len(r.Labels.Damages) > 0 {
		r.Labels.text(&b, "labels kept beyond the log")
	}
	tailText(&b, r.Tail)
	r.Pages.text(&b)
	switch {
	case r.Out != "":
		fmt.Fprintf(&b, "copied to %s; what is named above as damage or lost is not in it\n", r.Out)
	case r.Sound():
		b.WriteString("sound\n")
	default:
		b.WriteString("damaged: `homeostat inspect --salvage` copies what is intact into a new directory\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// quiet takes what could command a terminal out of stored text.
func quiet(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 {
			return '?'
		}
		return c
	}, s)
}

func (l LogReport) text(b *strings.Builder, name string) {
	fmt.Fprintf(b, "%s: %d records, %d to %d, in %d segments; tip: %s\n", name, l.Records, l.First, l.Last, len(l.Segments), l.Tip)
	for i, s := range l.Segments {
		if i >= maxListed {
			fmt.Fprintf(b, "  and %d more\n", len(l.Segments)-i)
			break
		}
		fmt.Fprintf(b, "  %s  %d bytes  %d records  %d to %d\n", s.Name, s.Bytes, s.Records, s.First, s.Last)
	}
	for _, k := range l.Kinds {
		fmt.Fprintf(b, "  %-10s %d\n", k.Kind, k.Count)
	}
	for _, d := range l.Damages {
		word := "DAMAGE"
		if d.Torn {
			word = "torn tail, which a start cuts"
		}
		fmt.Fprintf(b, "  %s %s at offset %d, %d bytes: %s", word, d.File, d.Offset, d.Bytes, d.Why)
		if lost := d.Lost(); lost != "" {
			fmt.Fprintf(b, "; lost: %s", lost)
		}
		b.WriteByte('\n')
	}
	listed(b, "UNREADABLE", l.Unknown)
}

func tailText(b *strings.Builder, t engine.TailReport) {
	if t.Segments == 0 {
		return
	}
	fmt.Fprintf(b, "tail log: %d points from %s to %s, in %d blocks of %d segments, %d bytes; %d points lost\n",
		t.Points, clock(t.From), clock(t.To), t.Blocks, t.Segments, t.Bytes, t.Lost)
	for _, g := range t.Gaps {
		word, many := "gap", ""
		if g.Damage {
			word = "DAMAGE"
		}
		if g.Points > 0 {
			many = fmt.Sprintf(", %d points", g.Points)
		}
		fmt.Fprintf(b, "  %s from %s to %s%s: %s\n", word, clock(g.After), clock(g.Before), many, g.Why)
	}
	if t.MoreGaps > 0 {
		fmt.Fprintf(b, "  and %d more\n", t.MoreGaps)
	}
}

// clock is a time in ms for people.
func clock(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).UTC().Format(time.RFC3339)
}

func (p PagesReport) text(b *strings.Builder) {
	if p.Unread != "" {
		fmt.Fprintf(b, "pages: NOT READ: %s\n", quiet(p.Unread))
		return
	}
	fmt.Fprintf(b, "pages: %d, %d bytes, as of records %d to %d, all as of %d or later; settle record: %s; last run ended in order: %v\n",
		p.Pages, p.Bytes, p.OldestAsOf, p.NewestAsOf, p.SweptAsOf, p.Settle, p.InOrder)
	if p.Older > 0 {
		fmt.Fprintf(b, "  %d pages have one bad version and one good one\n", p.Older)
	}
	listed(b, "LOST", p.Lost)
}

func listed(b *strings.Builder, word string, lines []string) {
	for i, line := range lines {
		if i >= maxListed {
			fmt.Fprintf(b, "  and %d more\n", len(lines)-i)
			return
		}
		fmt.Fprintf(b, "  %s %s\n", word, quiet(line))
	}
}
