// Package ewma holds exponentially weighted estimates of location and scale,
// small enough to be kept by the million: a handful of bytes each, no pointer.
package ewma

import (
	"encoding/binary"
	"math"
)

// Gain returns the share by which one step of a given length moves an estimate
// of a given half-life: 1 − 2^(−rate), where rate = step / half-life. With
// u = rate·ln 2 it is u − u²/2 + u³/6, within u⁴/24 of the exact value, which
// suits the small rates of smoothing; it is cheaper than math.Exp2 and the same
// on every processor.
func Gain(rate float64) float64 {
	u := rate * math.Ln2
	return u * (1 - float64(u*(0.5-float64(u*(1.0/6)))))
}

// Hours is the number of hour-of-day means of a Scale.
const Hours = 24

const (
	clipOwn   = 4   // a deviation counts up to this many usual ones,
	clipFloor = 0.3 // plus this share of the unclipped mean
	floor     = 0.2 // of the unclipped mean, under which no scale falls
	hourShare = 0.7 // of the hour's own mean in the blend
)

// Scale is the usual size of a residual e: a mean of |e| that single outliers
// hardly move, blended with one such mean for each hour of the day.
//
//	mean  ← mean of min(|e|, 4 mean + 0.3 floor)
//	floor ← mean of |e|, unclipped and slow
//	scale = 0.7 hour + 0.3 max(mean, 0.2 floor)
//
// The floor is unclipped on purpose. A mean that is clipped by itself sticks at
// zero on a series that is mostly zero, and then everything else is an alarm.
type Scale struct {
	Mean  float32
	Floor float32
	Hour  float32       // the mean of the hour that is being visited
	table [Hours]uint16 // the means of the other hours, see pack; 0 is not visited yet
}

// ScaleSize is the length of an encoded Scale in bytes.
const ScaleSize = 3*4 + Hours*2

// At returns the usual |e| in an hour, given which hour is being visited.
func (s *Scale) At(hour, visiting uint8) float64 {
	base := s.base()
	own := float64(s.Hour)
	if hour != visiting {
		own = unpack(s.table[hour])
		if own == 0 {
			own = base
		}
	}
	return float64(hourShare*own) + float64((1-hourShare)*base)
}

func (s *Scale) base() float64 {
	return max(float64(s.Mean), floor*float64(s.Floor))
}

// Enter leaves one hour and begins to visit another.
func (s *Scale) Enter(hour, leaving uint8) {
	s.table[leaving] = pack(s.Hour)
	s.Hour = float32(unpack(s.table[hour]))
	if s.Hour == 0 {
		s.Hour = float32(s.base())
	}
}

// Gains are the shares by which one point moves each estimate of a Scale.
type Gains struct{ Mean, Floor, Hour float64 }

// Learn takes |e| in.
func (s *Scale) Learn(e float64, g Gains) {
	f := float64(s.Floor)
	f += g.Floor * (e - f)
	m := float64(s.Mean)
	m += g.Mean * (min(e, float64(clipOwn*m)+float64(clipFloor*f)) - m)
	h := float64(s.Hour)
	h += g.Hour * (min(e, float64(clipOwn*h)+float64(clipFloor*f)) - h)
	s.Floor, s.Mean, s.Hour = float32(f), float32(m), float32(h)
}

// Plain returns a scale of the same size times a factor of at least 0, with no
// hour visited yet.
func (s *Scale) Plain(by float64) Scale {
	times := func(v float64) float32 { return float32(min(v*by, math.MaxFloat32)) }
	return Scale{Mean: times(float64(s.Mean)), Floor: times(float64(s.Floor)), Hour: times(s.base())}
}

// pack keeps a non-negative float32 in 16 bits: 8 of exponent and 8 of
// mantissa, rounded, so within 0.2 %. It is the float's own bits without the
// sign and the lower mantissa.
func pack(v float32) uint16 {
	if !(v > 0) {
		return 0
	}
	bits := math.Float32bits(v) + 1<<14
	return uint16(min(bits>>15, maxPacked))
}

// maxPacked is the largest finite float32 that pack keeps.
const maxPacked = 0xfeff

func unpack(p uint16) float64 { return float64(math.Float32frombits(uint32(p) << 15)) }

// Append appends the encoded scale.
func (s *Scale) Append(b []byte) []byte {
	b = AppendFloats(b, s.Mean, s.Floor, s.Hour)
	for _, h := range s.table {
		b = binary.LittleEndian.AppendUint16(b, h)
	}
	return b
}

// Parse replaces the scale by the one encoded in b, which is ScaleSize long. It
// reports whether all of it is a possible scale.
func (s *Scale) Parse(b []byte) bool {
	if !ParseFloats(b, &s.Mean, &s.Floor, &s.Hour) || s.Mean < 0 || s.Floor < 0 || s.Hour < 0 {
		return false
	}
	for i := range s.table {
		s.table[i] = binary.LittleEndian.Uint16(b[12+2*i:])
		if s.table[i] > maxPacked {
			return false
		}
	}
	return true
}

// AppendFloats appends values as little-endian float32.
func AppendFloats(b []byte, vs ...float32) []byte {
	for _, v := range vs {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// ParseFloats fills vs from the front of b, which must be long enough, and
// reports whether all are finite.
func ParseFloats(b []byte, vs ...*float32) bool {
	for i, v := range vs {
		*v = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		if f := float64(*v); math.IsNaN(f) || math.IsInf(f, 0) {
			return false
		}
	}
	return true
}
