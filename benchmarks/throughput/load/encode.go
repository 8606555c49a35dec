package load

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
	"google.golang.org/protobuf/encoding/protowire"
)

// Protocol is a version of remote write.
type Protocol string

// The protocols.
const (
	V1 Protocol = "v1" // remote write 1.0, prometheus.WriteRequest
	V2 Protocol = "v2" // remote write 2.0, io.prometheus.write.v2.Request
)

// Headers are what a request of the protocol is sent with.
func (p Protocol) Headers() map[string]string {
	h := map[string]string{
		"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
		"X-Prometheus-Remote-Write-Version": "0.1.0", "User-Agent": "homeostat-throughput",
	}
	if p == V2 {
		h["Content-Type"] += ";proto=io.prometheus.write.v2.Request"
		h["X-Prometheus-Remote-Write-Version"] = "2.0.0"
	}
	return h
}

// Template is one request, encoded once. What changes from round to round is
// written over it: eight bytes of value and six of time in each series.
type Template struct {
	First, Count int // the series in it
	raw          []byte
	samples      []int // where each series' sample begins
}

// Size is the length of the request before compression.
func (t *Template) Size() int { return len(t.raw) }

// sampleBytes is the length of a sample {double value = 1; int64 timestamp = 2}
// whose time is between 1971 and 2109: both protocols write the same bytes.
const sampleBytes = 16

// NewTemplate encodes series first to first+count of the fleet.
func NewTemplate(f *Fleet, p Protocol, first, count int) (*Template, error) {
	t := &Template{First: first, Count: count, samples: make([]int, 0, count)}
	switch p {
	case V1:
		t.encodeV1(f)
	case V2:
		t.encodeV2(f)
	default:
		return nil, fmt.Errorf("protocol %q: want %s or %s", p, V1, V2)
	}
	return t, nil
}

// encodeV1 writes WriteRequest { repeated TimeSeries timeseries = 1 } with
// TimeSeries { repeated Label labels = 1; repeated Sample samples = 2 }.
func (t *Template) encodeV1(f *Fleet) {
	var ls []Label
	var series, label []byte
	for i := t.First; i < t.First+t.Count; i++ {
		ls, series = f.Labels(i, ls[:0]), series[:0]
		for _, l := range ls {
			label = appendText(label[:0], 1, l.Name)
			label = appendText(label, 2, l.Value)
			series = appendMessage(series, 1, label)
		}
		series = appendBlankSample(series, 2)
		t.raw = appendMessage(t.raw, 1, series)
		t.samples = append(t.samples, len(t.raw)-sampleBytes)
	}
}

// encodeV2 writes Request { repeated string symbols = 4; repeated TimeSeries
// timeseries = 5 } with TimeSeries { repeated uint32 labels_refs = 1; repeated
// Sample samples = 2; Metadata metadata = 5 } and Metadata { MetricType type = 1 }.
func (t *Template) encodeV2(f *Fleet) {
	symbols := []string{""}
	place := map[string]uint64{"": 0}
	symbol := func(s string) uint64 {
		at, known := place[s]
		if !known {
			at = uint64(len(symbols))
			place[s] = at
			symbols = append(symbols, s)
		}
		return at
	}
	var ls []Label
	var all, series, refs []byte
	for i := t.First; i < t.First+t.Count; i++ {
		ls, series, refs = f.Labels(i, ls[:0]), series[:0], refs[:0]
		for _, l := range ls {
			refs = protowire.AppendVarint(refs, symbol(l.Name))
			refs = protowire.AppendVarint(refs, symbol(l.Value))
		}
		series = appendMessage(series, 1, refs)
		series = appendBlankSample(series, 2)
		sampleEnd := len(series)
		series = appendMessage(series, 5, protowire.AppendVarint([]byte{1 << 3}, typeV2[f.Kind(i)]))
		all = appendMessage(all, 5, series)
		t.samples = append(t.samples, len(all)-(len(series)-sampleEnd)-sampleBytes)
	}
	for _, s := range symbols {
		t.raw = appendText(t.raw, 4, s)
	}
	for i := range t.samples {
		t.samples[i] += len(t.raw)
	}
	t.raw = append(t.raw, all...)
}

// typeV2 are the metric types of io.prometheus.write.v2.Metadata.
var typeV2 = [...]uint64{Gauge: 2, Counter: 1, Bucket: 3}

func appendText(to []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(to, field, protowire.BytesType), s)
}

func appendMessage(to []byte, field protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(to, field, protowire.BytesType), m)
}

// appendBlankSample leaves room for a sample; put fills it.
func appendBlankSample(to []byte, field protowire.Number) []byte {
	return appendMessage(to, field, make([]byte, sampleBytes))
}

// put writes a sample over m. A zero value is written out, which every decoder
// takes: the length of a request never changes.
func put(m []byte, at int64, v float64) {
	m[0] = 1<<3 | byte(protowire.Fixed64Type)
	binary.LittleEndian.PutUint64(m[1:], math.Float64bits(v))
	m[9] = 2<<3 | byte(protowire.VarintType)
	for i := range 5 {
		m[10+i] = byte(at>>(7*i)) | 0x80
	}
	m[15] = byte(at >> 35 & 0x7f)
}

// Encode is the compressed request with these values, by series of the whole
// fleet, at a time in milliseconds between 1971 and 2109. It may not be called
// for one template from two goroutines at a time.
func (t *Template) Encode(at int64, values []float64) []byte {
	for k, place := range t.samples {
		put(t.raw[place:], at, values[t.First+k])
	}
	scratch := scratches.Get().(*[]byte)
	defer scratches.Put(scratch)
	*scratch = slices.Grow((*scratch)[:0], s2.MaxEncodedLen(len(t.raw)))
	compressed := s2.EncodeSnappy((*scratch)[:cap(*scratch)], t.raw)
	return append(make([]byte, 0, len(compressed)), compressed...)
}

// scratches hold room for the worst case of compression, which is above the raw
// length: what is kept is copied, so that requests for minutes fit in memory.
var scratches = sync.Pool{New: func() any { return new([]byte) }}
