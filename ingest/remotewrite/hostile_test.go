package remotewrite

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/homeostat/homeostat/engine"
)

// bomb is a Snappy block of n equal bytes, some 21 times smaller.
func bomb(n int) []byte { return s2.EncodeSnappy(nil, make([]byte, n)) }

// prefixed is a length-delimited field.
func prefixed(tag byte, b []byte) []byte {
	return append(binary.AppendUvarint([]byte{tag}, uint64(len(b))), b...)
}

func TestHostileRequests(t *testing.T) {
	name := prefixed(0x0a, append(prefixed(0x0a, []byte("__name__")), prefixed(0x12, []byte("up"))...))
	for _, c := range []struct {
		name    string
		body    []byte
		proto   Protocol
		status  int
		refusal Refusal
	}{
		{"a decompression bomb of 1 GiB", append(binary.AppendUvarint(nil, 1<<30), bomb(1<<20)...), V1, 413, RefusedDecodedSize},
		{"a header that claims 32 MiB of nothing", append(binary.AppendUvarint(nil, 32<<20), 0), V1, 400, RefusedSnappy},
		{"a bomb within the limit", bomb(32 << 20), V1, 400, RefusedMalformed},
		{"a body over the limit", make([]byte, 16<<20+1), V1, 413, RefusedCompressedSize},
		{"5,000,000 empty series", s2.EncodeSnappy(nil, bytes.Repeat([]byte{0x0a, 0}, 5_000_000)), V1, 400, RefusedSeriesLimit},
		{"5,000,000 empty series of 2.0", s2.EncodeSnappy(nil, append([]byte{0x22, 0}, bytes.Repeat([]byte{0x2a, 0}, 5_000_000)...)), V2, 400, RefusedSeriesLimit},
		{"16,000,000 empty symbols", s2.EncodeSnappy(nil, bytes.Repeat([]byte{0x22, 0}, 16_000_000)), V2, 413, RefusedSymbolLimit},
		{"16,000,000 empty samples", s2.EncodeSnappy(nil, prefixed(0x0a, append(name, bytes.Repeat([]byte{0x12, 0}, 16_000_000)...))), V1, 413, RefusedSampleLimit},
		{"16,000,000 empty histograms", s2.EncodeSnappy(nil, prefixed(0x0a, append(name, bytes.Repeat([]byte{0x22, 0}, 16_000_000)...))), V1, 413, RefusedSampleLimit},
		{"16,000,000 empty exemplars", s2.EncodeSnappy(nil, prefixed(0x0a, append(name, bytes.Repeat([]byte{0x1a, 0}, 16_000_000)...))), V1, 204, RefusedNone},
		{"16,000,000 empty metadata", s2.EncodeSnappy(nil, bytes.Repeat([]byte{0x1a, 0}, 16_000_000)), V1, 400, RefusedSeriesLimit},
		{"1,000,000 labels", packV1(t, writeV1(oneV1(1, 1, manyLabels(1_000_000)...))), V1, 400, RefusedNone},
		{"30,000,000 references", s2.EncodeSnappy(nil, append([]byte{0x22, 0}, prefixed(0x2a, prefixed(0x0a, make([]byte, 30_000_000)))...)), V2, 400, RefusedNone},
		{"a label of 16 MiB", packV1(t, writeV1(oneV1(1, 1, "__name__", "up", "a", strings.Repeat("x", 16<<20)))), V1, 400, RefusedNone},
		{"a label name of 16 MiB", packV1(t, writeV1(oneV1(1, 1, strings.Repeat("x", 16<<20), "a"))), V1, 400, RefusedNone},
		{"30,000,000 buckets in one histogram", s2.EncodeSnappy(nil, prefixed(0x0a, append(name, prefixed(0x22, prefixed(0x62, make([]byte, 30_000_000)))...))), V1, 400, RefusedNone},
		{"a span of 4,000,000,000 buckets", packV1(t, writeV1(prompb.TimeSeries{
			Labels:     pairsV1([]string{"__name__", "h"}),
			Histograms: []prompb.Histogram{{PositiveSpans: []prompb.BucketSpan{{Length: math.MaxUint32}}}},
		})), V1, 400, RefusedNone},
		{"500 histograms of 2,000 buckets", packV1(t, writeV1(wideHistograms(500, 2000))), V1, 413, RefusedBucketLimit},
		{"groups in groups", s2.EncodeSnappy(nil, bytes.Repeat([]byte{0x2b}, 30_000_000)), V1, 400, RefusedMalformed},
		{"bad UTF-8", packV1(t, writeV1(oneV1(1, 1, "__name__", "\xc3\x28"))), V1, 400, RefusedNone},
		{"no name", packV1(t, writeV1(oneV1(1, 1, "a", "b"))), V1, 400, RefusedNone},
		{"duplicate labels", packV1(t, writeV1(oneV1(1, 1, "__name__", "up", "__name__", "up"))), V1, 400, RefusedNone},
		{"times of all kinds", packV1(t, writeV1(oneV1(0, 1, "__name__", "a"), oneV1(math.MaxInt64, 1, "__name__", "b"),
			oneV1(math.MinInt64, 1, "__name__", "c"), oneV1(-1, 1, "__name__", "d"), oneV1(4e15, 1, "__name__", "e"))), V1, 204, RefusedNone},
		{"random bytes", randomBytes(1 << 20), V1, 400, RefusedSnappy},
		{"random bytes that are Snappy", s2.EncodeSnappy(nil, randomBytes(1<<20)), V2, 400, RefusedMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReceiver(t, Config{Replicas: Replicas{ReplicaLabel: "__replica__"}})
			header := typeV1Header
			if c.proto == V2 {
				header = typeV2Header
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := time.Now()
			w := r.post(c.body, "Content-Type", header)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if w.Code != c.status {
				t.Errorf("status %d, want %d: %.200s", w.Code, c.status, w.Body)
			}
			if c.refusal != RefusedNone && r.Stats().Refused[c.refusal] != 1 {
				t.Errorf("it is not counted as %v: %v", c.refusal, r.Stats().Refused)
			}
			// The race detector makes everything about ten times slower.
			if limit := time.Second * raceFactor; took > limit {
				t.Errorf("answered after %v, want %v at most", took, limit)
			}
			// What was allocated in all bounds the peak from above.
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 128<<20 {
				t.Errorf("%d MiB were allocated, want 128 at most", grown>>20)
			}
			if n := r.log.lines(); n > 1 || n == 1 && len(r.log.String()) > 2000 {
				t.Errorf("%d log lines in %d bytes, want one short one at most", n, len(r.log.String()))
			}
			if w.Body.Len() > 1000 {
				t.Errorf("an answer of %d bytes", w.Body.Len())
			}
			if n := r.Stats().InFlightBytes; n != 0 {
				t.Errorf("%d bytes are still held", n)
			}
			if w := r.postV1(t, writeV1(oneV1(1, 1, "__name__", "after"))); w.Code != 204 {
				t.Errorf("an ordinary request after it: status %d", w.Code)
			}
			r.balanced(t)
		})
	}
}

