package remotewrite

import (
	"encoding/binary"
	"math"

	"github.com/zeebo/xxh3"

	"github.com/homeostat/homeostat/engine"
)

// decodeV1 walks over a prometheus.WriteRequest:
//
//	WriteRequest { repeated TimeSeries timeseries = 1; repeated MetricMetadata metadata = 3 }
//	TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2;
//	               repeated Exemplar exemplars = 3; repeated Histogram histograms = 4 }
//
// types remembers the types that the metadata declare.
func (q *request) decodeV1(l *Limits, types *declarations) *refused {
	m := q.body
	for i := 0; i < len(m); {
		num, wire, next := field(m, i)
		if next < 0 {
			return malformed(next)
		}
		if num != 1 && num != 3 {
			if i = skip(m, next, wire); i < 0 {
				return malformed(i)
			}
			continue
		}
		if wire != wireBytes {
			return malformed(int(faultWireType))
		}
		from, to := extent(m, next)
		if to < 0 {
			return malformed(to)
		}
		i = to
		if num == 3 {
			if q.tally.metadata++; q.tally.metadata > l.Series {
				return overLimit(RefusedSeriesLimit, l.Series)
			}
			if next := declareV1(m[from:to], types); next < 0 {
				return malformed(next)
			}
			continue
		}
		if len(q.entries) == l.Series {
			return overLimit(RefusedSeriesLimit, l.Series)
		}
		if r := q.seriesV1(l, from, to); r != nil {
			return r
		}
	}
	return nil
}

// seriesV1 takes the series in body[base:end]. Its label bytes are hashed as
// they are; only a sender that mixes labels with other fields makes us gather
// them first.
func (q *request) seriesV1(l *Limits, base, end int) *refused {
	m := q.body[base:end]
	e := entry{}
	labelsFrom, labelsTo := 0, leadingLabels(m)
	for i := labelsTo; i < len(m); {
		num, wire, next := field(m, i)
		if next < 0 {
			return malformed(next)
		}
		if num > 4 {
			if i = skip(m, next, wire); i < 0 {
				return malformed(i)
			}
			continue
		}
		if wire != wireBytes {
			return malformed(int(faultWireType))
		}
		from, to := extent(m, next)
		if to < 0 {
			return malformed(to)
		}
		switch num {
		case 1:
			switch {
			case labelsTo == 0:
				labelsFrom, labelsTo = i, to
			case labelsTo == i && !e.spilled:
				labelsTo = to
			default:
				if !e.spilled {
					e.spilled = true
					e.from = uint32(len(q.spill))
					q.spill = append(q.spill, m[labelsFrom:labelsTo]...)
				}
				q.spill = append(q.spill, m[i:to]...)
			}
		case 2:
			if q.full(l) {
				return overLimit(RefusedSampleLimit, l.Samples)
			}
			at, v, n := sample(m[from:to])
			if n < 0 {
				return malformed(n)
			}
			q.samples = append(q.samples, engine.Sample{At: at, Value: v})
			q.tally.floats++
		case 3:
			if n := exemplarV1(m[from:to]); n < 0 {
				return malformed(n)
			}
			e.exemplars++
		case 4:
			if r := q.histogram(m[from:to], V1, l, &e); r != nil {
				return r
			}
		}
		i = to
	}
	if e.spilled {
		e.to = uint32(len(q.spill))
		e.key = xxh3.Hash128(q.spill[e.from:])
	} else {
		e.from, e.to = uint32(base+labelsFrom), uint32(base+labelsTo)
		e.key = xxh3.Hash128(m[labelsFrom:labelsTo])
	}
	q.finish(e)
	return nil
}

// leadingLabels is where the labels end that a series begins with, stepping
// from length to length. Whatever is unusual it leaves to the loop of seriesV1.
func leadingLabels(m []byte) (i int) {
	for i+2 < len(m) && m[i] == 1<<3|wireBytes {
		to := i + 2 + int(m[i+1])
		if m[i+1] >= 0x80 {
			if m[i+2] >= 0x80 {
				return i
			}
			to = i + 3 + int(m[i+1]&0x7f) + int(m[i+2])<<7
		}
		if to > len(m) {
			return i
		}
		i = to
	}
	return i
}

// finish ends a series: what was appended since the last one is its own.
func (q *request) finish(e entry) {
	e.samples, e.histograms = uint32(len(q.samples)), uint32(len(q.histograms))
	q.tally.exemplars += int(e.exemplars)
	q.entries = append(q.entries, e)
}

