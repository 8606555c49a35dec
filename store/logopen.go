package store

import (
	"fmt"
	"os"
	"path/filepath"
)

// openJournal looks at every byte of the log, cuts what a crash tore off its
// end, and refuses what no crash explains.
func openJournal(d disk, dir string, kind segmentKind, limit int64) (*journal, error) {
	if err := d.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("store: make %s: %w", dir, err)
	}
	if err := d.SyncDir(filepath.Dir(dir)); err != nil {
		return nil, fmt.Errorf("store: sync %s: %w", filepath.Dir(dir), err)
	}
	v, err := look(d, dir, kind, nil)
	if err != nil {
		return nil, err
	}
	if err := v.fault(); err != nil {
		return nil, err
	}
	j := &journal{
		disk: d, dir: dir, kind: kind, sparse: kind == segmentOfLabels, limit: limit,
		segments: v.segments, last: v.last, chain: v.chain,
	}
	j.noted = v.tip.noted
	j.cut.Tip = v.tipBad || !v.tipFound && v.last > 0
	if len(v.damages) > 0 {
		if err := j.mend(v); err != nil {
			return nil, err
		}
	}
	if len(j.segments) == 0 {
		return j, nil
	}
	if j.file, err = d.OpenFile(filepath.Join(dir, j.tail().name), os.O_RDWR); err != nil {
		return nil, fmt.Errorf("store: open the last segment: %w", err)
	}
	return j, nil
}

// mend cuts a torn tail. Every damage found is in the last file.
func (j *journal) mend(v *survey) error {
	s, bad := j.tail(), v.damages[0]
	path := filepath.Join(j.dir, s.name)
	f, err := j.disk.OpenFile(path, os.O_RDWR)
	if err != nil {
		return fmt.Errorf("store: cut the torn tail: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("store: cut the torn tail of %s: %w", s.name, err)
	}
	j.cut.File, j.cut.At, j.cut.Bytes = s.name, bad.Offset, size-bad.Offset
	if bad.Offset < segmentHead {
		return j.unbegin(s)
	}
	if err := f.Truncate(bad.Offset); err != nil {
		return fmt.Errorf("store: cut the torn tail of %s: %w", s.name, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("store: cut the torn tail of %s: %w", s.name, err)
	}
	return j.reread(f, bad.Offset)
}

// unbegin removes a segment whose first bytes never became durable.
func (j *journal) unbegin(s *segment) error {
	if err := j.disk.Remove(filepath.Join(j.dir, s.name)); err != nil {
		return fmt.Errorf("store: remove a segment that was never begun: %w", err)
	}
	if err := j.disk.SyncDir(j.dir); err != nil {
		return fmt.Errorf("store: remove a segment that was never begun: %w", err)
	}
	j.segments = j.segments[:len(j.segments)-1]
	if len(j.segments) > 0 {
		j.last, j.chain = max(j.tail().last, j.tail().first-1), j.tail().chain
	} else {
		j.last, j.chain = 0, chain{}
	}
	return nil
}

// reread makes the last segment's index anew up to the cut.
func (j *journal) reread(f diskFile, size int64) error {
	old := j.tail()
	s := &segment{header: old.header, name: old.name, size: segmentHead, chain: old.header.chain}
	w := newWalk(f, segmentHead, size)
	for w.at < size {
		at := w.at
		fr, err := w.next()
		if err != nil {
			return fmt.Errorf("store: read %s again: %w", s.name, err)
		}
		s.note(fr, at)
	}
	j.segments[len(j.segments)-1] = s
	j.last, j.chain = max(s.last, s.first-1), s.chain
	return nil
}