func manyLabels(n int) []string {
	pairs := []string{"__name__", "up"}
	for i := range n {
		pairs = append(pairs, fmt.Sprintf("a%07d", i), "b")
	}
	return pairs
}

func wideHistograms(n, buckets int) prompb.TimeSeries {
	s := prompb.TimeSeries{Labels: pairsV1([]string{"__name__", "h"})}
	deltas := make([]int64, buckets)
	deltas[0] = 1
	bounds := make([]float64, buckets)
	for i := range bounds {
		bounds[i] = float64(i)
	}
	for range n {
		s.Histograms = append(s.Histograms, prompb.Histogram{
			Schema: -53, CustomValues: bounds,
			Count:         &prompb.Histogram_CountInt{CountInt: uint64(buckets)},
			PositiveSpans: []prompb.BucketSpan{{Length: uint32(buckets)}}, PositiveDeltas: deltas,
		})
	}
	return s
}

func randomBytes(n int) []byte {
	g := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	b[0] |= 0x80 // a length in the header that cannot be true
	b[1] |= 0x80
	b[2] |= 0x80
	b[3] |= 0x80
	b[4] |= 0x80
	return b
}

func TestManyNewSeriesAreAnsweredInTime(t *testing.T) {
	r := newReceiver(t, Config{})
	w := &prompb.WriteRequest{}
	for i := range 50_000 {
		s := oneV1(1, 1, "__name__", "n", "i", fmt.Sprint(i))
		for k := range 10 {
			s.Labels = append(s.Labels, prompb.Label{Name: fmt.Sprintf("label_%d", k), Value: "some value of a label"})
		}
		w.Timeseries = append(w.Timeseries, s)
	}
	body := packV1(t, w)
	start := time.Now()
	if got := r.post(body); got.Code != 204 {
		t.Fatal(got.Code, got.Body)
	}
	if took := time.Since(start); took > time.Second*raceFactor {
		t.Errorf("50,000 new series took %v", took)
	}
	w.Timeseries = append(w.Timeseries, oneV1(1, 1, "__name__", "one more"))
	if got := r.postV1(t, w); got.Code != 400 || !strings.Contains(got.Body.String(), "50000") {
		t.Errorf("one series more than the limit: %d %s", got.Code, got.Body)
	}
}

