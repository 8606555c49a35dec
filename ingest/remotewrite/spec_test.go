package remotewrite

import (
	"bytes"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/homeostat/homeostat/engine"
)

// written3 is the three counts of a 2.0 answer, or "" when they are missing.
func written3(w *httptest.ResponseRecorder) string {
	var out []string
	for _, kind := range []string{"Samples", "Histograms", "Exemplars"} {
		if v, ok := w.Header()["X-Prometheus-Remote-Write-"+kind+"-Written"]; ok {
			out = append(out, v[0])
		}
	}
	return strings.Join(out, " ")
}

func TestHeadersAreLookedAtBeforeTheBody(t *testing.T) {
	for _, c := range []struct {
		name    string
		method  string
		headers []string
		status  int
	}{
		{"1.0 is application/x-protobuf", "POST", []string{"Content-Type", "application/x-protobuf"}, 204},
		{"1.0 may say its message", "POST", []string{"Content-Type", "application/x-protobuf;proto=prometheus.WriteRequest"}, 204},
		{"2.0 says its message", "POST", []string{"Content-Type", typeV2Header}, 204},
		{"2.0 may put a space after the semicolon", "POST", []string{"Content-Type", "application/x-protobuf; proto=io.prometheus.write.v2.Request"}, 204},
		{"a request without Content-Type is 1.0", "POST", []string{"Content-Type", ""}, 204},
		{"a request without Content-Encoding is Snappy", "POST", []string{"Content-Encoding", ""}, 204},
		{"Content-Encoding has no case", "POST", []string{"Content-Encoding", "Snappy"}, 204},
		{"an unknown message is unsupported", "POST", []string{"Content-Type", "application/x-protobuf;proto=io.prometheus.write.v3.Request"}, 415},
		{"JSON is unsupported", "POST", []string{"Content-Type", "application/json"}, 415},
		{"a Content-Type that can't be parsed is unsupported", "POST", []string{"Content-Type", "a/b;;;="}, 415},
		{"gzip is unsupported", "POST", []string{"Content-Encoding", "gzip"}, 415},
		{"zstd is unsupported", "POST", []string{"Content-Encoding", "zstd"}, 415},
		{"GET is no method of the endpoint", "GET", nil, 405},
		{"PUT is no method of the endpoint", "PUT", nil, 405},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReceiver(t, Config{})
			body := &countingReader{r: bytes.NewReader(s2.EncodeSnappy(nil, nil))}
			if c.status != 204 {
				body.r = bytes.NewReader([]byte("neither Snappy nor protobuf"))
			}
			req := httptest.NewRequest(c.method, "/api/v1/write", body)
			req.Header.Set("Content-Type", typeV1Header)
			req.Header.Set("Content-Encoding", "snappy")
			for i := 0; i < len(c.headers); i += 2 {
				req.Header.Set(c.headers[i], c.headers[i+1])
			}
			w := httptest.NewRecorder()
			r.ServeHTTP(w, req)
			if w.Code != c.status {
				t.Errorf("status %d, want %d: %s", w.Code, c.status, w.Body)
			}
			if c.status != 204 && body.n > 0 {
				t.Errorf("%d bytes of the body were read", body.n)
			}
			if c.status == 405 && w.Header().Get("Allow") != "POST" {
				t.Errorf("Allow is %q, want POST", w.Header().Get("Allow"))
			}
		})
	}
}

