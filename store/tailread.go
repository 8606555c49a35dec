package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/homeostat/homeostat/engine"
)

// tailHead is what stands before a block of the engine's in its frame.
type tailHead struct {
	ended  bool   // the segment ends in order; there is no block
	points uint64 // in the block
	lost   uint64 // points that came between this block and the one before, and were not kept
	from   int64  // the earliest of the block, ms
	to     int64  // the latest
}

const tailHeadVersion = 1

func (h *tailHead) take(at int64) {
	h.points++
	h.from, h.to = min(h.from, at), max(h.to, at)
}

func (h tailHead) append(b []byte) []byte {
	var flags byte
	if h.ended {
		flags = 1
	}
	b = append(b, tailHeadVersion, flags)
	b = binary.AppendUvarint(b, h.points)
	b = binary.AppendUvarint(b, h.lost)
	b = binary.AppendVarint(b, h.from)
	return binary.AppendVarint(b, h.to)
}

var errTailHead = errors.New("the head of a tail block makes no sense")

// parseTailHead reads what append wrote, and returns the block behind it.
func parseTailHead(b []byte) (h tailHead, block []byte, err error) {
	if len(b) < 2 || b[1] > 1 {
		return h, nil, errTailHead
	}
	if b[0] != tailHeadVersion {
		return h, nil, fmt.Errorf("%w: tail block version %d, this program knows %d", ErrNewer, b[0], tailHeadVersion)
	}
	h.ended = b[1] == 1
	b = b[2:]
	for _, v := range []*uint64{&h.points, &h.lost} {
		n := 0
		if *v, n = binary.Uvarint(b); n <= 0 {
			return h, nil, errTailHead
		}
		b = b[n:]
	}
	for _, v := range []*int64{&h.from, &h.to} {
		n := 0
		if *v, n = binary.Varint(b); n <= 0 {
			return h, nil, errTailHead
		}
		b = b[n:]
	}
	return h, b, nil
}

// maxTailGaps bounds the gaps that a report lists.
const maxTailGaps = 100

// Scan calls fn with each point that was kept, those of a series in order of
// time, until fn fails. wanted chooses series, nil all; from and to bound the
// time, both included, 0 for no bound. A point is fn's during the call only.
func (t *Tail) Scan(from, to int64, wanted func(*engine.Series) bool, fn func(*engine.TailPoint) error) (engine.TailReport, error) {
	t.flush()
	t.mu.Lock()
	segments := append([]tailSegment(nil), t.segments...)
	t.mu.Unlock()
	s := tailScan{disk: t.disk, dir: t.dir, from: from, to: to, wanted: wanted, fn: fn, live: true}
	err := s.run(segments, t.pending())
	return s.TailReport, err
}

// ReadTail is Tail.Scan for a directory, without a lock and without changing
// anything. A directory without a tail log has no points.
func ReadTail(dir string, from, to int64, wanted func(*engine.Series) bool, fn func(*engine.TailPoint) error) (engine.TailReport, error) {
	names, err := tailNames(osDisk{}, tailDir(dir))
	if errors.Is(err, os.ErrNotExist) {
		return engine.TailReport{}, nil
	}
	if err != nil {
		return engine.TailReport{}, err
	}
	var segments []tailSegment
	for _, name := range names {
		segments = append(segments, tailSegment{name: name})
	}
	s := tailScan{
		disk: osDisk{}, dir: tailDir(dir), from: from, to: to, wanted: wanted, fn: fn,
		live: lockHeld(filepath.Join(dir, "LOCK")),
	}
	err = s.run(segments, 0)
	return s.TailReport, err
}

// tailScan reads a tail log from end to end.
type tailScan struct {
	engine.TailReport
	disk     disk
	dir      string
	from, to int64
	wanted   func(*engine.Series) bool
	fn       func(*engine.TailPoint) error
	live     bool // somebody writes the last segment

	seq     uint64 // of the frame before
	missing *engine.TailGap
}

// run reads the segments. pending are points that were lost behind the last
// block.
func (s *tailScan) run(segments []tailSegment, pending uint64) error {
	for i, seg := range segments {
		ended, err := s.segment(seg)
		if err != nil {
			return err
		}
		if last := i == len(segments)-1; !ended && !(last && s.live) {
			s.open(engine.TailGap{Why: "the process ended without saying so; what it kept last is missing"})
		}
	}
	s.lose(pending)
	if s.missing != nil {
		s.gap(*s.missing)
	}
	return nil
}

func (s *tailScan) gap(g engine.TailGap) {
	if len(s.Gaps) >= maxTailGaps {
		s.MoreGaps++
		return
	}
	s.Gaps = append(s.Gaps, g)
}

// open begins a gap, which the next block ends. A gap within one is the same.
func (s *tailScan) open(g engine.TailGap) {
	if s.missing != nil {
		s.missing.Damage = s.missing.Damage || g.Damage
		s.missing.Points += g.Points
		return
	}
	g.After = s.To
	s.missing = &g
}

// lose notes points that were counted and not kept.
func (s *tailScan) lose(points uint64) {
	if points > 0 {
		s.Lost += points
		s.open(engine.TailGap{Points: points, Why: "the disk was full or too slow"})
	}
}