func TestABodyOfUnknownLengthIsBounded(t *testing.T) {
	r := newReceiver(t, Config{Limits: Limits{CompressedBytes: 1 << 20}})
	for _, n := range []int{1<<20 + 1, 100 << 20} {
		body := &countingReader{r: bytes.NewReader(make([]byte, n))}
		req := httptest.NewRequest(http.MethodPost, "/", body)
		req.ContentLength = -1
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		if w.Code != 413 || body.n > 2<<20+1 {
			t.Errorf("%d bytes: status %d after %d were read", n, w.Code, body.n)
		}
	}
}

func TestBytesInFlightAreBounded(t *testing.T) {
	r := newReceiver(t, Config{InFlightBytes: 64 << 10})
	inside, leave := make(chan struct{}), make(chan struct{})
	submit := r.Handler.submit
	r.Handler.submit = func(ctx context.Context, b *engine.Batch) (engine.Receipt, error) {
		inside <- struct{}{}
		<-leave
		return submit(ctx, b)
	}
	body := packV1(t, writeV1(oneV1(1, 1, "__name__", "up", "a", strings.Repeat("x", 4000))))
	done := make(chan int)
	held := 0
	for range 100 {
		go func() { done <- r.post(body).Code }()
		select {
		case <-inside:
			held++
			continue
		case code := <-done:
			if code != 503 {
				t.Errorf("status %d, want 503", code)
			}
		}
		break
	}
	if held == 0 || held > 16 {
		t.Errorf("%d requests were let in", held)
	}
	close(leave)
	for range held {
		if code := <-done; code != 204 {
			t.Errorf("status %d, want 204", code)
		}
	}
	if s := r.Stats(); s.InFlightBytes != 0 || s.Refused[RefusedMemory] != 1 {
		t.Errorf("%d bytes in flight, %d refused for memory", s.InFlightBytes, s.Refused[RefusedMemory])
	}
}

func TestASlowClientIsGivenUp(t *testing.T) {
	r := newReceiver(t, Config{ReadTimeout: 30 * time.Millisecond})
	server := httptest.NewServer(r)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Encoding: snappy\r\nContent-Length: 1000\r\n\r\nab", typeV1Header)
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 408")) {
		t.Errorf("answer %.100q, want 408", answer)
	}
	if r.Stats().Refused[RefusedSlow] != 1 {
		t.Errorf("refusals %v", r.Stats().Refused)
	}
}

func TestALineOfLogAtMostAndNotTooMany(t *testing.T) {
	r := newReceiver(t, Config{LogsPerMinute: 5})
	for range 100 {
		r.postV1(t, writeV1(oneV1(1, 1, "a", "evil\n\x1b[31m"), oneV1(1, 1, "__name__", "x\n", "__name__", "y")))
	}
	if n := r.log.lines(); n > 6 {
		t.Errorf("%d log lines for 100 bad requests, want about 5", n)
	}
	if strings.Contains(r.log.String(), "\x1b") {
		t.Errorf("a control character reached the log: %q", r.log)
	}
	if n := r.Stats().LogsDropped; n < 94 {
		t.Errorf("%d lines were dropped, want at least 94", n)
	}
}

func TestRequestsAtTheSameTime(t *testing.T) {
	r := newReceiver(t, Config{CacheBytes: 1 << 20, CacheAge: time.Millisecond, MetadataNames: 100})
	done := make(chan struct{})
	const writers, rounds = 8, 30
	for k := range writers {
		go func() {
			defer func() { done <- struct{}{} }()
			fl := fleet(300 + 50*k)
			for i := range rounds {
				at := int64(1000*i + k)
				r.postV1(t, fleetV1(fl[:200], at))
				r.postV2(t, fleetV2(fl[100:], at))
				r.postV1(t, &prompb.WriteRequest{Metadata: []prompb.MetricMetadata{{Type: prompb.MetricMetadata_MetricType(1 + i%2), MetricFamilyName: "http_server_requests_in_flight_001"}}})
				r.postV2(t, &writev2.Request{Symbols: []string{"x"}})
			}
		}()
	}
	for range writers {
		<-done
	}
	want := 0
	for k := range writers {
		want += rounds * (200 + 200 + 50*k)
	}
	s := r.Stats()
	if got := s.Protocols[V1].Received + s.Protocols[V2].Received; got != uint64(want) {
		t.Errorf("%d samples received, want %d", got, want)
	}
	r.balanced(t)
}
