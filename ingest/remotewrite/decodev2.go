package remotewrite

import (
	"math/bits"

	"github.com/zeebo/xxh3"

	"github.com/homeostat/homeostat/engine"
)

// decodeV2 walks over an io.prometheus.write.v2.Request:
//
//	Request    { repeated string symbols = 4; repeated TimeSeries timeseries = 5 }
//	TimeSeries { repeated uint32 labels_refs = 1; repeated Sample samples = 2;
//	             repeated Histogram histograms = 3; repeated Exemplar exemplars = 4;
//	             Metadata metadata = 5 }
//
// The symbols come first in what everyone sends, but need not: the first pass
// collects them and where the series are, the second reads the series.
func (q *request) decodeV2(l *Limits) *refused {
	m := q.body
	for i := 0; i < len(m); {
		num, wire, next := field(m, i)
		if next < 0 {
			return malformed(next)
		}
		if num != 4 && num != 5 {
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
		if num == 5 {
			if len(q.entries) == l.Series {
				return overLimit(RefusedSeriesLimit, l.Series)
			}
			q.entries = append(q.entries, entry{from: uint32(from), to: uint32(to)})
			continue
		}
		if len(q.symbols) == l.Symbols {
			return overLimit(RefusedSymbolLimit, l.Symbols)
		}
		q.symbols = append(q.symbols, symbol{uint32(from), uint32(to), xxh3.Hash128(m[from:to])})
	}
	if len(q.entries) == 0 && len(q.symbols) == 0 {
		return nil
	}
	if len(q.symbols) == 0 || q.symbols[0].from != q.symbols[0].to {
		return refuse(RefusedSymbols, "")
	}
	for k := range q.entries {
		if r := q.seriesV2(l, &q.entries[k]); r != nil {
			return r
		}
	}
	return nil
}

// seriesV2 takes the series in body[e.from:e.to] and turns the range of e into
// one of references. The key is a hash of the hashes of the symbols, so that it
// does not depend on where this request keeps them.
func (q *request) seriesV2(l *Limits, e *entry) *refused {
	m := q.body[e.from:e.to]
	refsFrom := len(q.refs)
	room := refsFrom + 2*l.Labels + 2
	samples, histograms := len(q.samples), q.tally.histograms
	described := false
	var texts [2]uint32 // help and unit; of several the last counts
	var d digest
	for i := 0; i < len(m); {
		num, wire, next := field(m, i)
		if next < 0 {
			return malformed(next)
		}
		if num == 1 {
			if i = q.references(m, next, wire, room, &d); i < 0 {
				return malformed(i)
			}
			continue
		}
		if num > 5 {
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
		case 2:
			if q.full(l) {
				return overLimit(RefusedSampleLimit, l.Samples)
			}
			if n := q.sampleV2(m[from:to]); n < 0 {
				return malformed(n)
			}
		case 3:
			if r := q.histogram(m[from:to], V2, l, e); r != nil {
				return r
			}
		case 4:
			good, n := q.exemplarV2(m[from:to])
			if n < 0 {
				return malformed(n)
			}
			if good {
				e.exemplars++
			} else {
				q.tally.exemplars++
				q.tally.badExemplars++
				q.instead("an exemplar refers to a symbol that does not exist")
			}
		case 5:
			described = true
			if n := metadataV2(m[from:to], e, &texts); n < 0 {
				return malformed(n)
			}
		}
		i = to
	}
	if described {
		q.tally.metadata++
	} else if len(q.samples) == samples && q.tally.histograms == histograms && e.exemplars == 0 && e.reject == RejectNone {
		e.reject = RejectEmpty
	}
	e.from, e.to = uint32(refsFrom), uint32(len(q.refs))
	d.bad = d.bad || int(max(texts[0], texts[1])) >= len(q.symbols)
	if d.bad || (e.to-e.from)%2 != 0 {
		e.reject = RejectReference
		q.instead("a series refers to a symbol that does not exist")
	}
	e.key = d.sum()
	e.samples, e.histograms = uint32(len(q.samples)), uint32(len(q.histograms))
	q.tally.exemplars += int(e.exemplars)
	return nil
}

// digest folds the hashes of the symbols that name a series into one of 128
// bits: the sum over k of (low_k + k·a)·(high_k + k·b), each product in full.
// The terms do not wait for each other, as the blocks of a hash over all of them
// would.
type digest struct {
	lo, hi uint64
	k      uint64
	bad    bool // a reference was beyond the symbols
}

func (d *digest) add(h xxh3.Uint128) {
	const a, b = 0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f
	d.k++
	hi, lo := bits.Mul64(h.Lo+d.k*a, h.Hi+d.k*b)
	var carry uint64
	d.lo, carry = bits.Add64(d.lo, lo, 0)
	d.hi, _ = bits.Add64(d.hi, hi, carry)
}

// sum spreads the bits of the sum, which are not even: tables are indexed by the
// highest of both halves.
func (d *digest) sum() xxh3.Uint128 {
	lo := spread(d.lo ^ bits.RotateLeft64(d.hi, 29))
	return xxh3.Uint128{Hi: spread(d.hi + d.k), Lo: lo}
}

// spread is the finalizer of MurmurHash3: a bijection in which every bit of the
// input moves about half of those of the output.
func spread(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// references appends the numbers of a repeated uint32 to refs and adds their
// symbols to d; but none beyond room: who has so many labels is refused for
// their number.
func (q *request) references(m []byte, i int, wire uint64, room int, d *digest) int {
	to := i + 1
	switch wire {
	case wireVarint:
		if i >= len(m) {
			return int(faultTruncated)
		}
	case wireBytes:
		if i, to = extent(m, i); to < 0 {
			return to
		}
		m = m[:to]
	default:
		return int(faultWireType)
	}
	refs, sum, symbols := q.refs, *d, q.symbols
	for i < to {
		v := uint64(0)
		switch {
		case m[i] < 0x80:
			v = uint64(m[i])
			i++
		case i+1 < len(m) && m[i+1] < 0x80:
			v = uint64(m[i]&0x7f) | uint64(m[i+1])<<7
			i += 2
		default:
			if v, i = uvarint(m, i); i < 0 {
				if i == int(faultTruncated) && wire == wireBytes {
					return int(faultPacked)
				}
				return i
			}
		}
		if len(refs) >= room {
			continue
		}
		r := uint32(v)
		refs = append(refs, r)
		if int(r) >= len(symbols) {
			sum.bad = true
			continue
		}
		sum.add(symbols[r].hash)
	}
	q.refs, *d = refs, sum
	return i
}

// sampleV2 reads a 2.0 sample { double value = 1; int64 timestamp = 2;
// int64 start_timestamp = 3 }.
func (q *request) sampleV2(m []byte) int {
	q.tally.floats++
	if at, v, ok := usualSample(m); ok {
		q.samples = append(q.samples, engine.Sample{At: at, Value: v})
		return len(m)
	}
	at, v, start, n := looseSample(m, true)
	if start {
		q.tally.startTimes++
	}
	q.samples = append(q.samples, engine.Sample{At: at, Value: v})
	return n
}

// exemplarV2 checks an Exemplar { repeated uint32 labels_refs = 1;
// double value = 2; int64 timestamp = 3 }; good says that its references hold.
func (q *request) exemplarV2(m []byte) (good bool, i int) {
	good = true
	refs := 0
	for i < len(m) {
		num, wire, next := field(m, i)
		if next < 0 {
			return false, next
		}
		switch num {
		case 1:
			i = varints(m, next, wire, func(v uint64) {
				refs++
				good = good && int(uint32(v)) < len(q.symbols)
			})
		case 2:
			if wire != wireFixed64 {
				return false, int(faultWireType)
			}
			_, i = float(m, next)
		case 3:
			if wire != wireVarint {
				return false, int(faultWireType)
			}
			_, i = uvarint(m, next)
		default:
			i = skip(m, next, wire)
		}
		if i < 0 {
			return false, i
		}
	}
	return good && refs%2 == 0, i
}

// metadataV2 reads a Metadata { MetricType type = 1; uint32 help_ref = 3;
// uint32 unit_ref = 4 }.
func metadataV2(m []byte, e *entry, texts *[2]uint32) (i int) {
	for i < len(m) {
		num, wire, next := field(m, i)
		if next < 0 {
			return next
		}
		if num != 1 && num != 3 && num != 4 {
			if i = skip(m, next, wire); i < 0 {
				return i
			}
			continue
		}
		if wire != wireVarint {
			return int(faultWireType)
		}
		var v uint64
		if v, i = uvarint(m, next); i < 0 {
			return i
		}
		if num == 1 {
			e.declared = typeV2(uint32(v))
		} else {
			texts[num-3] = uint32(v)
		}
	}
	return i
}