// sample reads a 1.0 sample { double value = 1; int64 timestamp = 2 }.
func sample(m []byte) (at int64, v float64, next int) {
	if at, v, ok := usualSample(m); ok {
		return at, v, len(m)
	}
	at, v, _, next = looseSample(m, false)
	return at, v, next
}

// usualSample reads a sample as everyone writes it: both fields, in order, the
// time in the six bytes that it takes from 1971 to 2109.
func usualSample(m []byte) (at int64, v float64, ok bool) {
	if len(m) != 16 || m[0] != 1<<3|wireFixed64 || m[9] != 2<<3 {
		return 0, 0, false
	}
	x := binary.LittleEndian.Uint64(m[8:]) >> 16
	if x&0x8080_8080_8080 != 0x0080_8080_8080 {
		return 0, 0, false
	}
	// Close the gaps of one bit between groups of seven, two, four at a time.
	x &= 0x7f7f_7f7f_7f7f
	x = x&0x007f_007f_007f | x>>1&0x3f80_3f80_3f80
	x = x&0x0000_3fff | x>>2&0x0fff_c000 | x>>4&0x3ff_f000_0000
	return int64(x), math.Float64frombits(binary.LittleEndian.Uint64(m[1:])), true
}

// looseSample reads a sample with its fields in any order and number; started
// says whether int64 start_timestamp = 3 exists and then whether it was set.
func looseSample(m []byte, started bool) (at int64, v float64, start bool, i int) {
	for i < len(m) {
		num, wire, next := field(m, i)
		if next < 0 {
			return 0, 0, false, next
		}
		switch {
		case num == 1:
			if wire != wireFixed64 {
				return 0, 0, false, int(faultWireType)
			}
			v, i = float(m, next)
		case num == 2 || num == 3 && started:
			if wire != wireVarint {
				return 0, 0, false, int(faultWireType)
			}
			var t uint64
			t, i = uvarint(m, next)
			if num == 2 {
				at = int64(t)
			} else {
				start = t != 0
			}
		default:
			i = skip(m, next, wire)
		}
		if i < 0 {
			return 0, 0, false, i
		}
	}
	return at, v, start, i
}

// label reads a Label { string name = 1; string value = 2 }.
func label(m []byte) (name, value []byte, i int) {
	for i < len(m) {
		num, wire, next := field(m, i)
		if next < 0 {
			return nil, nil, next
		}
		if num > 2 {
			if i = skip(m, next, wire); i < 0 {
				return nil, nil, i
			}
			continue
		}
		if wire != wireBytes {
			return nil, nil, int(faultWireType)
		}
		from, to := extent(m, next)
		if to < 0 {
			return nil, nil, to
		}
		if num == 1 {
			name = m[from:to]
		} else {
			value = m[from:to]
		}
		i = to
	}
	return name, value, i
}

// exemplarV1 checks an Exemplar { repeated Label labels = 1; double value = 2;
// int64 timestamp = 3 }. Nothing of it is kept.
func exemplarV1(m []byte) (i int) {
	for i < len(m) {
		num, wire, next := field(m, i)
		if next < 0 {
			return next
		}
		want := [...]uint64{1: wireBytes, 2: wireFixed64, 3: wireVarint}
		if num <= 3 && wire != want[num] {
			return int(faultWireType)
		}
		if num == 1 {
			from, to := extent(m, next)
			if to < 0 {
				return to
			}
			if _, _, n := label(m[from:to]); n < 0 {
				return n
			}
		}
		if i = skip(m, next, wire); i < 0 {
			return i
		}
	}
	return i
}

// declareV1 reads a MetricMetadata { MetricType type = 1;
// string metric_family_name = 2; string help = 4; string unit = 5 }.
func declareV1(m []byte, types *declarations) (i int) {
	var typ uint64
	var name []byte
	for i < len(m) {
		num, wire, next := field(m, i)
		if next < 0 {
			return next
		}
		switch num {
		case 1:
			if wire != wireVarint {
				return int(faultWireType)
			}
			typ, i = uvarint(m, next)
		case 2, 4, 5:
			if wire != wireBytes {
				return int(faultWireType)
			}
			from, to := extent(m, next)
			if to >= 0 && num == 2 {
				name = m[from:to]
			}
			i = to
		default:
			i = skip(m, next, wire)
		}
		if i < 0 {
			return i
		}
	}
	types.declare(name, typeV1(uint32(typ)))
	return i
}
