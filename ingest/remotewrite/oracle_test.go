package remotewrite

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/homeostat/homeostat/engine"
)

// The oracle decodes with Prometheus' generated code and does the rest by the
// most obvious means. It says what the handler must make of a message.
type oracle struct {
	lines    []string // what reaches the engine, in order
	shapes   []string
	rejected int // samples and histograms refused with their series
	bad      int // histograms refused for their content
	refused  bool
}

type plainSeries struct {
	pairs     []labels.Label
	broken    bool // a reference is beyond the symbols
	floats    [][2]any
	ints      []*histogram.Histogram
	shapes    []*histogram.FloatHistogram
	shapeInfo []shapeInfo
	empty     bool
}

type shapeInfo struct {
	at    int64
	gauge bool
	isInt bool
}

func (o *oracle) take(s plainSeries, v2 bool) {
	n := len(s.floats) + len(s.shapeInfo)
	ls, ok := plainLabels(s.pairs)
	if s.broken || !ok || v2 && s.empty {
		for i := range s.shapeInfo {
			if !s.stale(i) && s.check(i) != nil {
				n--
				o.bad++
			}
		}
		o.rejected += n
		return
	}
	for _, f := range s.floats {
		o.lines = append(o.lines, fmt.Sprintf("%s %016x @%d", ls, math.Float64bits(f[1].(float64)), f[0]))
	}
	for i, info := range s.shapeInfo {
		switch {
		case s.stale(i):
			o.lines = append(o.lines, fmt.Sprintf("%s %016x @%d", ls, value.StaleNaN, info.at))
		case s.check(i) != nil:
			o.bad++
		default:
			o.shapes = append(o.shapes, fmt.Sprintf("%s %s", ls, s.describe(i)))
		}
	}
}

func (s *plainSeries) stale(i int) bool {
	if s.shapeInfo[i].isInt {
		return value.IsStaleNaN(s.ints[i].Sum)
	}
	return value.IsStaleNaN(s.shapes[i].Sum)
}

// check is Prometheus' own validation and what this receiver asks beyond it.
func (s *plainSeries) check(i int) error {
	var f *histogram.FloatHistogram
	var err error
	if s.shapeInfo[i].isInt {
		if err = s.ints[i].Validate(); err == nil {
			f = s.ints[i].ToFloat(nil)
		}
	} else {
		f = s.shapes[i]
		err = f.Validate()
	}
	if err != nil {
		return err
	}
	// Prometheus keeps schemas that it does not know yet, counts that are not
	// finite, buckets beyond the numbers and some within the zero bucket;
	// nothing can be scored of them.
	if f.Schema != -53 && (f.Schema < -4 || f.Schema > 8) {
		return errSchema
	}
	if !countable(f.Count) || !countable(f.ZeroCount) || !countable(f.ZeroThreshold) {
		return errCount
	}
	if f.Schema == -53 && f.ZeroCount != 0 {
		return errCustom
	}
	if len(f.CustomValues) > 0 && math.IsInf(f.CustomValues[0], -1) {
		return errCustom // a bucket of nothing
	}
	for it := f.AllBucketIterator(); it.Next(); {
		b := it.At()
		if !countable(b.Count) {
			return errCount
		}
		if b.Count > 0 && f.Schema != -53 && !(b.Lower < b.Upper) && !(b.Lower == 0 && b.Upper == 0) {
			return errBounds
		}
	}
	return nil
}

func (s *plainSeries) describe(i int) string {
	f := s.shapes[i]
	if s.shapeInfo[i].isInt {
		f = s.ints[i].ToFloat(nil)
	}
	buckets := []engine.Bucket{}
	negative := false
	for it := f.AllBucketIterator(); it.Next(); {
		b := it.At()
		if b.Count == 0 {
			continue
		}
		lower, upper := b.Lower, b.Upper
		if lower == -f.ZeroThreshold && upper == f.ZeroThreshold && f.Schema != -53 {
			if !negative {
				lower = 0
			}
		} else if lower < 0 {
			negative = true
		}
		buckets = append(buckets, engine.Bucket{Lower: lower, Upper: upper, Count: b.Count})
	}
	return shapeText(s.shapeInfo[i].at, f.Count, f.Sum, s.shapeInfo[i].gauge, buckets)
}

