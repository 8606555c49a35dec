package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Damage is one stretch of the log that is not what was written.
type Damage struct {
	File     string
	Offset   int64
	Bytes    int64 // 0 when it is a record's place that is wrong, not its bytes
	From, To uint64
	Why      string
	// Torn says that a crash in the middle of an append explains it: no Append
	// had returned for what is missing.
	Torn bool
}

// Lost names the records that the damage took; empty when it took none.
func (d Damage) Lost() string {
	switch {
	case d.From == 0 || d.To != 0 && d.To < d.From:
		return ""
	case d.To == 0:
		return fmt.Sprintf("records from %d on", d.From)
	case d.From == d.To:
		return fmt.Sprintf("record %d", d.From)
	}
	return fmt.Sprintf("records %d to %d", d.From, d.To)
}

func (d Damage) err() *DamageError {
	why := d.Why
	if lost := d.Lost(); lost != "" {
		why += " (" + lost + ")"
	}
	return &DamageError{File: d.File, Offset: d.Offset, Why: why}
}

// survey is what a look at every byte of a log found. It changes nothing.
type survey struct {
	segments []*segment
	damages  []Damage
	last     uint64
	chain    chain
	tip      tip
	tipFound bool
	tipBad   bool

	disk  disk
	dir   string
	kind  segmentKind
	visit func(file string, f frame) error // for each intact frame

	atTip     chain
	sawTip    bool
	unsure    bool // the chain before the next frame is not known
	missingTo int  // index of the damage whose To the next frame tells, or -1
	open      bool // torn so far: the damages found may be a torn tail
	zeros     bool // the first damage has a sector that was never written
	want      uint64
}