type countingReader struct {
	r *bytes.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

func TestSpecification1(t *testing.T) {
	for _, c := range []struct {
		name   string
		write  *prompb.WriteRequest
		status int
		says   string
		taken  string
	}{
		{"a sample is taken with its labels, value and time", writeV1(oneV1(1500, 2.5, "__name__", "up", "job", "a")), 204, "", "{__name__=\"up\", job=\"a\"} 2.5 @1500\n"},
		{"several samples of a series keep their order", writeV1(prompb.TimeSeries{Labels: pairsV1([]string{"__name__", "up"}), Samples: []prompb.Sample{{Value: 1, Timestamp: 1}, {Value: 2, Timestamp: 2}}}), 204, "", "{__name__=\"up\"} 1 @1\n{__name__=\"up\"} 2 @2\n"},
		{"labels out of order are sorted", writeV1(oneV1(1, 1, "job", "a", "__name__", "up")), 204, "", "{__name__=\"up\", job=\"a\"} 1 @1\n"},
		{"an empty label value is as good as absent", writeV1(oneV1(1, 1, "__name__", "up", "job", "")), 204, "", "{__name__=\"up\"} 1 @1\n"},
		{"names and values may be any UTF-8", writeV1(oneV1(1, 1, "__name__", "température moyenne", "a b", "1\n2")), 204, "", "{__name__=\"température moyenne\", \"a b\"=\"1\\n2\"} 1 @1\n"},
		{"a stale marker passes through", writeV1(oneV1(1, math.Float64frombits(value.StaleNaN), "__name__", "up")), 204, "", "{__name__=\"up\"} NaN @1\n"},
		{"infinities pass through to the engine", writeV1(oneV1(1, math.Inf(-1), "__name__", "up")), 204, "", "{__name__=\"up\"} -Inf @1\n"},
		{"metadata alone are taken", &prompb.WriteRequest{Metadata: []prompb.MetricMetadata{{Type: 1, MetricFamilyName: "up"}}}, 204, "", ""},
		{"an empty request is taken", &prompb.WriteRequest{}, 204, "", ""},
		{"an exemplar without samples is taken", writeV1(prompb.TimeSeries{Labels: pairsV1([]string{"__name__", "up"}), Exemplars: []prompb.Exemplar{{Value: 1}}}), 204, "", ""},
		{"a series without a name is refused and the rest is taken", writeV1(oneV1(1, 1, "job", "a"), oneV1(1, 1, "__name__", "up")), 400, "1 of 2 samples not written: 1 no_name in 1 series; first: a series has no metric name", "{__name__=\"up\"} 1 @1\n"},
		{"a series without labels is refused", writeV1(oneV1(1, 1)), 400, "no_name", ""},
		{"a duplicate label is refused", writeV1(oneV1(1, 1, "__name__", "up", "a", "1", "a", "2")), 400, `duplicate_label in 1 series; first: label "a" is there twice`, ""},
		{"a label without a name is refused", writeV1(oneV1(1, 1, "", "x", "__name__", "up")), 400, "empty_label_name", ""},
		{"a name that is not UTF-8 is refused", writeV1(oneV1(1, 1, "__name__", "up", "a\xff", "b")), 400, `bad_utf8 in 1 series; first: label "a\xff"="b" is not UTF-8`, ""},
		{"a value that is not UTF-8 is refused", writeV1(oneV1(1, 1, "__name__", "\x1b[2J\xff\n")), 400, `"\x1b[2J\xff\n"`, ""},
		{"a long label value is refused", writeV1(oneV1(1, 1, "__name__", "up", "a", strings.Repeat("x", 4097))), 400, "value_limit in 1 series; first: the value of label \"a\" has 4097 bytes, the limit is 4096", ""},
		{"the longest label value is taken", writeV1(oneV1(1, 1, "__name__", "u", "a", strings.Repeat("x", 4096))), 204, "", "*"},
		{"a long label name is refused", writeV1(oneV1(1, 1, "__name__", "up", strings.Repeat("x", 513), "a")), 400, "name_limit", ""},
		{"a long metric name is refused", writeV1(oneV1(1, 1, "__name__", strings.Repeat("x", 513))), 400, "name_limit", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReceiver(t, Config{})
			w := r.postV1(t, c.write)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
				t.Errorf("status %d %q, want %d …%s…", w.Code, w.Body, c.status, c.says)
			}
			if strings.Count(w.Body.String(), "\n") > 1 || w.Body.Len() > 1000 {
				t.Errorf("the answer is not one short line: %q", w.Body)
			}
			if got := r.taker.text(); got != c.taken && c.taken != "*" {
				t.Errorf("taken\n%swant\n%s", got, c.taken)
			}
			if written3(w) != "" {
				t.Errorf("a 1.0 answer carries the headers of 2.0: %v", w.Header())
			}
			if n := r.log.lines(); c.status == 204 && n != 0 || n > 1 {
				t.Errorf("%d log lines: %s", n, r.log)
			}
			r.balanced(t)
		})
	}
}

