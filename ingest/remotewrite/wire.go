package remotewrite

import (
	"encoding/binary"
	"math"
)

// fault says what is wrong with a protobuf message. The walkers return an index
// into the message, and a fault as a negative index, so that the usual case
// carries no error value.
type fault int

const (
	faultTruncated fault = -1 - iota
	faultVarint
	faultWireType
	faultTag
	faultPacked
)

// Error says it for a person.
func (f fault) Error() string {
	switch f {
	case faultTruncated:
		return "the message is cut short"
	case faultVarint:
		return "a number is longer than ten bytes"
	case faultWireType:
		return "a field has the wrong wire type"
	case faultTag:
		return "a field number or group is illegal"
	case faultPacked:
		return "a packed field ends within a number"
	}
	return "the message is malformed"
}

// The wire types of protobuf.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireEnd     = 4
)

// uvarint reads the number at m[i:] and returns the index after it. Bits beyond
// 64 in the tenth byte are dropped, as the generated decoders do.
func uvarint(m []byte, i int) (uint64, int) {
	if uint(i) < uint(len(m)) && m[i] < 0x80 {
		return uint64(m[i]), i + 1
	}
	return longUvarint(m, i)
}

func longUvarint(m []byte, i int) (v uint64, next int) {
	for shift := uint(0); shift < 70; shift += 7 {
		if uint(i) >= uint(len(m)) {
			return 0, int(faultTruncated)
		}
		b := m[i]
		i++
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, i
		}
	}
	return 0, int(faultVarint)
}

// field reads the number and wire type of the field at m[i:].
func field(m []byte, i int) (num int32, wire uint64, next int) {
	tag, next := uvarint(m, i)
	if next < 0 {
		return 0, 0, next
	}
	num, wire = int32(tag>>3), tag&7
	if num <= 0 || wire == wireEnd {
		return 0, 0, int(faultTag)
	}
	return num, wire, next
}

// extent reads the length at m[i:] and returns where the bytes of that length
// begin and end; a negative end is a fault.
func extent(m []byte, i int) (from, to int) {
	n, from := uvarint(m, i)
	if from < 0 {
		return 0, from
	}
	if n > uint64(len(m)-from) {
		return 0, int(faultTruncated)
	}
	return from, from + int(n)
}

// float reads the eight bytes at m[i:].
func float(m []byte, i int) (float64, int) {
	if len(m)-i < 8 {
		return 0, int(faultTruncated)
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(m[i:])), i + 8
}

// skip returns the index after the field whose tag was read up to i. Groups,
// which nobody writes any more, are skipped with all that is in them.
func skip(m []byte, i int, wire uint64) int {
	for depth := 0; ; {
		switch wire {
		case wireVarint:
			_, i = uvarint(m, i)
		case wireFixed64:
			i += 8
		case wireBytes:
			_, i = extent(m, i)
		case 3:
			depth++
		case wireEnd:
			if depth == 0 {
				return int(faultTag)
			}
			depth--
		case 5:
			i += 4
		default:
			return int(faultWireType)
		}
		if i < 0 {
			return i
		}
		if i > len(m) {
			return int(faultTruncated)
		}
		if depth == 0 {
			return i
		}
		var tag uint64
		if tag, i = uvarint(m, i); i < 0 {
			return i
		}
		wire = tag & 7
	}
}

// varints reads a repeated number, packed or not, and gives each to fn.
func varints(m []byte, i int, wire uint64, fn func(uint64)) int {
	if wire == wireVarint {
		v, next := uvarint(m, i)
		if next >= 0 {
			fn(v)
		}
		return next
	}
	if wire != wireBytes {
		return int(faultWireType)
	}
	i, to := extent(m, i)
	if to < 0 {
		return to
	}
	for i < to {
		var v uint64
		if v, i = uvarint(m[:to], i); i < 0 {
			if i == int(faultTruncated) {
				return int(faultPacked)
			}
			return i
		}
		fn(v)
	}
	return to
}

// floats reads a repeated double, packed or not, and gives each to fn.
func floats(m []byte, i int, wire uint64, fn func(float64)) int {
	if wire == wireFixed64 {
		v, next := float(m, i)
		if next >= 0 {
			fn(v)
		}
		return next
	}
	if wire != wireBytes {
		return int(faultWireType)
	}
	i, to := extent(m, i)
	if to < 0 {
		return to
	}
	if (to-i)%8 != 0 {
		return int(faultPacked)
	}
	for i < to {
		var v float64
		v, i = float(m, i)
		fn(v)
	}
	return to
}

func zigzag32(v uint64) int32 {
	u := uint32(v)
	return int32(u>>1) ^ -int32(u&1)
}

func zigzag64(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }
