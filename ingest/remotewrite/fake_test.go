package remotewrite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/homeostat/homeostat/engine"
)

const (
	typeV1Header = "application/x-protobuf"
	typeV2Header = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
)

var errBusy = errors.New("busy")

// taker stands for the loop: it keeps what it is given and answers as told.
type taker struct {
	t       testing.TB
	mu      sync.Mutex
	err     error
	reason  func(engine.Sample) engine.Reason // ReasonNone by default
	samples []engine.Sample
	shapes  []engine.HistogramSample
	senders []string
}

func (k *taker) submit(_ context.Context, b *engine.Batch) (engine.Receipt, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return engine.Receipt{}, k.err
	}
	k.senders = append(k.senders, b.Sender)
	r := engine.Receipt{Received: len(b.Samples) + len(b.Histograms)}
	for _, s := range b.Samples {
		if s.Series == nil || s.Partition != s.Series.Partition || s.Partition != s.Series.Workload.Partition() {
			k.t.Errorf("sample %+v carries a partition that is not its series'", s)
		}
		why := engine.ReasonNone
		if k.reason != nil {
			why = k.reason(s)
		}
		if why == engine.ReasonNone {
			r.Scored++
		} else {
			r.Reasons[why]++
		}
		k.samples = append(k.samples, s)
	}
	for _, h := range b.Histograms {
		if h.Series == nil {
			k.t.Errorf("histogram at %d has no series", h.At)
		}
		r.Reasons[engine.ReasonBucket]++
		k.shapes = append(k.shapes, h)
	}
	return r, nil
}

// text lists what was taken, one sample or histogram a line.
func (k *taker) text() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var b strings.Builder
	for _, s := range k.samples {
		fmt.Fprintf(&b, "%s %v @%d\n", s.Series.Labels, s.Value, s.At)
	}
	for _, h := range k.shapes {
		fmt.Fprintf(&b, "%s count %v sum %v %v @%d\n", h.Series.Labels, h.Count, h.Sum, h.Buckets, h.At)
	}
	return b.String()
}

// receiver is a handler with its taker and its log.
type receiver struct {
	*Handler
	taker *taker
	log   *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) lines() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.b.Bytes(), []byte("\n"))
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newReceiver(t testing.TB, cfg Config) *receiver {
	t.Helper()
	r := &receiver{taker: &taker{t: t}, log: &lockedBuffer{}}
	cfg.Logger = slog.New(slog.NewTextHandler(r.log, nil))
	cfg.Busy = func(err error) bool { return errors.Is(err, errBusy) }
	h, err := New(cfg, engine.Naming{}, r.taker.submit)
	if err != nil {
		t.Fatal(err)
	}
	r.Handler = h
	return r
}

// post sends a body that is compressed already.
func (r *receiver) post(body []byte, headers ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, "/api/v1/write", bytes.NewReader(body))
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("Content-Type", typeV1Header)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w
}

func (r *receiver) postV1(t testing.TB, w *prompb.WriteRequest, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	return r.post(packV1(t, w), headers...)
}

func (r *receiver) postV2(t testing.TB, w *writev2.Request, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	return r.post(packV2(t, w), append([]string{"Content-Type", typeV2Header}, headers...)...)
}

// balanced fails the test when a counter is off.
func (r *receiver) balanced(t testing.TB) {
	t.Helper()
	for p, c := range r.Stats().Protocols {
		if !c.Balanced() {
			t.Errorf("%v: received %d, scored %d, absorbed %d, refused %d do not add up", Protocol(p), c.Received, c.Scored, c.Absorbed(), c.Refused())
		}
	}
}

func packV1(t testing.TB, w *prompb.WriteRequest) []byte {
	t.Helper()
	b, err := w.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return s2.EncodeSnappy(nil, b)
}

func packV2(t testing.TB, w *writev2.Request) []byte {
	t.Helper()
	b, err := w.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return s2.EncodeSnappy(nil, b)
}

// oneV1 is a series of 1.0 with one sample: name, value, names and values.
func oneV1(at int64, v float64, pairs ...string) prompb.TimeSeries {
	return prompb.TimeSeries{Labels: pairsV1(pairs), Samples: []prompb.Sample{{Value: v, Timestamp: at}}}
}

func pairsV1(pairs []string) []prompb.Label {
	ls := []prompb.Label{}
	for i := 0; i < len(pairs); i += 2 {
		ls = append(ls, prompb.Label{Name: pairs[i], Value: pairs[i+1]})
	}
	return ls
}

func writeV1(series ...prompb.TimeSeries) *prompb.WriteRequest {
	return &prompb.WriteRequest{Timeseries: series}
}

// builderV2 collects a 2.0 request.
type builderV2 struct {
	symbols writev2.SymbolsTable
	series  []writev2.TimeSeries
}

func newV2() *builderV2 { return &builderV2{symbols: writev2.NewSymbolTable()} }

func (b *builderV2) add(pairs []string, more func(*writev2.TimeSeries)) *builderV2 {
	s := writev2.TimeSeries{}
	for _, p := range pairs {
		s.LabelsRefs = append(s.LabelsRefs, b.symbols.Symbolize(p))
	}
	more(&s)
	b.series = append(b.series, s)
	return b
}

func (b *builderV2) sample(at int64, v float64, pairs ...string) *builderV2 {
	return b.add(pairs, func(s *writev2.TimeSeries) { s.Samples = []writev2.Sample{{Value: v, Timestamp: at}} })
}

func (b *builderV2) request() *writev2.Request {
	return &writev2.Request{Symbols: b.symbols.Symbols(), Timeseries: b.series}
}

// fleet is n label sets of the shape that the performance figures speak of: ten
// labels, some 330 bytes.
func fleet(n int) []labels.Labels {
	out := make([]labels.Labels, n)
	for i := range out {
		out[i] = labels.FromStrings(
			"__name__", fmt.Sprintf("http_server_requests_in_flight_%03d", i%97),
			"cluster", "production-eu-central-1",
			"container", fmt.Sprintf("application-server-%02d", i%13),
			"endpoint", "http-metrics",
			"instance", fmt.Sprintf("10.%d.%d.%d:9100", i>>16&255, i>>8&255, i&255),
			"job", "kubernetes-pods",
			"namespace", fmt.Sprintf("team-namespace-%03d", i%31),
			"node", fmt.Sprintf("ip-10-0-%d-%d.eu-central-1.compute.internal", i%7, i%61),
			"pod", fmt.Sprintf("application-server-%02d-7d9f8b6c5d-%05d", i%13, i),
			"service", fmt.Sprintf("application-server-%02d", i%13),
		)
	}
	return out
}

func fleetV1(fleet []labels.Labels, at int64) *prompb.WriteRequest {
	w := &prompb.WriteRequest{}
	for i, ls := range fleet {
		w.Timeseries = append(w.Timeseries, prompb.TimeSeries{
			Labels:  prompb.FromLabels(ls, nil),
			Samples: []prompb.Sample{{Value: math.Sqrt(float64(i)), Timestamp: at}},
		})
	}
	return w
}

func fleetV2(fleet []labels.Labels, at int64) *writev2.Request {
	symbols := writev2.NewSymbolTable()
	w := &writev2.Request{}
	for i, ls := range fleet {
		w.Timeseries = append(w.Timeseries, writev2.TimeSeries{
			LabelsRefs: symbols.SymbolizeLabels(ls, nil),
			Samples:    []writev2.Sample{{Value: math.Sqrt(float64(i)), Timestamp: at}},
		})
	}
	w.Symbols = symbols.Symbols()
	return w
}