func TestSpecification2(t *testing.T) {
	one := func() *builderV2 { return newV2().sample(1500, 2.5, "__name__", "up", "job", "a") }
	exemplars := func(s *writev2.TimeSeries) {
		s.Samples = []writev2.Sample{{Value: 1, Timestamp: 1}}
		s.Exemplars = []writev2.Exemplar{{LabelsRefs: []uint32{1, 2}}, {LabelsRefs: []uint32{1, 2}, Value: 3}}
	}
	for _, c := range []struct {
		name    string
		write   *writev2.Request
		status  int
		says    string
		written string
		taken   string
	}{
		{"a sample is taken with its labels, value and time", one().request(), 204, "", "1 0 0", "{__name__=\"up\", job=\"a\"} 2.5 @1500\n"},
		{"labels out of order are sorted", newV2().sample(1, 1, "job", "a", "__name__", "up").request(), 204, "", "1 0 0", "{__name__=\"up\", job=\"a\"} 1 @1\n"},
		{"exemplars are counted", newV2().add([]string{"__name__", "up"}, exemplars).request(), 204, "", "1 0 2", "{__name__=\"up\"} 1 @1\n"},
		{"an exemplar without samples is taken", newV2().add([]string{"__name__", "up"}, func(s *writev2.TimeSeries) { s.Exemplars = []writev2.Exemplar{{Value: 1}} }).request(), 204, "", "0 0 1", ""},
		{"metadata without samples are taken", newV2().add([]string{"__name__", "up"}, func(s *writev2.TimeSeries) { s.Metadata.Type = 1 }).request(), 204, "", "0 0 0", ""},
		{"a start time is taken", newV2().add([]string{"__name__", "up"}, func(s *writev2.TimeSeries) {
			s.Samples = []writev2.Sample{{Value: 1, Timestamp: 2, StartTimestamp: 1}}
		}).request(), 204, "", "1 0 0", "{__name__=\"up\"} 1 @2\n"},
		{"histograms are counted apart", newV2().add([]string{"__name__", "h"}, func(s *writev2.TimeSeries) { s.Histograms = histogramsV2()[:6] }).request(), 204, "", "0 6 0", "*"},
		{"a histogram whose buckets do not add up is refused", newV2().add([]string{"__name__", "h"}, func(s *writev2.TimeSeries) { s.Histograms = histogramsV2() }).request(), 400, "1 of 7 samples not written: 1 histogram; first: a histogram was malformed: the buckets do not add up to the count", "0 6 0", "*"},
		{"an empty request is taken", &writev2.Request{Symbols: []string{""}}, 204, "", "0 0 0", ""},
		{"a series with nothing is refused", newV2().add([]string{"__name__", "up"}, func(*writev2.TimeSeries) {}).request(), 204, "", "0 0 0", ""},
		{"the first symbol must be empty", &writev2.Request{Symbols: []string{"__name__", "up"}, Timeseries: []writev2.TimeSeries{{LabelsRefs: []uint32{0, 1}, Samples: []writev2.Sample{{Value: 1}}}}}, 400, `the symbols do not begin with ""`, "0 0 0", ""},
		{"symbols must not be missing", &writev2.Request{Timeseries: []writev2.TimeSeries{{Samples: []writev2.Sample{{Value: 1}}}}}, 400, "symbols", "0 0 0", ""},
		{"a reference beyond the symbols is refused and the rest is taken", one().add([]string{"__name__", "x"}, func(s *writev2.TimeSeries) {
			s.LabelsRefs[1] = 77
			s.Samples = []writev2.Sample{{Value: 1}, {Value: 2}}
		}).request(), 400, "2 of 3 samples not written: 2 bad_reference in 1 series", "1 0 0", "{__name__=\"up\", job=\"a\"} 2.5 @1500\n"},
		{"references come in pairs", newV2().add([]string{"__name__", "x", "y"}, exemplars).request(), 400, "bad_reference", "0 0 0", ""},
		{"help beyond the symbols is refused", newV2().add([]string{"__name__", "x"}, func(s *writev2.TimeSeries) {
			s.Samples = []writev2.Sample{{Value: 1}}
			s.Metadata.HelpRef = 99
		}).request(), 400, "bad_reference", "0 0 0", ""},
		{"an exemplar's reference beyond the symbols is refused", newV2().add([]string{"__name__", "x"}, func(s *writev2.TimeSeries) {
			s.Samples = []writev2.Sample{{Value: 1, Timestamp: 1}}
			s.Exemplars = []writev2.Exemplar{{LabelsRefs: []uint32{1, 99}}, {}}
		}).request(), 400, "1 exemplars too", "1 0 1", "{__name__=\"x\"} 1 @1\n"},
		{"a series without a name is refused with its exemplars", one().add([]string{"job", "a"}, exemplars).request(), 400, "1 of 2 samples not written: 1 no_name in 1 series", "1 0 0", "{__name__=\"up\", job=\"a\"} 2.5 @1500\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReceiver(t, Config{})
			w := r.postV2(t, c.write)
			if c.name == "a series with nothing is refused" {
				// The generated code writes empty metadata with every series; on
				// the wire the field has to be left out by hand.
				c.status, c.says = 400, "empty_series in 1 series"
				w = r.post(s2.EncodeSnappy(nil, []byte{0x22, 0, 0x22, 8, '_', '_', 'n', 'a', 'm', 'e', '_', '_', 0x22, 1, 'x', 0x2a, 4, 0x0a, 2, 1, 2}), "Content-Type", typeV2Header)
			}
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
				t.Errorf("status %d %q, want %d …%s…", w.Code, w.Body, c.status, c.says)
			}
			if got := written3(w); got != c.written {
				t.Errorf("written %q, want %q", got, c.written)
			}
			if got := r.taker.text(); got != c.taken && c.taken != "*" {
				t.Errorf("taken\n%swant\n%s", got, c.taken)
			}
			r.balanced(t)
		})
	}
}

