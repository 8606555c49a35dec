package remotewrite

import (
	"errors"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/value"

	"github.com/homeostat/homeostat/engine"
)

// shape is a native histogram as it is sent. Integer histograms carry the
// difference of each bucket from the one before, float histograms the counts.
// No array grows beyond the limit of buckets; long says that one would have.
type shape struct {
	at            int64
	isFloat       bool // the count is a float
	countInt      uint64
	countFloat    float64
	sum           float64
	schema        int32
	zeroThreshold float64
	zeroInt       uint64
	zeroFloat     float64
	negative      side
	positive      side
	gauge         bool
	started       bool
	custom        []float64
	long          bool
}

// side is the negative or the positive half of a histogram's buckets.
type side struct {
	spans  []span
	deltas []int64
	counts []float64
}

// span is a run of buckets: offset from the end of the last run, or the first
// bucket's index, and length.
type span struct {
	offset int32
	length uint32
}

func (s *side) reset() {
	s.spans, s.deltas, s.counts = s.spans[:0], s.deltas[:0], s.counts[:0]
}

func (s *shape) reset() {
	negative, positive, custom := s.negative, s.positive, s.custom
	negative.reset()
	positive.reset()
	*s = shape{negative: negative, positive: positive, custom: custom[:0]}
}

// The schemas: exponential from −4 to 8, and custom bounds.
const (
	minSchema    = -4
	maxSchema    = 8
	customSchema = -53
	resetGauge   = 3
)

var (
	errBuckets    = errors.New("more buckets than the limit")
	errSchema     = errors.New("the schema is not one of -53 and -4 to 8")
	errSpans      = errors.New("the spans do not match the buckets")
	errCount      = errors.New("a count is negative or not finite")
	errTotal      = errors.New("the buckets do not add up to the count")
	errBounds     = errors.New("a bucket lies beyond the range of numbers, or within the zero bucket")
	errCustom     = errors.New("custom bounds belong to schema -53, must rise, be finite, and have no negative or zero buckets")
	errZeroBucket = errors.New("the zero threshold is negative or not finite")
)

// histogram takes one histogram of series e in: as an engine.HistogramSample,
// as a stale sample when its sum is the stale marker, or as a refused one.
func (q *request) histogram(m []byte, p Protocol, l *Limits, e *entry) *refused {
	if q.full(l) {
		return overLimit(RefusedSampleLimit, l.Samples)
	}
	s := &q.shape
	s.reset()
	if n := s.decode(m, p == V2, l.HistogramBuckets); n < 0 {
		return malformed(n)
	}
	q.tally.histograms++
	if s.started {
		q.tally.startTimes++
	}
	if value.IsStaleNaN(s.sum) {
		e.stale++
		q.samples = append(q.samples, engine.Sample{At: s.at, Value: s.sum})
		return nil
	}
	from := len(q.buckets)
	h, err := s.expand(&q.buckets, l.HistogramBuckets)
	if err != nil {
		q.buckets = q.buckets[:from]
		q.tally.badHistograms++
		q.instead("a histogram was malformed: " + err.Error())
		return nil
	}
	if len(q.buckets) > l.Buckets {
		return overLimit(RefusedBucketLimit, l.Buckets)
	}
	q.histograms = append(q.histograms, h)
	return nil
}

// keep appends while there is room below limit.
func keep[T any](s *shape, to []T, v T, limit int) []T {
	if len(to) >= limit {
		s.long = true
		return to
	}
	return append(to, v)
}

// decode reads the message, which is the same in 1.0 and 2.0 but for
// start_timestamp = 17, which 1.0 lacks.
func (s *shape) decode(m []byte, started bool, limit int) (i int) {
	for i < len(m) {
		num, wire, next := field(m, i)
		if next < 0 {
			return next
		}
		switch num {
		case 1, 4, 6, 14, 15:
			i = s.number(m, next, num, wire)
		case 2, 3, 5, 7:
			i = s.float(m, next, num, wire)
		case 8, 11:
			i = s.span(m, next, num, wire, limit)
		case 9:
			i = varints(m, next, wire, func(v uint64) {
				s.negative.deltas = keep(s, s.negative.deltas, zigzag64(v), limit)
			})
		case 12:
			i = varints(m, next, wire, func(v uint64) {
				s.positive.deltas = keep(s, s.positive.deltas, zigzag64(v), limit)
			})
		case 10:
			i = floats(m, next, wire, func(v float64) {
				s.negative.counts = keep(s, s.negative.counts, v, limit)
			})
		case 13:
			i = floats(m, next, wire, func(v float64) {
				s.positive.counts = keep(s, s.positive.counts, v, limit)
			})
		case 16:
			i = floats(m, next, wire, func(v float64) {
				s.custom = keep(s, s.custom, v, limit)
			})
		case 17:
			if started {
				i = s.number(m, next, num, wire)
				break
			}
			fallthrough
		default:
			i = skip(m, next, wire)
		}
		if i < 0 {
			return i
		}
	}
	return i
}

