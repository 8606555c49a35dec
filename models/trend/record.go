package trend

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Version is the version of the record of a Core. A reader that does not know
// a version starts that rise anew.
const Version = 1

const recordBytes = dayHours*2 + 10*4 + 8

// ErrRecord says that a record is cut short or holds what no gauge can be.
var ErrRecord = errors.New("trend: bad record")

// AppendBinary appends the record of c: one byte of length, one of version and
// the fields of Core in order, little endian; length counts what follows it.
func (c *Core) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, recordBytes+1, Version)
	for _, q := range c.ring {
		b = binary.LittleEndian.AppendUint16(b, uint16(q))
	}
	for _, v := range c.floats() {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(*v))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(c.hour))
	return append(b, c.part, c.known, c.rising, c.lasting), nil
}

func (c *Core) floats() [10]*float32 {
	return [...]*float32{&c.base, &c.step, &c.climb, &c.own, &c.offset, &c.diff, &c.power, &c.wobble, &c.sum, &c.low}
}

// UnmarshalBinary replaces c by what the record at the start of b says. A
// record of an unknown version leaves c empty.
func (c *Core) UnmarshalBinary(b []byte) error {
	_, err := c.Consume(b)
	return err
}

// Consume is UnmarshalBinary for a record with others behind it; it returns
// how many bytes of b are its own.
func (c *Core) Consume(b []byte) (int, error) {
	if len(b) < 2 || b[0] < 1 || len(b) < int(b[0])+1 {
		return 0, fmt.Errorf("%w: %d bytes", ErrRecord, len(b))
	}
	size := int(b[0]) + 1
	if b[1] != Version {
		*c = Core{}
		return size, nil
	}
	if size != recordBytes+2 {
		return 0, fmt.Errorf("%w: length %d of version %d", ErrRecord, b[0], Version)
	}
	p := b[2:]
	var n Core
	for i := range n.ring {
		n.ring[i] = int16(binary.LittleEndian.Uint16(p))
		p = p[2:]
	}
	for _, v := range n.floats() {
		*v = math.Float32frombits(binary.LittleEndian.Uint32(p))
		p = p[4:]
	}
	n.hour = int32(binary.LittleEndian.Uint32(p))
	n.part, n.known, n.rising, n.lasting = p[4], p[5], p[6], p[7]
	if !n.sound() {
		return 0, fmt.Errorf("%w: a value is out of its bounds", ErrRecord)
	}
	*c = n
	return size, nil
}

func (c *Core) sound() bool {
	for _, v := range c.floats() {
		if math.IsInf(float64(*v), 0) || v != &c.diff && math.IsNaN(float64(*v)) {
			return false
		}
	}
	for _, q := range c.ring {
		if q != absent && (q > ringLimit || q < -ringLimit) {
			return false
		}
	}
	return c.step >= 0 && c.power >= 0 && c.wobble >= 0 && c.own >= 0 && c.part&mostParts < partCount
}