func TestWhatTheEngineRefusesIsAnsweredAndCounted(t *testing.T) {
	for _, c := range []struct {
		reason engine.Reason
		status int
		says   string
	}{
		{engine.ReasonFirst, 204, ""},
		{engine.ReasonRepeat, 204, ""},
		{engine.ReasonNotFinite, 204, ""},
		{engine.ReasonDuplicate, 400, "1 of 2 samples not written: 1 duplicate"},
		{engine.ReasonOutOfOrder, 400, "1 out_of_order"},
		{engine.ReasonTooNew, 400, "1 too_new"},
		{engine.ReasonSeriesLimit, 400, "1 series_limit"},
	} {
		r := newReceiver(t, Config{})
		r.taker.reason = func(s engine.Sample) engine.Reason {
			if s.At == 2 {
				return c.reason
			}
			return engine.ReasonNone
		}
		w := r.postV2(t, newV2().sample(1, 1, "__name__", "up").sample(2, 2, "__name__", "up").request())
		written := "1 0 0"
		if c.status == 204 {
			written = "2 0 0" // absorbed is written
		}
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) || written3(w) != written {
			t.Errorf("%v: status %d %q, written %s, want %d …%s…, %s", c.reason, w.Code, w.Body, written3(w), c.status, c.says, written)
		}
		n := r.Stats().Protocols[V2]
		if n.Reasons[c.reason] != 1 || n.Scored != 1 || n.Received != 2 {
			t.Errorf("%v: counts %+v", c.reason, n)
		}
		r.balanced(t)
	}
}

func TestAFullQueueAndAStoppedLoopAreAnswered503(t *testing.T) {
	for _, err := range []error{errBusy, errors.New("stopped")} {
		r := newReceiver(t, Config{RetryAfter: 1500e6})
		r.taker.err = err
		for _, w := range []*httptest.ResponseRecorder{
			r.postV1(t, writeV1(oneV1(1, 1, "__name__", "up"), oneV1(1, 1, "no", "name"))),
			r.postV2(t, newV2().sample(1, 1, "__name__", "up").request()),
		} {
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "2" {
				t.Errorf("%v: status %d, Retry-After %q, want 503 and 2", err, w.Code, w.Header().Get("Retry-After"))
			}
		}
		s := r.Stats()
		if s.Protocols[V1].Received != 0 || s.Protocols[V1].Deferred != 2 || s.Protocols[V2].Deferred != 1 {
			t.Errorf("%v: counts %+v, want nothing received and three put off", err, s.Protocols)
		}
		r.taker.err = nil
		if w := r.postV2(t, newV2().sample(1, 1, "__name__", "up").request()); w.Code != 204 || written3(w) != "1 0 0" {
			t.Errorf("the same again: %d %s", w.Code, written3(w))
		}
		if n := r.log.lines(); n != 0 {
			t.Errorf("%d log lines, want none: %s", n, r.log)
		}
		r.balanced(t)
	}
}

func TestWhoSends(t *testing.T) {
	r := newReceiver(t, Config{SenderHeader: "X-Scope-OrgID"})
	send := func(change func(*http.Request)) string {
		req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(packV1(t, writeV1(oneV1(1, 1, "__name__", "up")))))
		req.RemoteAddr = "[2001:db8::1]:4711"
		change(req)
		r.ServeHTTP(httptest.NewRecorder(), req)
		return r.taker.senders[len(r.taker.senders)-1]
	}
	if got := send(func(*http.Request) {}); got != "2001:db8::1" {
		t.Errorf("by address: %q", got)
	}
	user := func(q *http.Request) { q.SetBasicAuth("prom-a", "x") }
	if got := send(user); got != "prom-a" {
		t.Errorf("by user: %q", got)
	}
	if got := send(func(q *http.Request) { user(q); q.Header.Set("X-Scope-OrgID", "shop\x1b[31m") }); got != "shop_[31m" {
		t.Errorf("by header: %q", got)
	}
	if got := send(func(q *http.Request) { q.Header.Set("X-Scope-OrgID", strings.Repeat("é", 1000)) }); len(got) > 128 {
		t.Errorf("a name of %d bytes", len(got))
	}
}