func shapeText(at int64, count, sum float64, gauge bool, buckets []engine.Bucket) string {
	var b strings.Builder
	fmt.Fprintf(&b, "@%d %v %016x %v", at, count, math.Float64bits(sum), gauge)
	for _, k := range buckets {
		// Bounds agree to the last digits that two ways of computing them share.
		fmt.Fprintf(&b, " (%.12e,%.12e]%v", k.Lower+0, k.Upper+0, k.Count)
	}
	return b.String()
}

// plainLabels says what the labels are, when they are acceptable.
func plainLabels(pairs []labels.Label) (string, bool) {
	limits := Limits{}.withDefaults()
	if len(pairs) > limits.Labels {
		return "", false
	}
	seen := map[string]string{}
	kept := []string{}
	for _, p := range pairs {
		if _, twice := seen[p.Name]; twice || p.Name == "" || !utf8.ValidString(p.Name) || !utf8.ValidString(p.Value) {
			return "", false
		}
		most := limits.ValueBytes
		if p.Name == "__name__" {
			most = limits.NameBytes
		}
		if len(p.Name) > limits.NameBytes || len(p.Value) > most {
			return "", false
		}
		seen[p.Name] = p.Value
		if p.Value != "" {
			kept = append(kept, p.Name, p.Value)
		}
	}
	return labels.FromStrings(kept...).String(), seen["__name__"] != ""
}

func (o *oracle) overLimits(series, samples, metadata, symbols int) {
	limits := Limits{}.withDefaults()
	o.refused = series > limits.Series || samples > limits.Samples || metadata > limits.Series || symbols > limits.Symbols
}

func oracleV1(data []byte) (*oracle, error) {
	var w prompb.WriteRequest
	if err := w.Unmarshal(data); err != nil {
		return nil, err
	}
	o := &oracle{}
	total := 0
	for _, ts := range w.Timeseries {
		var s plainSeries
		for _, l := range ts.Labels {
			s.pairs = append(s.pairs, labels.Label{Name: l.Name, Value: l.Value})
		}
		for _, x := range ts.Samples {
			s.floats = append(s.floats, [2]any{x.Timestamp, x.Value})
		}
		for _, h := range ts.Histograms {
			s.shape(h.IsFloatHistogram(), h.Timestamp, h.ResetHint == prompb.Histogram_GAUGE, h.ToIntHistogram, h.ToFloatHistogram)
		}
		total += len(ts.Samples) + 10*len(ts.Histograms)
		o.take(s, false)
	}
	o.overLimits(len(w.Timeseries), total, len(w.Metadata), 0)
	return o, nil
}

func (s *plainSeries) shape(isFloat bool, at int64, gauge bool, ints func() *histogram.Histogram, floats func() *histogram.FloatHistogram) {
	s.shapeInfo = append(s.shapeInfo, shapeInfo{at: at, gauge: gauge, isInt: !isFloat})
	if isFloat {
		s.ints, s.shapes = append(s.ints, nil), append(s.shapes, floats())
		return
	}
	s.ints, s.shapes = append(s.ints, ints()), append(s.shapes, nil)
}

func oracleV2(data []byte) (*oracle, error) {
	var w writev2.Request
	if err := w.Unmarshal(data); err != nil {
		return nil, err
	}
	o := &oracle{}
	total := 0
	for _, ts := range w.Timeseries {
		s := plainSeries{broken: len(ts.LabelsRefs)%2 != 0 && len(ts.LabelsRefs) <= 2*64}
		at := func(ref uint32) string {
			if int(ref) >= len(w.Symbols) {
				s.broken = true
				return ""
			}
			return w.Symbols[ref]
		}
		for i := 0; i+1 < len(ts.LabelsRefs); i += 2 {
			s.pairs = append(s.pairs, labels.Label{Name: at(ts.LabelsRefs[i]), Value: at(ts.LabelsRefs[i+1])})
		}
		at(ts.Metadata.HelpRef)
		at(ts.Metadata.UnitRef)
		for _, x := range ts.Samples {
			s.floats = append(s.floats, [2]any{x.Timestamp, x.Value})
		}
		for _, h := range ts.Histograms {
			s.shape(h.IsFloatHistogram(), h.Timestamp, h.ResetHint == writev2.Histogram_RESET_HINT_GAUGE, h.ToIntHistogram, h.ToFloatHistogram)
		}
		total += len(ts.Samples) + 10*len(ts.Histograms)
		o.take(s, true)
	}
	o.overLimits(len(w.Timeseries), total, 0, len(w.Symbols))
	if len(w.Symbols) > 0 && w.Symbols[0] != "" || len(w.Symbols) == 0 && len(w.Timeseries) > 0 {
		o.refused = true
	}
	return o, nil
}

