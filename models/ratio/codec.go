package ratio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Version is the version of the record of a Core. A reader that does not know
// a version starts that share anew.
const Version = 1

// recordBytes is the payload of version 1: the fields of Core in order, little
// endian.
const recordBytes = 3*8 + 6*4

// ErrRecord says that a record is cut short or holds what no share can be.
var ErrRecord = errors.New("ratio: bad record")

// AppendBinary appends the record of c: one byte of length, one of version and
// the payload; length counts what follows it.
func (c *Core) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, recordBytes+1, Version)
	b = binary.LittleEndian.AppendUint64(b, uint64(c.at))
	for _, v := range [...]float64{c.errors, c.total} {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	for _, v := range [...]float32{c.poolErr, c.poolTotal, c.excess, c.spread, c.interval} {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return binary.LittleEndian.AppendUint32(b, c.points), nil
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
	if len(b) < 2 || int(b[0]) < 1 || len(b) < int(b[0])+1 {
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
	f64 := func(i int) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(p[i:])) }
	f32 := func(i int) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(p[i:])) }
	n := Core{
		at:     int64(binary.LittleEndian.Uint64(p)),
		errors: f64(8), total: f64(16),
		poolErr: f32(24), poolTotal: f32(28), excess: f32(32), spread: f32(36), interval: f32(40),
		points: binary.LittleEndian.Uint32(p[44:]),
	}
	if !n.sound() {
		return 0, fmt.Errorf("%w: a value is out of its bounds", ErrRecord)
	}
	*c = n
	return size, nil
}

func (c *Core) sound() bool {
	finite := func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
	return finite(c.errors) && c.errors >= 0 && finite(c.total) && c.errors <= c.total*(1+1e-9) &&
		finite(float64(c.excess)) && finite(float64(c.spread)) && c.spread >= 0 &&
		finite(float64(c.poolTotal)) && c.poolErr >= 0 && float64(c.poolErr) <= float64(c.poolTotal)*(1+1e-4)+1e-6 &&
		finite(float64(c.interval)) && c.interval >= 0
}
