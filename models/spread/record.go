package spread

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Version is the version of the record of a Core. A reader that does not know
// a version starts that series anew.
const Version = 1

// recordBytes is the payload of version 1: the fields of Core in order, little
// endian.
const recordBytes = 5*4 + 4*2 + 2

// ErrRecord says that a record is cut short or holds what no series can be.
var ErrRecord = errors.New("spread: bad record")

// AppendBinary appends the record of c: one byte of length, one of version and
// the payload; length counts what follows it.
func (c *Core) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, recordBytes+1, Version)
	for _, v := range [...]float32{c.sum, c.mean, c.drift, c.power, c.noise} {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	for _, v := range [...]uint16{uint16(c.own), uint16(c.excess), c.hour, c.count} {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	return append(b, c.known, c.turn), nil
}

// UnmarshalBinary replaces c by what the record b says. One of an unknown version
// leaves c empty.
func (c *Core) UnmarshalBinary(b []byte) error {
	if len(b) < 2 || int(b[0]) != len(b)-1 {
		return fmt.Errorf("%w: %d bytes", ErrRecord, len(b))
	}
	if b[1] != Version {
		*c = Core{}
		return nil
	}
	if len(b) != recordBytes+2 {
		return fmt.Errorf("%w: length %d of version %d", ErrRecord, b[0], Version)
	}
	p := b[2:]
	f32 := func(i int) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(p[i:])) }
	u16 := func(i int) uint16 { return binary.LittleEndian.Uint16(p[i:]) }
	n := Core{
		sum: f32(0), mean: f32(4), drift: f32(8), power: f32(12), noise: f32(16),
		own: short(u16(20)), excess: short(u16(22)), hour: u16(24), count: u16(26), known: p[28], turn: p[29],
	}
	if !n.sound() {
		return fmt.Errorf("%w: a value is out of its bounds", ErrRecord)
	}
	*c = n
	return nil
}

// sound says that all is finite and within what a series can have.
func (c *Core) sound() bool {
	within := func(v, most float64) bool { return math.Abs(v) <= most }
	const most = clipHigh / (1 - keep) * 10
	return within(float64(c.sum), clipHigh*math.MaxUint16) && within(float64(c.mean), clipHigh) && within(float64(c.drift), most) &&
		c.power >= 0 && within(float64(c.power), most*most*1e3) && c.noise >= 0 && within(float64(c.noise), most) &&
		within(c.own.float(), most*most) && c.own.float() >= 0 && within(c.excess.float(), most*most*1e6) && c.excess.float() >= 0
}
