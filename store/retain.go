package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/wire"
)

// Retention says how much of the log stays. A field that is zero asks for
// nothing; the log shrinks until every field that is set holds.
type Retention struct {
	Records uint64 // at most so many, rounded up to whole segments
	Bytes   int64  // at most so many, likewise
	Before  int64  // no segment whose newest record is older than this event time, ms
}

// RetireReport says what Retire took.
type RetireReport struct {
	Segments int
	Records  int
	Bytes    int64
	Labels   int // labels and undos copied to where they stay
	Held     int // segments that were due and that a restart would still need
}

// Retire removes the oldest segments of the log, as the retention says. It never
// takes the segment that is written, nor one with records that a page or the
// settle record does not contain yet. Labels and undos are copied to a log of
// their own first, with their sequences, and stay for ever: a label can be undone
// as long as it is known.
func (s *Store) Retire(keep Retention) (RetireReport, error) {
	s.write.Lock()
	defer s.write.Unlock()
	var rep RetireReport
	due, err := s.due(keep)
	if err != nil {
		return rep, err
	}
	oldest := s.pages.oldest()
	n := 0
	for n < due && s.log.segments[n].last <= oldest {
		n++
	}
	rep.Held = due - n
	for _, seg := range s.log.segments[:n] {
		labels, err := s.keepLabels(seg)
		rep.Labels += labels
		if err != nil {
			return rep, fmt.Errorf("store: keep the labels of %s: %w", seg.name, err)
		}
		rep.Segments++
		rep.Records += seg.count
		rep.Bytes += seg.size
	}
	if n == 0 {
		return rep, nil
	}
	if err := s.log.drop(n); err != nil {
		return rep, fmt.Errorf("store: retire %d segments: %w", n, err)
	}
	return rep, nil
}

// due is how many of the oldest segments the retention wants to go.
func (s *Store) due(keep Retention) (int, error) {
	var records uint64
	var bytes int64
	for _, seg := range s.log.segments {
		records += uint64(seg.count)
		bytes += seg.size
	}
	n := 0
	for ; n < len(s.log.segments)-1; n++ {
		seg := s.log.segments[n]
		more := keep.Records > 0 && records-uint64(seg.count) >= keep.Records ||
			keep.Bytes > 0 && bytes > keep.Bytes
		if !more && keep.Before > 0 {
			newest, err := s.newest(seg)
			if err != nil {
				return 0, err
			}
			more = newest < keep.Before
		}
		if !more {
			break
		}
		records -= uint64(seg.count)
		bytes -= seg.size
	}
	return n, nil
}

// newest is the event time of the last record of a segment that has one.
func (s *Store) newest(seg *segment) (at int64, err error) {
	view := *seg
	from := seg.last
	if len(seg.marks) > 0 {
		from = seg.marks[len(seg.marks)-1].seq
	}
	err = s.log.scanSegment(&view, from, func(seq uint64, payload []byte) error {
		r, err := wire.UnmarshalRecord(payload)
		if err != nil {
			return fmt.Errorf("record %d: %w", seq, err)
		}
		at = max(at, timeOf(r))
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("store: age of %s: %w", seg.name, err)
	}
	return at, nil
}

// timeOf is the event time of a record, in ms.
func timeOf(r engine.Record) int64 {
	switch r := r.(type) {
	case engine.Tick:
		return r.Now
	case *engine.Anomaly:
		return r.At
	case *engine.Incident:
		return r.At
	case engine.Decision:
		return r.At
	case engine.Outcome:
		return r.At
	case engine.ThresholdMove:
		return r.At
	case engine.Label:
		return r.At
	case engine.Undo:
		return r.At
	case engine.Performed:
		return r.At
	}
	return 0
}

// keepLabels copies what people said in a segment to the labels' log. A crash
// after it and before the segment goes leaves it twice; the sequence says so,
// and it is not copied again.
func (s *Store) keepLabels(seg *segment) (int, error) {
	var payloads [][]byte
	var seqs []uint64
	done := s.labels.Last()
	view := *seg
	err := s.log.scanSegment(&view, seg.first, func(seq uint64, payload []byte) error {
		r, err := wire.UnmarshalRecord(payload)
		if err != nil {
			return fmt.Errorf("record %d: %w", seq, err)
		}
		switch r.(type) {
		case engine.Label, engine.Undo:
			if seq > done {
				payloads = append(payloads, append([]byte(nil), payload...))
				seqs = append(seqs, seq)
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if _, err := s.labels.append(payloads, seqs); err != nil {
		return 0, err
	}
	return len(payloads), nil
}

// Labels calls fn with each label and undo ever given, in order, until fn fails:
// those that retention took out of the log, and those in it.
func (s *Store) Labels(fn func(seq uint64, r engine.Record) error) error {
	last := uint64(0)
	err := scanRecords(s.labels, 1, func(seq uint64, r engine.Record) error {
		last = seq
		return fn(seq, r)
	})
	if err != nil {
		return err
	}
	return scanRecords(s.log, last+1, func(seq uint64, r engine.Record) error {
		switch r.(type) {
		case engine.Label, engine.Undo:
			return fn(seq, r)
		}
		return nil
	})
}

// Read calls fn with each record of a directory from a sequence on, without a
// lock and without changing anything. It ends with an error at damage, also at
// a torn tail.
func Read(dir string, from uint64, fn func(seq uint64, r engine.Record) error) error {
	names, err := osDisk{}.List(logDir(dir))
	if err != nil {
		return fmt.Errorf("store: read %s: %w", dir, err)
	}
	for _, name := range names {
		if filepath.Ext(name) != ".log" {
			continue
		}
		if err := readSegment(logDir(dir), name, from, fn); err != nil {
			return err
		}
	}
	return nil
}

func readSegment(dir, name string, from uint64, fn func(uint64, engine.Record) error) error {
	f, err := osDisk{}.OpenFile(filepath.Join(dir, name), os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrRetired, name)
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	head := make([]byte, min(size, segmentHead))
	if _, err := f.ReadAt(head, 0); err != nil {
		return fmt.Errorf("store: read %s: %w", name, err)
	}
	h, err := parseHeader(head)
	if err != nil {
		return (Damage{File: name, Why: err.Error()}).err()
	}
	j := &journal{disk: osDisk{}, dir: dir}
	return j.scanSegment(&segment{header: h, name: name, size: size}, from, func(seq uint64, payload []byte) error {
		r, err := wire.UnmarshalRecord(payload)
		if err != nil {
			return fmt.Errorf("store: record %d: %w", seq, err)
		}
		return fn(seq, r)
	})
}