func (s *shape) number(m []byte, i int, num int32, wire uint64) int {
	if wire != wireVarint {
		return int(faultWireType)
	}
	v, next := uvarint(m, i)
	switch num {
	case 1:
		s.isFloat, s.countInt = false, v
	case 4:
		s.schema = zigzag32(v)
	case 6:
		s.zeroInt, s.zeroFloat = v, 0
	case 14:
		s.gauge = int32(v) == resetGauge
	case 15:
		s.at = int64(v)
	case 17:
		s.started = v != 0
	}
	return next
}

func (s *shape) float(m []byte, i int, num int32, wire uint64) int {
	if wire != wireFixed64 {
		return int(faultWireType)
	}
	v, next := float(m, i)
	switch num {
	case 2:
		s.isFloat, s.countFloat = true, v
	case 3:
		s.sum = v
	case 5:
		s.zeroThreshold = v
	case 7:
		s.zeroInt, s.zeroFloat = 0, v
	}
	return next
}

// span reads a BucketSpan { sint32 offset = 1; uint32 length = 2 }.
func (s *shape) span(m []byte, i int, num int32, wire uint64, limit int) int {
	if wire != wireBytes {
		return int(faultWireType)
	}
	from, to := extent(m, i)
	if to < 0 {
		return to
	}
	var p span
	b := m[from:to]
	for i := 0; i < len(b); {
		num, wire, next := field(b, i)
		if next < 0 {
			return next
		}
		if num > 2 {
			if i = skip(b, next, wire); i < 0 {
				return i
			}
			continue
		}
		if wire != wireVarint {
			return int(faultWireType)
		}
		var v uint64
		if v, i = uvarint(b, next); i < 0 {
			return i
		}
		if num == 1 {
			p.offset = zigzag32(v)
		} else {
			p.length = uint32(v)
		}
	}
	half := &s.positive
	if num == 8 {
		half = &s.negative
	}
	half.spans = keep(s, half.spans, p, limit)
	return to
}

// expand checks the histogram and appends its buckets, lowest first and without
// empty ones, to buckets.
func (s *shape) expand(buckets *[]engine.Bucket, limit int) (engine.HistogramSample, error) {
	h := engine.HistogramSample{At: s.at, Count: float64(s.countInt), Sum: s.sum, Gauge: s.gauge}
	zero := float64(s.zeroInt)
	if s.isFloat {
		h.Count, zero = s.countFloat, s.zeroFloat
	}
	switch {
	case s.long:
		return h, errBuckets
	case s.schema != customSchema && (s.schema < minSchema || s.schema > maxSchema):
		return h, errSchema
	case s.schema != customSchema && len(s.custom) > 0:
		return h, errCustom
	case !countable(h.Count) || !countable(zero):
		return h, errCount
	case !countable(s.zeroThreshold):
		return h, errZeroBucket
	}
	if s.schema == customSchema {
		if err := s.checkCustom(zero); err != nil {
			return h, err
		}
	}
	from := len(*buckets)
	below, err := s.half(&s.negative, true, buckets)
	if err != nil {
		return h, err
	}
	slices.Reverse((*buckets)[from:])
	if zero > 0 {
		// Without negative buckets nothing was observed below zero.
		lower := 0.0
		if len(*buckets) > from {
			lower = -s.zeroThreshold
		}
		*buckets = append(*buckets, engine.Bucket{Lower: lower, Upper: s.zeroThreshold, Count: zero})
	}
	above, err := s.half(&s.positive, false, buckets)
	if err != nil {
		return h, err
	}
	if len(*buckets)-from > limit {
		return h, errBuckets
	}
	if !s.isFloat {
		// Observations that are NaN are in the count and in no bucket.
		total := below + above + s.zeroInt
		if total > s.countInt || total != s.countInt && !math.IsNaN(s.sum) {
			return h, errTotal
		}
	}
	h.Buckets = (*buckets)[from:len(*buckets):len(*buckets)]
	return h, nil
}