// segment reads one file, and says whether it was ended in order.
func (s *tailScan) segment(seg tailSegment) (ended bool, err error) {
	f, err := s.disk.OpenFile(filepath.Join(s.dir, seg.name), os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil // retired meanwhile
	}
	if err != nil {
		return false, fmt.Errorf("store: read the tail log: %w", err)
	}
	defer f.Close()
	if seg.size == 0 {
		if seg.size, err = f.Size(); err != nil {
			return false, fmt.Errorf("store: size of %s: %w", seg.name, err)
		}
	}
	s.Segments++
	s.Bytes += seg.size
	w := newWalk(f, 0, seg.size)
	head, err := w.window(segmentHead)
	if err != nil {
		return false, fmt.Errorf("store: read %s: %w", seg.name, err)
	}
	h, err := parseHeader(head)
	if errors.Is(err, ErrNewer) {
		return false, fmt.Errorf("tail segment %s: %w", seg.name, err)
	}
	if err != nil || h.kind != segmentOfTail {
		s.open(engine.TailGap{Why: seg.name + " does not begin as a segment of the tail log does", Damage: seg.size >= segmentHead})
		return true, nil
	}
	w.at = segmentHead
	return s.frames(seg.name, w)
}

func (s *tailScan) frames(name string, w *walk) (ended bool, err error) {
	decoder := engine.NewTailDecoder(s.wanted)
	defer func() { s.Lost += decoder.Lost() }()
	for {
		at := w.at
		f, err := w.next()
		switch {
		case err == io.EOF:
			return ended, nil
		case errors.Is(err, errShort), errors.Is(err, errBadFrame):
			_, found, serr := w.skip()
			if serr != nil {
				return false, fmt.Errorf("store: read %s: %w", name, serr)
			}
			if !found {
				return false, nil // torn
			}
			s.open(engine.TailGap{Why: fmt.Sprintf("%s at offset %d: %v", name, at, err), Damage: true})
			continue
		case err != nil:
			return false, fmt.Errorf("store: read %s: %w", name, err)
		}
		if ended, err = s.frame(name, at, f, decoder); err != nil {
			return false, err
		}
	}
}

func (s *tailScan) frame(name string, at int64, f frame, decoder *engine.TailDecoder) (ended bool, err error) {
	head, block, err := parseTailHead(f.payload)
	if errors.Is(err, ErrNewer) {
		return false, fmt.Errorf("tail segment %s at offset %d: %w", name, at, err)
	}
	if err != nil {
		s.open(engine.TailGap{Why: fmt.Sprintf("%s at offset %d: %v", name, at, err), Damage: true})
		return false, nil
	}
	if s.seq > 0 && f.seq != s.seq+1 && s.missing == nil {
		s.open(engine.TailGap{Why: fmt.Sprintf("%s: block %d follows block %d", name, f.seq, s.seq), Damage: true})
	}
	s.seq = f.seq
	s.lose(head.lost)
	if head.ended {
		return true, nil
	}
	if s.missing != nil {
		s.missing.Before = head.from
		s.gap(*s.missing)
		s.missing = nil
	}
	s.Blocks++
	s.Points += head.points
	if s.From == 0 || head.from < s.From {
		s.From = head.from
	}
	s.To = max(s.To, head.to)
	if s.fn == nil {
		return false, nil
	}
	err = decoder.Block(block, func(p *engine.TailPoint) error {
		if p.At < s.from || s.to > 0 && p.At > s.to {
			return nil
		}
		return s.fn(p)
	})
	if errors.Is(err, engine.ErrTail) {
		s.open(engine.TailGap{Why: fmt.Sprintf("%s at offset %d: %v", name, at, err), Damage: true})
		err = nil
	}
	return false, err
}

// tailLook is what is known of a segment without reading its points.
type tailLook struct {
	tailSegment
	last  uint64 // sequence of its last frame, 0 for none
	ended bool
	whole bool // it was walked to its end, so that last and ended are known
}

// lookTail looks at a segment: at its first block when quick, else at all.
func lookTail(d disk, dir, name string, quick bool) (tailLook, error) {
	l := tailLook{tailSegment: tailSegment{name: name}, whole: !quick}
	f, err := d.OpenFile(filepath.Join(dir, name), os.O_RDONLY)
	if err != nil {
		return l, fmt.Errorf("store: open the tail log: %w", err)
	}
	defer f.Close()
	if l.size, err = f.Size(); err != nil {
		return l, fmt.Errorf("store: size of %s: %w", name, err)
	}
	w := newWalk(f, min(segmentHead, l.size), l.size)
	for {
		fr, err := w.next()
		if errors.Is(err, errShort) || errors.Is(err, errBadFrame) {
			if _, _, err = w.skip(); err == nil {
				continue
			}
		}
		if err == io.EOF {
			return l, nil
		}
		if err != nil {
			return l, fmt.Errorf("store: read %s: %w", name, err)
		}
		l.last = fr.seq
		head, _, err := parseTailHead(fr.payload)
		if err != nil {
			continue
		}
		l.ended = head.ended
		if l.from == 0 {
			l.from = head.from
		}
		if quick {
			return l, nil
		}
	}
}
