// Package knn remembers windows of a series by their quantiles, and says how far
// a window is from the nearest of them.
package knn

import (
	"encoding/binary"
	"math"
)

const (
	// Quantiles is the number of quantiles that a window is known by.
	Quantiles = 13
	// Most is the number of windows kept.
	Most = 250

	nearest = 3
	half    = Quantiles / 2
)

// Window is the quantiles of one window, in steps that its owner chose.
type Window [Quantiles]int16

// Memory is the windows of one series: the first Most of them, and from then on
// each new one takes the place of one drawn at random, so that the older a window
// is the likelier it is gone (exponentially, without a cliff). The draw is a hash
// of the seed and of how many windows came before.
//
//	d(w) = mean over the three nearest windows m of Σ |w − m|
//
// Burnaev and Ishimtsev (2016) use the same distance on windows of values; on
// their quantiles it does not matter where in a window something happened, only
// what its values were.
type Memory struct {
	Seed uint64
	kept uint64 // windows taken in
	rows [Most]Window
}

// Size is the length of an encoded Memory in bytes.
const Size = 8 + 8 + Most*Quantiles*2

// Distance returns how far a window is from its three nearest, and false while
// there are fewer than that.
func (m *Memory) Distance(w *Window) (float64, bool) {
	n := min(m.kept, Most)
	if n < nearest {
		return 0, false
	}
	first, second, third := int32(math.MaxInt32), int32(math.MaxInt32), int32(math.MaxInt32)
	for i := range m.rows[:n] {
		row := &m.rows[i]
		d := apart(row[:half], w[:half])
		if d >= third {
			continue // most windows are this far already
		}
		if d += apart(row[half:], w[half:]); d >= third {
			continue
		}
		switch {
		case d < first:
			first, second, third = d, first, second
		case d < second:
			second, third = d, second
		default:
			third = d
		}
	}
	return (float64(first) + float64(second) + float64(third)) / nearest, true
}

func apart(a, b []int16) int32 {
	d := int32(0)
	for j, v := range a {
		d += abs(int32(v) - int32(b[j]))
	}
	return d
}

func abs(v int32) int32 {
	sign := v >> 31
	return (v ^ sign) - sign
}

// Learn takes a window in.
func (m *Memory) Learn(w *Window) {
	i := m.kept
	if i >= Most {
		i = mix(m.Seed+mix(m.kept)) % Most
	}
	m.rows[i] = *w
	m.kept++
}

// mix is the output function of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(z uint64) uint64 {
	z *= 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Append appends the encoded memory.
func (m *Memory) Append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, m.Seed)
	b = le.AppendUint64(b, m.kept)
	for i := range m.rows {
		for _, q := range m.rows[i] {
			b = le.AppendUint16(b, uint16(q))
		}
	}
	return b
}

// Parse replaces the memory by the one encoded in b, which is Size long.
func (m *Memory) Parse(b []byte) {
	le := binary.LittleEndian
	m.Seed, m.kept = le.Uint64(b), le.Uint64(b[8:])
	b = b[16:]
	for i := range m.rows {
		for j := range m.rows[i] {
			m.rows[i][j] = int16(le.Uint16(b))
			b = b[2:]
		}
	}
}