// countable says that v may be a count or a width: finite and not negative.
func countable(v float64) bool { return v >= 0 && v <= math.MaxFloat64 }

func (s *shape) checkCustom(zero float64) error {
	if zero != 0 || s.zeroThreshold != 0 || len(s.negative.spans) > 0 || s.buckets(&s.negative) > 0 {
		return errCustom
	}
	for i, b := range s.custom {
		if math.IsNaN(b) || math.IsInf(b, 0) || i > 0 && b <= s.custom[i-1] {
			return errCustom
		}
	}
	var end int64
	for _, p := range s.positive.spans {
		if end += int64(p.offset) + int64(p.length); p.offset < 0 || end > int64(len(s.custom))+1 {
			return errSpans
		}
	}
	return nil
}

// buckets is how many buckets one side has.
func (s *shape) buckets(half *side) int {
	if s.isFloat {
		return len(half.counts)
	}
	return len(half.deltas)
}

// half appends the buckets of one side in the order they are sent, away from
// zero, and returns the sum of integer counts.
func (s *shape) half(half *side, negative bool, buckets *[]engine.Bucket) (total uint64, err error) {
	have := s.buckets(half)
	var index int64
	var count int64
	n := 0
	for k, p := range half.spans {
		if k > 0 && p.offset < 0 || uint64(p.length) > uint64(have-n) {
			return 0, errSpans
		}
		index += int64(p.offset)
		for range p.length {
			var c float64
			if s.isFloat {
				c = half.counts[n]
			} else {
				count += half.deltas[n]
				c = float64(count)
			}
			if !countable(c) {
				return 0, errCount
			}
			if !s.isFloat {
				total += uint64(count)
			}
			if c > 0 {
				b, ok := s.bucket(index, negative)
				if !ok {
					return 0, errBounds
				}
				b.Count = c
				*buckets = append(*buckets, b)
			}
			n++
			index++
		}
	}
	if n != have {
		return 0, errSpans
	}
	return total, nil
}

// bucket gives the bounds of the bucket with this index; ok is false when there
// is no such bucket.
func (s *shape) bucket(index int64, negative bool) (b engine.Bucket, ok bool) {
	if s.schema == customSchema {
		if index < 0 || index > int64(len(s.custom)) {
			return b, false
		}
		b.Lower, b.Upper = math.Inf(-1), math.Inf(1)
		if index > 0 {
			b.Lower = s.custom[index-1]
		}
		if index < int64(len(s.custom)) {
			b.Upper = s.custom[index]
		}
		return b, true
	}
	// A zero bucket that was widened may reach into a bucket, as Prometheus has
	// it, but not beyond it.
	lower, upper := max(exponentialBound(index-1, s.schema), s.zeroThreshold), exponentialBound(index, s.schema)
	if !(lower < upper) {
		return b, false
	}
	if negative {
		lower, upper = -upper, -lower
	}
	return engine.Bucket{Lower: lower, Upper: upper}, true
}

// exponentialBound is the upper bound of the bucket with this index,
// 2^(index * 2^−schema). The last finite bound would be 2^1024; it is the
// largest number, so that an overflow bucket up to +Inf remains. See the native
// histogram specification of Prometheus.
func exponentialBound(index int64, schema int32) float64 {
	if schema <= 0 {
		return powerOfTwo(1, index<<uint(-schema))
	}
	parts := int64(1) << uint(schema)
	return powerOfTwo(math.Exp2(float64(index&(parts-1))/float64(parts)), index>>uint(schema))
}

// powerOfTwo is fraction * 2^exp for 1 <= fraction < 2.
func powerOfTwo(fraction float64, exp int64) float64 {
	if fraction == 1 && exp == 1024 {
		return math.MaxFloat64
	}
	return math.Ldexp(fraction, int(max(min(exp, 2000), -2000)))
}
