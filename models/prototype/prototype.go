// Package prototype remembers what a series has looked like as a bounded set of
// prototypes, and says how far a look is from all of them.
package prototype

import (
	"encoding/binary"
	"math"
)

const (
	// Features is the number of numbers in a look.
	Features = 8
	// Most is the number of prototypes kept.
	Most = 128

	radius = 0.5  // a look further than this from every prototype becomes one
	follow = 0.05 // share of the way that a prototype follows a look within it
	grace  = 50   // points that a new prototype counts as older than it is
)

// Look is one look at a series: numbers in the series' own unit, from an origin
// that never moves.
type Look [Features]float32

// Bank is the prototypes of one series. Leader clustering (Hartigan, 1975; the
// vigilance of adaptive resonance, Carpenter and Grossberg, 1987): with the usual
// sizes s of the features
//
//	d(look, p) = mean of |look − p| / s
//
// a look nearer than the radius moves its nearest prototype, any other becomes a
// prototype, in the place of the one used least often for its age when there is
// no room.
type Bank struct {
	count  uint16
	points uint32 // looks learnt
	looks  [Most]Look
	used   [Most]float32 // looks that a prototype was nearest to
	born   [Most]uint32
}

// Size is the length of an encoded Bank in bytes.
const Size = 2 + 4 + Most*(Features*4+4+4)

// None is the place of no prototype.
const None = -1

// Nearest returns the place of the nearest prototype and the distance to it, in
// usual sizes. Inverse holds 1 over the usual size of each feature. Without a
// prototype the place is None.
func (b *Bank) Nearest(look, inverse *Look) (place int, distance float64) {
	place, best := None, float32(math.MaxFloat32)
	for i := range b.looks[:b.count] {
		p := &b.looks[i]
		d := float32(0)
		for j := range p {
			d += float32(abs(look[j]-p[j]) * inverse[j])
		}
		if d < best {
			place, best = i, d
		}
	}
	return place, float64(best) / Features
}

func abs(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) }

// Learn takes a look in, given what Nearest said of it.
func (b *Bank) Learn(look *Look, place int, distance float64) {
	b.points++
	if place != None && distance <= radius {
		p := &b.looks[place]
		for j := range p {
			p[j] += float32(follow * (look[j] - p[j]))
		}
		b.used[place]++
		return
	}
	i := int(b.count)
	if i < Most {
		b.count++
	} else {
		i = b.idlest()
	}
	b.looks[i], b.used[i], b.born[i] = *look, 1, b.points
}

// idlest is the prototype used least often for its age.
func (b *Bank) idlest() int {
	least, place := float32(math.MaxFloat32), 0
	for i, n := range b.used {
		if u := n / float32(b.points-b.born[i]+grace); u < least {
			least, place = u, i
		}
	}
	return place
}

// Append appends the encoded bank.
func (b *Bank) Append(p []byte) []byte {
	le := binary.LittleEndian
	p = le.AppendUint16(p, b.count)
	p = le.AppendUint32(p, b.points)
	for i := range b.looks {
		for _, v := range b.looks[i] {
			p = le.AppendUint32(p, math.Float32bits(v))
		}
		p = le.AppendUint32(p, math.Float32bits(b.used[i]))
		p = le.AppendUint32(p, b.born[i])
	}
	return p
}

// Parse replaces the bank by the one encoded in p, which is Size long. It
// reports whether all of it is a possible bank.
func (b *Bank) Parse(p []byte) bool {
	le := binary.LittleEndian
	b.count, b.points = le.Uint16(p), le.Uint32(p[2:])
	good, p := b.count <= Most, p[6:]
	for i := range b.looks {
		for j := range b.looks[i] {
			b.looks[i][j] = math.Float32frombits(le.Uint32(p))
			good, p = good && finite(b.looks[i][j]), p[4:]
		}
		b.used[i], b.born[i] = math.Float32frombits(le.Uint32(p)), le.Uint32(p[4:])
		good, p = good && finite(b.used[i]) && b.used[i] >= 0 && b.born[i] <= b.points, p[8:]
	}
	return good
}

func finite(v float32) bool { return v-v == 0 }
