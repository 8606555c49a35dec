package lean

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/homeostat/homeostat/models/ewma"
	"github.com/homeostat/homeostat/models/seasonal"
	"github.com/homeostat/homeostat/models/tail"
	"github.com/homeostat/homeostat/models/trend"
)

// ErrRecord is what Read returns, wrapped, for a record that no writer wrote.
var ErrRecord = errors.New("corrupt lean record")

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
	placeKind    = 1 + iota // where the series is: times, last values, level
	scalesKind              // the usual sizes
	bodiesKind              // the calibration
	evidenceKind            // of a season
	seasonKind              // the season itself

	headerSize = 4
	placeSize  = 8 + 8 + 8 + 4*4 + 4 + 1 + 2 + trend.LineSize
)

// subRecords holds, by kind, the version written and the length of its body.
var subRecords = [...]struct {
	version byte
	size    int
}{
	placeKind:    {1, placeSize},
	scalesKind:   {1, parts * ewma.ScaleSize},
	bodiesKind:   {1, parts * tail.BodySize},
	evidenceKind: {1, seasonal.EvidenceSize},
	seasonKind:   {1, seasonal.BlockSize},
}

// MaxRecordSize is the length in bytes of the longest record that Append writes.
const MaxRecordSize = 5*headerSize + placeSize + parts*ewma.ScaleSize + parts*tail.BodySize +
	seasonal.EvidenceSize + seasonal.BlockSize

// Append appends the record of a series' state. S may be nil. Of a series
// without a point it appends nothing.
func Append(b []byte, c *Core, s *Season) []byte {
	if c.points == 0 {
		return b
	}
	b = header(b, placeKind)
	b = c.appendPlace(b)
	b = header(b, scalesKind)
	for i := range c.scales {
		b = c.scales[i].Append(b)
	}
	b = header(b, bodiesKind)
	for i := range c.bodies {
		b = c.bodies[i].Append(b)
	}
	b = header(b, evidenceKind)
	b = c.evidence.Append(b)
	if s != nil {
		b = header(b, seasonKind)
		b = s.Append(b)
	}
	return b
}

func header(b []byte, kind int) []byte {
	r := subRecords[kind]
	b = append(b, byte(kind), r.version)
	return binary.LittleEndian.AppendUint16(b, uint16(r.size))
}

func (c *Core) appendPlace(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, uint64(c.at))
	b = le.AppendUint64(b, math.Float64bits(c.value))
	b = le.AppendUint64(b, math.Float64bits(c.level))
	b = ewma.AppendFloats(b, c.step, c.run, c.recent[0], c.recent[1])
	b = le.AppendUint32(b, c.points)
	b = append(b, c.hour)
	b = le.AppendUint16(b, c.inHour)
	return c.line.Append(b)
}

func (c *Core) parsePlace(b []byte) bool {
	le := binary.LittleEndian
	c.at = int64(le.Uint64(b))
	c.value = math.Float64frombits(le.Uint64(b[8:]))
	c.level = math.Float64frombits(le.Uint64(b[16:]))
	good := ewma.ParseFloats(b[24:], &c.step, &c.run, &c.recent[0], &c.recent[1])
	c.points = le.Uint32(b[40:])
	c.hour = b[44]
	c.inHour = le.Uint16(b[45:])
	return c.line.Parse(b[47:]) && good && math.Abs(c.value) <= extreme && math.Abs(c.level) <= extreme &&
		c.step >= 0 && c.run >= 0 && c.points > 0 && c.hour < ewma.Hours
}

// Read replaces the state of a series by that of a record. It reports whether
// the record holds a season, which is then in s; s must not be nil. An empty
// record is a series without a point. A sub-record that this reader does not
// know is skipped: that part starts anew, and without a place so does the
// series. Anything that Append cannot have written is ErrRecord, wrapped, and
// leaves c and s as they were.
func Read(b []byte, c *Core, s *Season) (hasSeason bool, err error) {
	var core Core
	var season Season
	var known [len(subRecords)]bool
	last := 0
	for len(b) > 0 {
		if len(b) < headerSize {
			return false, fmt.Errorf("%w: %d bytes where a header should be", ErrRecord, len(b))
		}
		kind, version := int(b[0]), b[1]
		size := int(binary.LittleEndian.Uint16(b[2:]))
		b = b[headerSize:]
		if kind <= last || size > len(b) {
			return false, fmt.Errorf("%w: kind %d of %d bytes after kind %d, %d bytes left", ErrRecord, kind, size, last, len(b))
		}
		body := b[:size]
		b, last = b[size:], kind
		if kind >= len(subRecords) || version != subRecords[kind].version {
			continue
		}
		if size != subRecords[kind].size {
			return false, fmt.Errorf("%w: kind %d version %d has %d bytes, want %d", ErrRecord, kind, version, size, subRecords[kind].size)
		}
		if !parse(kind, body, &core, &season) {
			return false, fmt.Errorf("%w: kind %d version %d holds impossible values", ErrRecord, kind, version)
		}
		known[kind] = true
	}
	if !known[placeKind] {
		*c = Core{}
		return false, nil
	}
	core.complete(known[scalesKind], known[bodiesKind], known[evidenceKind])
	*c = core
	if known[seasonKind] {
		*s = season
	}
	return known[seasonKind], nil
}

func parse(kind int, b []byte, c *Core, s *Season) bool {
	switch kind {
	case placeKind:
		return c.parsePlace(b)
	case scalesKind:
		for i := range c.scales {
			if !c.scales[i].Parse(b[i*ewma.ScaleSize:]) {
				return false
			}
		}
	case bodiesKind:
		for i := range c.bodies {
			if !c.bodies[i].Parse(b[i*tail.BodySize:]) {
				return false
			}
		}
	case evidenceKind:
		return c.evidence.Parse(b)
	case seasonKind:
		return s.Parse(b)
	}
	return true
}

// complete starts anew what a record did not hold. Without the sizes or the
// calibration the series is not believed until it has learnt them again.
func (c *Core) complete(scales, bodies, evidence bool) {
	if !bodies {
		for i := range c.bodies {
			c.bodies[i] = tail.New()
		}
	}
	if !scales || !bodies {
		c.points = 1
	}
	if !evidence {
		c.evidence = seasonal.NewEvidence()
	}
}
