package deep

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/homeostat/homeostat/models/knn"
	"github.com/homeostat/homeostat/models/prototype"
	"github.com/homeostat/homeostat/models/tail"
)

// ErrRecord is what UnmarshalBinary returns, wrapped, for a record that no writer
// wrote.
var ErrRecord = errors.New("corrupt deep record")

// A record is a row of sub-records, each
//
//	kind    1 byte
//	version 1 byte
//	length  2 bytes, little-endian, of what follows
//	body    length bytes
//
// in rising order of kind. A reader skips a kind or a version that it does not
// know, and that part starts anew; all numbers are little-endian.
const (
	placeKind   = 1 + iota // where the series is: its scales, its range, its last points
	shareKind              // the shares of the values before the recent ones
	rankKind               // the calibration
	bankKind               // the prototypes
	windowsKind            // the windows

	headerSize = 4
	placeSize  = 8 + 8 + 8 + 4 + 4 + 1 + 8*placeFloats + 2*recent
	shareSize  = 4 * bins
	// placeFloats is the number of float64 of a place, see Core.floats.
	placeFloats = 4 + 4 + 2 + 1 + 2*spans + 2*prototype.Features + 1
)

// subRecords holds, by kind, the version written and the length of its body.
var subRecords = [...]struct {
	version byte
	size    int
}{
	placeKind:   {1, placeSize},
	shareKind:   {1, shareSize},
	rankKind:    {1, ranked * tail.RanksSize},
	bankKind:    {1, prototype.Size},
	windowsKind: {1, knn.Size},
}

// RecordSize is the length in bytes of the record of a series with a point.
const RecordSize = 5*headerSize + placeSize + shareSize + ranked*tail.RanksSize + prototype.Size + knn.Size

// AppendBinary appends the record of the state; of a series without a point it
// appends nothing.
func (c *Core) AppendBinary(b []byte) ([]byte, error) {
	if c.points == 0 {
		return b, nil
	}
	le := binary.LittleEndian
	b = c.appendPlace(header(b, placeKind))
	b = header(b, shareKind)
	for _, n := range c.before {
		b = le.AppendUint32(b, n)
	}
	b = header(b, rankKind)
	for i := range c.ranks {
		b = c.ranks[i].Append(b)
	}
	b = c.bank.Append(header(b, bankKind))
	return c.windows.Append(header(b, windowsKind)), nil
}

func header(b []byte, kind int) []byte {
	r := subRecords[kind]
	return binary.LittleEndian.AppendUint16(append(b, byte(kind), r.version), uint16(r.size))
}

// floats are the numbers of a place in the order of the record.
func (c *Core) floats() (out [placeFloats]*float64) {
	n := 0
	add := func(vs ...*float64) { n += copy(out[n:], vs) }
	add(&c.mean, &c.dev, &c.zMean, &c.zDev, &c.low[0], &c.low[1], &c.high[0], &c.high[1], &c.records, &c.chances, &c.origin)
	for i := range c.level {
		add(&c.level[i], &c.move[i])
	}
	for i := range c.size {
		add(&c.centre[i], &c.size[i])
	}
	add(&c.smooth)
	return out
}

func (c *Core) appendPlace(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, c.Seed)
	b = le.AppendUint64(b, uint64(c.born))
	b = le.AppendUint64(b, uint64(c.at))
	b = le.AppendUint32(b, c.points)
	b = le.AppendUint32(b, math.Float32bits(c.hold))
	b = append(b, c.held)
	for _, v := range c.floats() {
		b = le.AppendUint64(b, math.Float64bits(*v))
	}
	for _, z := range c.ring {
		b = le.AppendUint16(b, uint16(z))
	}
	return b
}

func (c *Core) parsePlace(b []byte) bool {
	le := binary.LittleEndian
	c.Seed, c.born, c.at = le.Uint64(b), int64(le.Uint64(b[8:])), int64(le.Uint64(b[16:]))
	c.points, c.hold, c.held = le.Uint32(b[24:]), math.Float32frombits(le.Uint32(b[28:])), b[32]
	b = b[33:]
	good := c.points > 0 && c.points <= math.MaxUint32-recent && c.held <= recent && c.hold-c.hold == 0
	for _, v := range c.floats() {
		*v = math.Float64frombits(le.Uint64(b))
		good, b = good && math.Abs(*v) <= 2*extreme, b[8:]
	}
	for i := range c.ring {
		c.ring[i] = int16(le.Uint16(b))
		good, b = good && c.ring[i] >= -zMost*zSteps && c.ring[i] <= zMost*zSteps, b[2:]
	}
	for i := range c.size {
		good = good && c.size[i] >= 0
	}
	return good && c.dev >= 0 && c.zDev >= 0 && c.records >= 0 && c.chances >= c.records && c.smooth >= 0
}

// UnmarshalBinary replaces the state by that of a record. A sub-record that this
// reader does not know is skipped: that member starts anew, and without a place
// so does the series. Anything that AppendBinary cannot have written is ErrRecord,
// wrapped, and leaves the state as it was. An empty record is a series without a
// point; its seed stays.
func (c *Core) UnmarshalBinary(b []byte) error {
	var known [len(subRecords)]bool
	var n Core
	last := 0
	for len(b) > 0 {
		if len(b) < headerSize {
			return fmt.Errorf("%w: %d bytes where a header should be", ErrRecord, len(b))
		}
		kind, version, size := int(b[0]), b[1], int(binary.LittleEndian.Uint16(b[2:]))
		b = b[headerSize:]
		if kind <= last || size > len(b) {
			return fmt.Errorf("%w: kind %d of %d bytes after kind %d, %d bytes left", ErrRecord, kind, size, last, len(b))
		}
		body := b[:size]
		b, last = b[size:], kind
		if kind >= len(subRecords) || version != subRecords[kind].version {
			continue
		}
		if size != subRecords[kind].size {
			return fmt.Errorf("%w: kind %d version %d has %d bytes, want %d", ErrRecord, kind, version, size, subRecords[kind].size)
		}
		if !n.parse(kind, body) {
			return fmt.Errorf("%w: kind %d version %d holds impossible values", ErrRecord, kind, version)
		}
		known[kind] = true
	}
	if !known[placeKind] {
		*c = Core{Seed: c.Seed}
		return nil
	}
	n.complete()
	*c = n
	return nil
}

func (c *Core) parse(kind int, b []byte) bool {
	switch kind {
	case placeKind:
		return c.parsePlace(b)
	case shareKind:
		all := uint64(0)
		for i := range c.before {
			c.before[i] = binary.LittleEndian.Uint32(b[4*i:])
			all += uint64(c.before[i])
		}
		c.beforeAll = uint32(min(all, manyLong))
		return all < manyLong
	case rankKind:
		for i := range c.ranks {
			if !c.ranks[i].Parse(b[i*tail.RanksSize:]) {
				return false
			}
		}
	case bankKind:
		return c.bank.Parse(b)
	case windowsKind:
		c.windows.Parse(b)
	}
	return true
}

// complete works out again what follows from the last points.
func (c *Core) complete() {
	n := min(c.points, window)
	for i := range n {
		c.sorted[i] = c.ring[c.slot(i+1)]
	}
	slices.Sort(c.sorted[:n])
	for i := range min(c.points, recent) {
		c.now[binOf(c.ring[c.slot(i+1)])]++
	}
}