// look walks the whole log. visit may be nil; its payloads are good during the
// call only.
func look(d disk, dir string, kind segmentKind, visit func(string, frame) error) (*survey, error) {
	v := &survey{disk: d, dir: dir, kind: kind, visit: visit, missingTo: -1, open: true}
	var err error
	v.tip, v.tipFound, err = readTip(d, dir)
	if errors.Is(err, errBadTip) {
		v.tipBad, err = true, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := d.List(dir)
	if err != nil {
		return nil, fmt.Errorf("store: list the log: %w", err)
	}
	var names []string
	for _, name := range all {
		if strings.HasSuffix(name, ".log") {
			names = append(names, name)
		}
	}
	for i, name := range names {
		if err := v.file(name, i == len(names)-1); err != nil {
			return nil, err
		}
	}
	v.ends()
	return v, nil
}

// hard notes damage that no crash explains.
func (v *survey) hard(d Damage) {
	v.open = false
	v.damages = append(v.damages, d)
}

func (v *survey) file(name string, final bool) error {
	f, err := v.disk.OpenFile(filepath.Join(v.dir, name), os.O_RDONLY)
	if err != nil {
		return fmt.Errorf("store: open segment: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("store: size of segment %s: %w", name, err)
	}
	s := &segment{name: name, size: segmentHead}
	w := newWalk(f, 0, size)
	head, err := w.window(segmentHead)
	if err != nil {
		return fmt.Errorf("store: segment %s: %w", name, err)
	}
	s.header, err = parseHeader(head)
	if errors.Is(err, ErrNewer) {
		return fmt.Errorf("segment %s: %w", name, err)
	}
	frames := len(v.segments) > 0
	if err != nil {
		// Only the last file may be one whose beginning a crash interrupted,
		// and then it has no record.
		bad := Damage{File: name, Bytes: min(size, segmentHead), Why: err.Error(), From: v.last + 1, Torn: final}
		v.open = v.open && final && len(v.damages) == 0
		v.want = v.last + 1
		v.damages = append(v.damages, bad)
		v.missingTo, v.unsure, v.zeros = len(v.damages)-1, true, false
		s.first = v.last + 1
		s.size = 0
	} else {
		v.place(s, frames)
	}
	w.at = min(segmentHead, size)
	if err := v.frames(s, w, final); err != nil {
		return err
	}
	v.segments = append(v.segments, s)
	return nil
}

// place checks that the segment follows what came before it.
func (v *survey) place(s *segment, follows bool) {
	bad := Damage{File: s.name, From: v.last + 1, To: s.first - 1}
	switch {
	case s.kind != v.kind:
		bad.Why = fmt.Sprintf("a file of kind %d where one of kind %d belongs", s.kind, v.kind)
		v.hard(bad)
	case s.name != segmentName(s.first):
		bad.Why = fmt.Sprintf("the file holds the records from %d on and has another's name", s.first)
		v.hard(bad)
	case follows && (s.first <= v.last || s.first != v.last+1 && !s.sparse):
		bad.Why = fmt.Sprintf("it begins with record %d where record %d belongs", s.first, v.last+1)
		v.hard(bad)
	case follows && !v.unsure && !s.sparse && s.header.chain != v.chain:
		bad.Why, bad.From = "its chain does not continue the segment before", 0
		v.hard(bad)
	}
	if v.missingTo >= 0 {
		v.damages[v.missingTo].To = s.first - 1
		v.missingTo = -1
	}
	s.chain = s.header.chain
	v.last, v.chain, v.unsure = s.first-1, s.header.chain, false
}

func (v *survey) frames(s *segment, w *walk, final bool) error {
	for {
		at := w.at
		f, err := w.next()
		switch {
		case err == io.EOF:
			return nil
		case err == nil:
			if err := v.frame(s, f, at); err != nil {
				return err
			}
			continue
		case !errors.Is(err, errShort) && !errors.Is(err, errBadFrame):
			return fmt.Errorf("store: segment %s: %w", s.name, err)
		}
		passed, found, serr := w.skip()
		if serr != nil {
			return fmt.Errorf("store: segment %s: %w", s.name, serr)
		}
		if len(v.damages) == 0 {
			v.want = v.last + 1
			v.zeros = !found || neverWritten(passed, at)
		}
		v.open = v.open && final
		why := err.Error()
		if allZero(passed) {
			why = "nothing but zeros"
		}
		v.damages = append(v.damages, Damage{File: s.name, Offset: at, Bytes: int64(len(passed)), From: v.last + 1, Why: why, Torn: true})
		v.missingTo, v.unsure = len(v.damages)-1, true
	}
}

// neverWritten says that one of the sectors of the damage, from its first byte
// or the sector's beginning to the sector's end, is all zeros: a crash lost that
// sector of the append, while rot makes no such thing.
func neverWritten(b []byte, at int64) bool {
	for len(b) > 0 {
		n := sectorSize - at%sectorSize
		if int64(len(b)) < n {
			return false
		}
		if allZero(b[:n]) {
			return true
		}
		b, at = b[n:], at+n
	}
	return false
}

func (v *survey) frame(s *segment, f frame, at int64) error {
	expect := v.last + 1
	if v.missingTo >= 0 {
		// What follows the damage says which records it took, and whether it
		// belongs to the same append: then nobody was told that it is durable.
		d := &v.damages[v.missingTo]
		d.To = f.seq - 1
		v.missingTo = -1
		if f.seq < expect {
			d.From, d.To = 0, 0
		}
	}
	if len(v.damages) > 0 {
		v.open = v.open && v.zeros && f.seq >= v.want && f.seq-uint64(f.position) <= v.want
	}
	sparse := s.sparse || v.unsure
	switch {
	case f.seq < expect || f.seq > expect && !sparse:
		v.hard(Damage{
			File: s.name, Offset: at, From: expect, To: f.seq - 1,
			Why: fmt.Sprintf("record %d where record %d belongs", f.seq, expect),
		})
	case !v.unsure && v.chain.next(f.seq, f.payload) != f.chain:
		v.hard(Damage{
			File: s.name, Offset: at,
			Why: fmt.Sprintf("record %d does not continue the hash chain: it or one before it was changed", f.seq),
		})
	}
	if f.seq < expect {
		return nil // what stands at the wrong place is no record
	}
	s.note(f, at)
	v.last, v.chain, v.unsure = f.seq, f.chain, false
	if v.tipFound && f.seq == v.tip.last {
		v.atTip, v.sawTip = f.chain, true
	}
	if v.visit != nil {
		return v.visit(s.name, f)
	}
	return nil
}

// ends compares the log's ends with the tip.
func (v *survey) ends() {
	if !v.open {
		for i := range v.damages {
			v.damages[i].Torn = false
		}
	}
	if !v.tipFound || v.tipBad {
		return
	}
	keep := v.last
	if v.open && len(v.damages) > 0 {
		keep = v.want - 1
	}
	switch {
	case len(v.segments) == 0 && v.tip.last > 0:
		v.hard(Damage{File: tipName, From: v.tip.first, To: v.tip.last, Why: "every segment is missing"})
	case len(v.segments) > 0 && v.segments[0].first > v.tip.first:
		v.hard(Damage{File: v.segments[0].name, From: v.tip.first, To: v.segments[0].first - 1, Why: "the beginning of the log is missing"})
	case v.tip.tail > 0 && v.segments[len(v.segments)-1].first < v.tip.tail:
		v.hard(Damage{File: segmentName(v.tip.tail), From: v.last + 1, Why: "the segment is missing"})
	case v.tip.tail > 0 && len(v.damages) > 0 && v.damages[0].File == segmentName(v.tip.tail) && v.damages[0].Offset < segmentHead:
		v.hard(Damage{File: segmentName(v.tip.tail), From: v.last + 1, Why: "the segment's header was durable"})
	case keep < v.tip.last:
		end := v.segments[len(v.segments)-1]
		bad := Damage{File: end.name, Offset: end.size, From: keep + 1, To: v.tip.last, Why: "the log was durable further than it reaches"}
		if len(v.damages) > 0 {
			bad.Offset = v.damages[0].Offset
		}
		v.hard(bad)
	case v.sawTip && v.atTip != v.tip.chain:
		v.hard(Damage{File: tipName, Why: fmt.Sprintf("record %d is not the one that was noted", v.tip.last)})
	}
	if !v.open {
		for i := range v.damages {
			v.damages[i].Torn = false
		}
	}
}

// fault is the damage that no crash explains, nil when a cut is enough.
func (v *survey) fault() error {
	for _, d := range v.damages {
		if !d.Torn {
			return d.err()
		}
	}
	return nil
}