func TestDeclaredTypesReachTheSeries(t *testing.T) {
	r := newReceiver(t, Config{MetadataNames: 4})
	types := func() map[string]engine.Type {
		out := map[string]engine.Type{}
		for _, s := range r.taker.samples {
			out[s.Series.Labels.Get(labels.MetricName)] = s.Series.Type
		}
		return out
	}
	write := writeV1(oneV1(1, 1, "__name__", "jobs_done"), oneV1(1, 1, "__name__", "lat_bucket", "le", "1"),
		oneV1(1, 1, "__name__", "lat_created"), oneV1(1, 1, "__name__", "om_total"), oneV1(1, 1, "__name__", "load"))
	r.postV1(t, write)
	if got := types(); got["jobs_done"] != engine.TypeUnknown {
		t.Errorf("before metadata: %v", got)
	}
	r.postV1(t, &prompb.WriteRequest{Metadata: []prompb.MetricMetadata{
		{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "jobs_done"},
		{Type: prompb.MetricMetadata_HISTOGRAM, MetricFamilyName: "lat"},
		{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "om"},
		{Type: prompb.MetricMetadata_GAUGE, MetricFamilyName: "load"},
		{Type: prompb.MetricMetadata_GAUGE, MetricFamilyName: "beyond the bound"},
	}})
	r.postV1(t, write)
	got := types()
	for name, want := range map[string]engine.Type{
		"jobs_done": engine.TypeCounter, "lat_bucket": engine.TypeHistogram, "lat_created": engine.TypeGauge,
		"om_total": engine.TypeCounter, "load": engine.TypeGauge,
	} {
		if got[name] != want {
			t.Errorf("%s is of type %d, want %d", name, got[name], want)
		}
	}
	if s := r.Stats(); s.DeclaredNames != 4 || s.DroppedNames != 1 {
		t.Errorf("%d names kept and %d dropped, want 4 and 1", s.DeclaredNames, s.DroppedNames)
	}
	v2 := func(typ writev2.Metadata_MetricType) engine.Type {
		r.postV2(t, newV2().add([]string{"__name__", "v2"}, func(s *writev2.TimeSeries) {
			s.Samples = []writev2.Sample{{Value: 1, Timestamp: 1}}
			s.Metadata.Type = typ
		}).request())
		return r.taker.samples[len(r.taker.samples)-1].Series.Type
	}
	for _, step := range []struct {
		says writev2.Metadata_MetricType
		want engine.Type
	}{
		{writev2.Metadata_METRIC_TYPE_UNSPECIFIED, engine.TypeUnknown},
		{writev2.Metadata_METRIC_TYPE_COUNTER, engine.TypeCounter},
		{writev2.Metadata_METRIC_TYPE_UNSPECIFIED, engine.TypeCounter}, // silence takes nothing back
		{writev2.Metadata_METRIC_TYPE_SUMMARY, engine.TypeSummary},
		{writev2.Metadata_METRIC_TYPE_GAUGEHISTOGRAM, engine.TypeGauge},
	} {
		if got := v2(step.says); got != step.want {
			t.Errorf("after %v the type is %d, want %d", step.says, got, step.want)
		}
	}
}

func TestOwnOutputIsAbsorbed(t *testing.T) {
	r := newReceiver(t, Config{})
	for range 2 { // unknown, then known
		w := r.postV2(t, newV2().sample(1, 1, "__name__", "homeostat_score_x").sample(1, 1, "__name__", "up").request())
		if w.Code != 204 || written3(w) != "2 0 0" {
			t.Errorf("status %d, written %s: %s", w.Code, written3(w), w.Body)
		}
	}
	if n := r.Stats().Protocols[V2]; n.Reasons[engine.ReasonOwnOutput] != 2 || n.Scored != 2 {
		t.Errorf("counts %+v", n)
	}
	if strings.Contains(r.taker.text(), "homeostat_score_") {
		t.Errorf("own output reached the engine:\n%s", r.taker.text())
	}
	r.balanced(t)
}
