package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
)

// tip notes how far the log was durable at some time: a lower bound that holds
// ever after. It is written when the log is closed, when a segment begins and
// after each settle record, and finds what no checksum within the log can: an
// end or a beginning that is missing as a whole.
type tip struct {
	first uint64 // the log begins here or before
	last  uint64 // the log reaches here or beyond
	tail  uint64 // the segment that begins here exists; it may be empty
	chain chain  // of the record last
	noted noted
}

// noted is what the checkpoints held when the tip was written: they lie in
// Badger, which may lose keys without a word when its files rot.
type noted struct {
	settled uint64 // as-of of the newest settle record
	pages   uint64 // how many pages there were
}

const (
	tipName  = "TIP"
	tipMagic = "HSTATTIP"
	tipSize  = 72
)

func (t tip) append(b []byte) []byte {
	at := len(b)
	b = append(b, tipMagic...)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, t.first)
	b = binary.LittleEndian.AppendUint64(b, t.last)
	b = binary.LittleEndian.AppendUint64(b, t.tail)
	b = append(b, t.chain[:]...)
	b = binary.LittleEndian.AppendUint64(b, t.noted.settled)
	b = binary.LittleEndian.AppendUint64(b, t.noted.pages)
	binary.LittleEndian.PutUint32(b[at+12:], tipSum(b[at:]))
	return b
}

func tipSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:12], castagnoli), castagnoli, b[16:tipSize])
}

var errBadTip = errors.New("the file is damaged")

func parseTip(b []byte) (tip, error) {
	if len(b) != tipSize || string(b[:8]) != tipMagic || tipSum(b) != binary.LittleEndian.Uint32(b[12:]) {
		return tip{}, errBadTip
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != 1 {
		return tip{}, fmt.Errorf("%w: tip version %d, this program knows 1", ErrNewer, v)
	}
	return tip{
		first: binary.LittleEndian.Uint64(b[16:]),
		last:  binary.LittleEndian.Uint64(b[24:]),
		tail:  binary.LittleEndian.Uint64(b[32:]),
		chain: chain(b[40:56]),
		noted: noted{settled: binary.LittleEndian.Uint64(b[56:]), pages: binary.LittleEndian.Uint64(b[64:])},
	}, nil
}

// readTip is the tip of a log; found is false where there is none.
func readTip(d disk, dir string) (t tip, found bool, err error) {
	b, err := readFile(d, filepath.Join(dir, tipName))
	if errors.Is(err, fs.ErrNotExist) {
		return tip{}, false, nil
	}
	if err != nil {
		return tip{}, false, fmt.Errorf("read %s: %w", tipName, err)
	}
	t, err = parseTip(b)
	if err != nil {
		return tip{}, true, fmt.Errorf("read %s: %w", tipName, err)
	}
	return t, true, nil
}

func (j *journal) writeTip() error {
	j.mu.RLock()
	t := tip{first: j.last + 1, last: j.last, chain: j.chain, noted: j.noted}
	if len(j.segments) > 0 {
		t.first, t.tail = j.segments[0].first, j.tail().first
	}
	j.mu.RUnlock()
	if err := writeFile(j.disk, filepath.Join(j.dir, tipName), t.append(nil)); err != nil {
		return fmt.Errorf("write %s: %w", tipName, err)
	}
	return nil
}