// compare decodes data both ways and fails on any difference that is not one of
// the reasoned ones:
//
//   - A packed field whose last number runs beyond the field's own length: the
//     generated code reads on into the next field; here it is refused.
//   - A series whose labels are refused for their number, and of which a label
//     further on is malformed: here the series is refused, there the request.
func compare(t *testing.T, p Protocol, data []byte) {
	r := newReceiver(t, Config{})
	for round := range 2 { // the second time the series are known
		q := newRequest()
		q.body = append(q.body, data...)
		refusal := r.terms.Load().interpret(p, q)
		decode := oracleV1
		if p == V2 {
			decode = oracleV2
		}
		o, err := decode(data)
		switch {
		case err != nil:
			if refusal == nil && q.tally.rejectedSeries[RejectLabels] == 0 {
				t.Fatalf("round %d: accepted what the generated code refuses: %v", round, err)
			}
			return
		case refusal != nil:
			packed := refusal.why == RefusedMalformed && refusal.detail == faultPacked.Error()
			if !packed && !o.refused && refusal.why != RefusedBucketLimit {
				t.Fatalf("round %d: refused what the generated code accepts: %v", round, refusal)
			}
			return
		case o.refused:
			t.Fatalf("round %d: a message beyond the limits is accepted", round)
		}
		got := []string{}
		for _, s := range q.batch.Samples {
			got = append(got, fmt.Sprintf("%s %016x @%d", s.Series.Labels, math.Float64bits(s.Value), s.At))
		}
		shapes := []string{}
		for _, h := range q.batch.Histograms {
			if !slices.IsSortedFunc(h.Buckets, func(a, b engine.Bucket) int { return compareFloats(a.Upper, b.Upper) }) {
				t.Errorf("buckets are not in order: %v", h.Buckets)
			}
			shapes = append(shapes, h.Series.Labels.String()+" "+shapeText(h.At, h.Count, h.Sum, h.Gauge, h.Buckets))
		}
		// Stale histograms are samples, in their own place among the others.
		sort.Strings(got)
		sort.Strings(o.lines)
		if !slices.Equal(got, o.lines) {
			t.Fatalf("round %d: samples\n%s\nwant\n%s", round, strings.Join(got, "\n"), strings.Join(o.lines, "\n"))
		}
		if !slices.Equal(shapes, o.shapes) {
			t.Fatalf("round %d: histograms\n%s\nwant\n%s", round, strings.Join(shapes, "\n"), strings.Join(o.shapes, "\n"))
		}
		if q.tally.rejectedSum() != o.rejected || q.tally.badHistograms != o.bad {
			t.Fatalf("round %d: %d samples and %d histograms refused, want %d and %d", round, q.tally.rejectedSum(), q.tally.badHistograms, o.rejected, o.bad)
		}
	}
}

func compareFloats(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func histogramsV1() []prompb.Histogram {
	ints := &histogram.Histogram{
		Schema: 1, ZeroThreshold: 0.001, ZeroCount: 2, Count: 14, Sum: 12.5,
		PositiveSpans: []histogram.Span{{Offset: -2, Length: 2}, {Offset: 1, Length: 2}}, PositiveBuckets: []int64{1, 1, -1, 2},
		NegativeSpans: []histogram.Span{{Offset: 0, Length: 3}}, NegativeBuckets: []int64{3, -3, 2},
	}
	custom := &histogram.Histogram{
		Schema: -53, Count: 6, Sum: 9, CustomValues: []float64{0.1, 0.5, 1},
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}, {Offset: 1, Length: 1}}, PositiveBuckets: []int64{1, 1, 1},
	}
	gauge := ints.Copy()
	gauge.CounterResetHint = histogram.GaugeType
	stale := &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}
	bad := ints.Copy()
	bad.Count = 99
	return []prompb.Histogram{
		prompb.FromIntHistogram(1000, ints), prompb.FromFloatHistogram(2000, ints.ToFloat(nil)),
		prompb.FromIntHistogram(3000, custom), prompb.FromFloatHistogram(4000, custom.ToFloat(nil)),
		prompb.FromIntHistogram(5000, gauge), prompb.FromIntHistogram(6000, stale), prompb.FromIntHistogram(7000, bad),
	}
}

