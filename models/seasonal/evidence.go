package seasonal

import (
	"encoding/binary"
	"math"
)

const (
	slots         = 12 // of two hours each
	slotMillis    = dayMillis / slots
	noSlot        = 0xff
	minCompared   = 10   // slots compared with the day before, at least
	likeness      = 0.6  // correlation with the day before from which a season is worth its bytes
	likenessDecay = 0.96 // a slot, so about two days of memory
)

// Evidence finds out whether a series repeats itself from day to day, before
// any bytes are spent on a table of its day. It compares how the mean moved
// from one two-hour slot to the next with the same move a day earlier. Moves
// and not means, so that neither the level nor a shift of it matters.
//
//	likeness = Σ d(t) d(t−24h) / Σ (d(t)² + d(t−24h)²)/2, decayed
type Evidence struct {
	mean     float64 // of the slot being visited, so far
	before   float64 // the mean of the slot before, if chained
	like     float32
	all      float32
	points   uint16        // in the slot being visited, saturating
	moves    [slots]uint16 // the moves of the last day, as the upper half of a float32
	slot     uint8         // being visited, or noSlot
	compared uint8         // saturating
	chained  bool          // the slot before was visited too
}

// EvidenceSize is the length of an encoded Evidence in bytes.
const EvidenceSize = 2*8 + 2*4 + 2 + 2*slots + 3

// NewEvidence returns the evidence before any point.
func NewEvidence() Evidence { return Evidence{slot: noSlot} }

// Strong reports whether the series repeats itself well enough.
func (e *Evidence) Strong() bool {
	return e.compared >= minCompared && e.like > likeness*e.all
}

// Learn takes a value in at a local wall clock.
func (e *Evidence) Learn(local int64, x float64) {
	slot := uint8(modulo(local, dayMillis) / slotMillis)
	if slot == e.slot {
		if e.points < math.MaxUint16 {
			e.points++
		}
		e.mean += (x - e.mean) / float64(e.points)
		return
	}
	if e.slot != noSlot {
		e.finish()
		e.chained = slot == (e.slot+1)%slots
		e.before = e.mean
	}
	e.slot, e.mean, e.points = slot, x, 1
}

// finish compares the slot that ends with the same slot of the day before.
func (e *Evidence) finish() {
	if !e.chained {
		return
	}
	move := float32(e.mean - e.before)
	last := math.Float32frombits(uint32(e.moves[e.slot]) << 16)
	e.moves[e.slot] = uint16(math.Float32bits(move) >> 16)
	if last == 0 {
		return
	}
	// Products are taken in float64 and scaled down, so that none overflows.
	a, b := float64(move), float64(last)
	big := math.Max(math.Abs(a), math.Abs(b))
	a, b = a/big, b/big
	e.like = float32(float64(likenessDecay*e.like) + float64(a*b))
	e.all = float32(float64(likenessDecay*e.all) + float64((float64(a*a)+float64(b*b))/2))
	if e.compared < math.MaxUint8 {
		e.compared++
	}
}

// Append appends the encoded evidence.
func (e *Evidence) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(e.mean))
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(e.before))
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(e.like))
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(e.all))
	b = binary.LittleEndian.AppendUint16(b, e.points)
	for _, m := range e.moves {
		b = binary.LittleEndian.AppendUint16(b, m)
	}
	chained := byte(0)
	if e.chained {
		chained = 1
	}
	return append(b, e.slot, e.compared, chained)
}

// Parse replaces the evidence by the one encoded in b, which is EvidenceSize
// long. It reports whether all of it is possible evidence.
func (e *Evidence) Parse(b []byte) bool {
	le := binary.LittleEndian
	e.mean = math.Float64frombits(le.Uint64(b))
	e.before = math.Float64frombits(le.Uint64(b[8:]))
	e.like = math.Float32frombits(le.Uint32(b[16:]))
	e.all = math.Float32frombits(le.Uint32(b[20:]))
	e.points = le.Uint16(b[24:])
	good := finite(e.mean) && finite(e.before) && finite(float64(e.like)) && finite(float64(e.all))
	for i := range e.moves {
		e.moves[i] = le.Uint16(b[26+2*i:])
		good = good && finite(float64(math.Float32frombits(uint32(e.moves[i])<<16)))
	}
	tail := b[26+2*slots:]
	e.slot, e.compared, e.chained = tail[0], tail[1], tail[2] == 1
	return good && (e.slot < slots || e.slot == noSlot) && (e.points > 0) == (e.slot != noSlot) && tail[2] <= 1
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
