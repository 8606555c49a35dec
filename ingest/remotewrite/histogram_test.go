package remotewrite

import (
	"errors"
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"

	"github.com/homeostat/homeostat/engine"
)

func TestBoundsAreThoseOfTheSpecification(t *testing.T) {
	for _, c := range []struct {
		schema int32
		index  int64
		want   float64
	}{
		{0, 0, 1},
		{0, 1, 2},
		{0, -1, 0.5},
		{0, 1023, math.Ldexp(1, 1023)},
		{0, 1024, math.MaxFloat64},
		{0, 1025, math.Inf(1)},
		{0, -1074, math.SmallestNonzeroFloat64},
		{0, -1076, 0},
		{-4, 1, 65536},
		{-4, 64, math.MaxFloat64},
		{-1, -1, 0.25},
		{1, 1, math.Sqrt2},
		{1, 2, 2},
		{1, -1, math.Sqrt2 / 2},
		{8, 256, 2},
		{8, 128, math.Sqrt2},
		{3, -8, 0.5},
		{8, math.MaxInt32, math.Inf(1)},
		{-4, math.MinInt32, 0},
	} {
		got := exponentialBound(c.index, c.schema)
		if got != c.want && !(math.Abs(got-c.want) <= 1e-15*math.Abs(c.want)) {
			t.Errorf("schema %d, index %d: %v, want %v", c.schema, c.index, got, c.want)
		}
	}
	// Against Prometheus' own table, over all schemas.
	for schema := int32(minSchema); schema <= maxSchema; schema++ {
		f := histogram.FloatHistogram{Schema: schema, PositiveSpans: []histogram.Span{{Offset: -40, Length: 80}}, PositiveBuckets: make([]float64, 80)}
		for it := f.PositiveBucketIterator(); it.Next(); {
			b := it.At()
			if got := exponentialBound(int64(b.Index), schema); math.Abs(got-b.Upper) > 1e-13*b.Upper {
				t.Errorf("schema %d, index %d: %v, Prometheus has %v", schema, b.Index, got, b.Upper)
			}
		}
	}
}

func TestMalformedHistogramsAreToldApart(t *testing.T) {
	one := []prompb.BucketSpan{{Length: 1}}
	count := func(n uint64) *prompb.Histogram_CountInt { return &prompb.Histogram_CountInt{CountInt: n} }
	float := func(n float64) *prompb.Histogram_CountFloat { return &prompb.Histogram_CountFloat{CountFloat: n} }
	for _, c := range []struct {
		name string
		h    prompb.Histogram
		want error
	}{
		{"nothing was observed", prompb.Histogram{}, nil},
		{"one bucket", prompb.Histogram{Count: count(1), PositiveSpans: one, PositiveDeltas: []int64{1}}, nil},
		{"observations that are NaN are in no bucket", prompb.Histogram{Count: count(5), Sum: math.NaN(), PositiveSpans: one, PositiveDeltas: []int64{1}}, nil},
		{"more in buckets than counted", prompb.Histogram{Count: count(0), Sum: math.NaN(), PositiveSpans: one, PositiveDeltas: []int64{1}}, errTotal},
		{"fewer in buckets than counted", prompb.Histogram{Count: count(2), PositiveSpans: one, PositiveDeltas: []int64{1}}, errTotal},
		{"more buckets than spans", prompb.Histogram{Count: count(2), PositiveSpans: one, PositiveDeltas: []int64{1, 0}}, errSpans},
		{"fewer buckets than spans", prompb.Histogram{Count: count(2), PositiveSpans: []prompb.BucketSpan{{Length: 2}}, PositiveDeltas: []int64{2}}, errSpans},
		{"spans that overlap", prompb.Histogram{Count: count(2), PositiveSpans: []prompb.BucketSpan{{Length: 1}, {Offset: -1, Length: 1}}, PositiveDeltas: []int64{1, 0}}, errSpans},
		{"a bucket below zero", prompb.Histogram{Count: count(2), PositiveSpans: one, PositiveDeltas: []int64{-1}}, errCount},
		{"a float bucket below zero", prompb.Histogram{Count: float(2), PositiveSpans: one, PositiveCounts: []float64{-1}}, errCount},
		{"a count that is NaN", prompb.Histogram{Count: float(math.NaN())}, errCount},
		{"a schema of the future", prompb.Histogram{Schema: 9}, errSchema},
		{"a zero threshold below zero", prompb.Histogram{ZeroThreshold: -1}, errZeroBucket},
		{"a bucket beyond the numbers", prompb.Histogram{Count: count(1), PositiveSpans: []prompb.BucketSpan{{Offset: 5000, Length: 1}}, PositiveDeltas: []int64{1}}, errBounds},
		{"a bucket within the zero bucket", prompb.Histogram{Count: count(1), ZeroThreshold: 4, PositiveSpans: []prompb.BucketSpan{{Offset: 1, Length: 1}}, PositiveDeltas: []int64{1}}, errBounds},
		{"a zero bucket that reaches into a bucket", prompb.Histogram{Count: count(1), ZeroThreshold: 1.5, PositiveSpans: []prompb.BucketSpan{{Offset: 1, Length: 1}}, PositiveDeltas: []int64{1}}, nil},
		{"an overflow bucket", prompb.Histogram{Count: count(1), PositiveSpans: []prompb.BucketSpan{{Offset: 1025, Length: 1}}, PositiveDeltas: []int64{1}}, nil},
		{"custom bounds that fall", prompb.Histogram{Schema: -53, CustomValues: []float64{2, 1}}, errCustom},
		{"custom bounds that are infinite", prompb.Histogram{Schema: -53, CustomValues: []float64{math.Inf(1)}}, errCustom},
		{"custom bounds with a negative side", prompb.Histogram{Schema: -53, NegativeSpans: one}, errCustom},
		{"custom bounds of an exponential schema", prompb.Histogram{CustomValues: []float64{1}}, errCustom},
		{"a custom bucket beyond the bounds", prompb.Histogram{Schema: -53, Count: count(1), PositiveSpans: []prompb.BucketSpan{{Offset: 2, Length: 1}}, PositiveDeltas: []int64{1}, CustomValues: []float64{1}}, errSpans},
	} {
		m, err := c.h.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		var s shape
		if n := s.decode(m, false, 100); n < 0 {
			t.Fatalf("%s: %v", c.name, fault(n))
		}
		var buckets []engine.Bucket
		if _, err := s.expand(&buckets, 100); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}