func histogramsV2() []writev2.Histogram {
	out := []writev2.Histogram{}
	for i, h := range histogramsV1() {
		if h.IsFloatHistogram() {
			out = append(out, writev2.FromFloatHistogram(0, int64(1000*(i+1)), h.ToFloatHistogram()))
		} else {
			out = append(out, writev2.FromIntHistogram(0, int64(1000*(i+1)), h.ToIntHistogram()))
		}
	}
	return out
}

// seedsV1 are messages that reach every part of the walk.
func seedsV1(t testing.TB) [][]byte {
	w := writeV1(
		oneV1(1_700_000_000_000, 1.5, "__name__", "up", "job", "api"),
		oneV1(-1, math.Inf(1), "job", "b", "__name__", "unsorted"),
		oneV1(0, 0, "job", "no name"),
		oneV1(5, 5, "__name__", "twice", "a", "1", "a", "2"),
		oneV1(5, 5, "__name__", "empty value", "a", ""),
		oneV1(5, 5, "__name__", "bad\xff"),
		prompb.TimeSeries{
			Labels: pairsV1([]string{"__name__", "h"}), Histograms: histogramsV1(),
			Exemplars: []prompb.Exemplar{{Labels: pairsV1([]string{"trace_id", "x"}), Value: 1, Timestamp: 2}},
		},
		prompb.TimeSeries{},
	)
	w.Metadata = []prompb.MetricMetadata{{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "up", Help: "h", Unit: "u"}}
	b, err := w.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	// Labels on both sides of the sample, and a group that is skipped.
	scattered := []byte{0x0a, 0}
	scattered = append(scattered, 0x0a, 13, 0x0a, 8)
	scattered = append(scattered, "__name__"...)
	scattered = append(scattered, 0x12, 1, 'x', 0x12, 2, 0x10, 1, 0x0a, 6, 0x0a, 1, 'a', 0x12, 1, 'b', 0x2b, 0x08, 1, 0x2c)
	scattered[1] = byte(len(scattered) - 2)
	return [][]byte{b, scattered, {}, {0x0a, 0}, {0x0b, 0x0c}, {0x0a, 0x05, 0x12}}
}

func seedsV2(t testing.TB) [][]byte {
	b := newV2().
		sample(1_700_000_000_000, 1.5, "__name__", "up", "job", "api").
		sample(0, 0, "job", "no name").
		add([]string{"__name__", "h"}, func(s *writev2.TimeSeries) {
			s.Histograms = histogramsV2()
			s.Exemplars = []writev2.Exemplar{{LabelsRefs: []uint32{1, 2}, Value: 1, Timestamp: 2}, {LabelsRefs: []uint32{99, 2}}}
			s.Metadata = writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_HISTOGRAM, HelpRef: 1, UnitRef: 2}
		}).
		add([]string{"__name__", "far"}, func(s *writev2.TimeSeries) {
			s.LabelsRefs = append(s.LabelsRefs, 1000, 1)
			s.Samples = []writev2.Sample{{Value: 1, Timestamp: 2, StartTimestamp: 3}}
		})
	w, err := b.request().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	late := []byte{0x2a, 6, 0x0a, 2, 1, 2, 0x12, 0, 0x22, 0, 0x22, 8, '_', '_', 'n', 'a', 'm', 'e', '_', '_', 0x22, 1, 'x'}
	unpacked := append([]byte{0x2a, 9, 0x08, 1, 0x08, 0x82, 0, 0x12, 2, 0x10, 1}, late[len(late)-15:]...)
	endsInTag := append([]byte{0x2a, 5, 0x08, 1, 0x12, 0, 0x08}, late[len(late)-15:]...)
	return [][]byte{w, late, unpacked, endsInTag, {}, {0x22, 0}, {0x2a, 2, 0x08, 1}}
}

func TestDecodersAgreeWithTheGeneratedCode(t *testing.T) {
	for _, data := range seedsV1(t) {
		compare(t, V1, data)
		for i := range data { // each byte cut off, and each changed
			compare(t, V1, data[:i])
			changed := slices.Clone(data)
			changed[i] ^= 0x15
			compare(t, V1, changed)
		}
	}
	for _, data := range seedsV2(t) {
		compare(t, V2, data)
		for i := range data {
			compare(t, V2, data[:i])
			changed := slices.Clone(data)
			changed[i] ^= 0x15
			compare(t, V2, changed)
		}
	}
}

func FuzzDecodeV1(f *testing.F) {
	for _, data := range seedsV1(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { compare(t, V1, data) })
}

func FuzzDecodeV2(f *testing.F) {
	for _, data := range seedsV2(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { compare(t, V2, data) })
}
