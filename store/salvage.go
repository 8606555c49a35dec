package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/homeostat/homeostat/engine/loop"
)

// salvageAppend is how many records Salvage makes durable at once.
const salvageAppend = 1024

// Salvage copies every intact record, with its sequence, and the newest good
// version of every page into a new directory, which opens. The old one is left
// as it is. The report names what was lost. It refuses while a server runs, and
// a directory that is not empty.
func Salvage(dir, out string) (Report, error) {
	if entries, err := os.ReadDir(out); err == nil && len(entries) > 0 {
		return Report{}, fmt.Errorf("store: salvage: %s is not empty", out)
	}
	if _, err := os.Stat(dir); err != nil {
		return Report{}, fmt.Errorf("store: salvage: %w", err)
	}
	held, err := lockDir(filepath.Join(dir, "LOCK"))
	if err != nil {
		return Report{}, fmt.Errorf("store: salvage %s: %w", dir, err)
	}
	defer held.release()
	s, err := Open(out, Config{MinFreeBytes: 1, BallastBytes: -1})
	if err != nil {
		return Report{}, err
	}
	r := Report{Dir: dir, Out: out}
	err = errors.Join(s.takeFrom(dir, &r), s.Close())
	if err == nil {
		err = copyTail(dir, out, &r)
	}
	return r, err
}

// copyTail copies the files of a tail log as they are: who reads one passes over
// what is damaged, and counts it.
func copyTail(dir, out string, r *Report) (err error) {
	if r.Tail, err = ReadTail(dir, 0, 0, nil, nil); err != nil || r.Tail.Segments == 0 {
		return err
	}
	if err := copyFiles(tailDir(dir), tailDir(out)); err != nil {
		return fmt.Errorf("store: salvage the tail log: %w", err)
	}
	return nil
}

func (s *Store) takeFrom(dir string, r *Report) error {
	r.readVersion()
	var err error
	if r.Log, err = salvageLog(logDir(dir), s.log, segmentOfLog); err != nil {
		return err
	}
	if r.Labels, err = salvageLog(labelsDir(dir), s.labels, segmentOfLabels); err != nil {
		return err
	}
	// What a page contains was in the log once. Where the log's end is lost the
	// new one goes on behind it: no sequence is given twice.
	end := s.log.last
	if t, found, err := readTip(osDisk{}, logDir(dir)); err == nil && found {
		end = max(end, t.last)
	}
	for _, seg := range r.Log.Damages {
		end = max(end, seg.To)
	}
	t := taking{store: s, pages: map[uint64][]loop.Page{}}
	if r.Pages, err = inspectPages(pagesDir(dir), t.take); err != nil {
		return err
	}
	if err := t.flush(); err != nil {
		return err
	}
	return s.log.skipTo(max(end, t.newest))
}

// taking collects pages by their as-of, so that many are written at once.
type taking struct {
	store  *Store
	pages  map[uint64][]loop.Page
	bytes  int
	newest uint64
}

func (t *taking) take(v value) error {
	t.newest = max(t.newest, v.asOf)
	if v.kind == kindSettle {
		t.store.pages.swept = v.swept
		return t.store.pages.writeSettle(v.asOf, v.bytes, t.store.space.room)
	}
	t.pages[v.asOf] = append(t.pages[v.asOf], loop.Page{ID: v.id, Bytes: v.bytes})
	if t.bytes += len(v.bytes); t.bytes >= batchBytes {
		return t.flush()
	}
	return nil
}

func (t *taking) flush() error {
	for asOf, out := range t.pages {
		if err := t.store.pages.write(asOf, out, t.store.space.room); err != nil {
			return err
		}
	}
	clear(t.pages)
	t.bytes = 0
	return nil
}

// salvageLog copies what is intact. The copy is sparse, for its sequences have
// gaps where records are lost.
func salvageLog(dir string, to *journal, kind segmentKind) (LogReport, error) {
	to.sparse = true
	var payloads [][]byte
	var seqs []uint64
	flush := func() error {
		_, err := to.append(payloads, seqs)
		payloads, seqs = payloads[:0], seqs[:0]
		return err
	}
	l, err := inspectLog(dir, kind, func(f frame) error {
		payloads = append(payloads, append([]byte(nil), f.payload...))
		seqs = append(seqs, f.seq)
		if len(payloads) >= salvageAppend {
			return flush()
		}
		return nil
	})
	if err != nil {
		return l, err
	}
	if err := flush(); err != nil {
		return l, err
	}
	return l, nil
}

// skipTo ends the log at a sequence beyond its last record, by a segment that
// begins behind it.
func (j *journal) skipTo(last uint64) error {
	if last <= j.last {
		return nil
	}
	j.mu.Lock()
	j.last = last
	j.mu.Unlock()
	if err := j.rotate(); err != nil {
		j.fail(err)
		return fmt.Errorf("store: %w", err)
	}
	return nil
}
