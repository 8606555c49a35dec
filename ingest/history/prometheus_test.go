package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/homeostat/homeostat/engine"
)

// upstream answers as the API of a Prometheus is documented to: range selectors
// over series that it makes up, one sample every 15 s.
type upstream struct {
	t       *testing.T
	mu      sync.Mutex
	series  []map[string]string
	most    int // samples in one answer; beyond it "too many samples"
	down    int // how many requests to answer by 502 first
	closed  bool
	queries []string
	spans   []int64
	auth    []string
}

const step = 15_000

var rangeSelector = regexp.MustCompile(`^(.+)\[(\d+)ms\]$`)

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	user, _, _ := r.BasicAuth()
	u.auth = append(u.auth, user)
	if u.down > 0 {
		u.down--
		http.Error(w, "<html>bad gateway</html>", http.StatusBadGateway)
		return
	}
	if strings.HasSuffix(r.URL.Path, "/api/v1/metadata") {
		fmt.Fprint(w, `{"status":"success","data":{"http_requests":[{"type":"counter","help":"","unit":""}],"load":[{"type":"gauge","help":"","unit":""}]}}`)
		return
	}
	if r.URL.Path != "/prom/api/v1/query" || r.Method != http.MethodPost {
		u.t.Errorf("unexpected %s %s", r.Method, r.URL)
	}
	query := r.FormValue("query")
	u.queries = append(u.queries, query)
	m := rangeSelector.FindStringSubmatch(query)
	if m == nil {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": parse error"}`)
		return
	}
	span, _ := strconv.ParseInt(m[2], 10, 64)
	u.spans = append(u.spans, span)
	seconds, _ := strconv.ParseFloat(r.FormValue("time"), 64)
	to := int64(seconds*1000 + 0.5)
	from := to - span
	first := (from + step - 1) / step * step
	if !u.closed && first == from {
		first += step
	}
	n := 0
	result := []any{}
	for i, metric := range u.series {
		var values []any
		for at := first; at <= to; at += step {
			values = append(values, []any{float64(at) / 1000, strconv.Itoa(i*1000 + int(at/step)%1000)})
			n++
		}
		if values != nil {
			result = append(result, map[string]any{"metric": metric, "values": values})
		}
	}
	if u.most > 0 && n > u.most {
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"status":"error","errorType":"execution","error":"query processing would load too many samples into memory in query execution"}`)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "matrix", "result": result}})
}

var endOfHistory = time.UnixMilli(1_700_000_010_500)

func startUpstream(t *testing.T, u *upstream) Upstream {
	u.t = t
	server := httptest.NewServer(u)
	t.Cleanup(server.Close)
	return Upstream{
		URL: server.URL + "/prom/", End: endOfHistory, Last: time.Hour, Client: server.Client(),
		Pause: func(context.Context, time.Duration) error { return nil },
	}
}

var twoSeries = []map[string]string{
	{"__name__": "http_requests_total", "job": "api", "path": "/a\"b\\c\nd\u2028<é>"},
	{"__name__": "load", "job": "api"},
}

// pull reads everything and checks that the ticks and the times agree.
func pull(t *testing.T, cfg Config, up Upstream) (map[string][]int64, *PrometheusSource, error) {
	t.Helper()
	s, err := Prometheus(t.Context(), cfg, up)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]int64{}
	tick := int64(0)
	for {
		ev, err := s.Next()
		if err != nil {
			if s.pace.err == err && err.Error() == "EOF" {
				if tick != up.End.UnixMilli() {
					t.Errorf("the last tick is %d, want the end %d", tick, up.End.UnixMilli())
				}
				return got, s, nil
			}
			return got, s, err
		}
		switch ev := ev.(type) {
		case engine.Tick:
			tick = ev.Now
		case *engine.Batch:
			if !ev.Quiet || ev.Sender != "bootstrap" {
				t.Fatalf("batch %+v, want a quiet one of bootstrap", ev)
			}
			for _, x := range ev.Samples {
				name := x.Series.Labels.String()
				got[name] = append(got[name], x.At)
			}
		}
	}
}

var bootstrap = Config{Quiet: true, Sender: "bootstrap"}

func TestHistoryOfAPrometheusIsReadWhole(t *testing.T) {
	for _, closed := range []bool{false, true} {
		u := &upstream{series: twoSeries, closed: closed}
		up := startUpstream(t, u)
		up.Chunk = 10 * time.Minute
		got, s, err := pull(t, bootstrap, up)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 2 {
			t.Errorf("%d series, want 2: %v", len(got), got)
		}
		for name, times := range got {
			if len(times) != 240 {
				t.Errorf("ranges closed at their beginning %v: %s has %d samples in an hour, want 240", closed, name, len(times))
			}
			for i := 1; i < len(times); i++ {
				if times[i]-times[i-1] != step {
					t.Fatalf("%s: %d follows %d", name, times[i], times[i-1])
				}
			}
		}
		if _, ok := got[`{__name__="http_requests_total", job="api", path="/a\"b\\c\nd\u2028<é>"}`]; !ok {
			t.Errorf("the escaped label is not among %v", got)
		}
		if done, total := s.Progress(); done != total || total != time.Hour.Milliseconds() {
			t.Errorf("progress %d of %d, want an hour", done, total)
		}
		if read, skipped := s.Samples(); read != 480 || skipped != 0 {
			t.Errorf("%d read, %d skipped, want 480 and 0", read, skipped)
		}
		if u.queries[0] != `{__name__=~".+"}[600000ms]` || len(u.queries) != 6 {
			t.Errorf("queries %q, want six of ten minutes", u.queries)
		}
	}
}

func TestTooMuchIsAskedForInSmallerChunks(t *testing.T) {
	u := &upstream{series: twoSeries, most: 50}
	got, _, err := pull(t, bootstrap, startUpstream(t, u))
	if err != nil {
		t.Fatal(err)
	}
	for name, times := range got {
		if len(times) != 240 {
			t.Errorf("%s has %d samples, want 240", name, len(times))
		}
	}
	// The same by the size of the answer alone.
	u = &upstream{series: twoSeries}
	up := startUpstream(t, u)
	up.MaxAnswer = 4 << 10
	if got, _, err = pull(t, bootstrap, up); err != nil || len(got) != 2 {
		t.Fatalf("%v, %d series", err, len(got))
	}
	if u.spans[0] <= u.spans[len(u.spans)-2] {
		t.Errorf("spans %v do not become smaller", u.spans)
	}
}

func TestAFailingUpstreamIsTriedAgainWithinBounds(t *testing.T) {
	u := &upstream{series: twoSeries, down: 4}
	up := startUpstream(t, u)
	waits := []time.Duration{}
	up.Pause = func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }
	if got, _, err := pull(t, bootstrap, up); err != nil || len(got) != 2 {
		t.Errorf("after four failures: %v, %d series", err, len(got))
	}
	if fmt.Sprint(waits) != "[1s 2s 4s]" { // the metadata, of which one is lost, are not asked for again
		t.Errorf("pauses %v", waits)
	}
	u.down = 1000
	if _, _, err := pull(t, bootstrap, up); err == nil || !strings.Contains(err.Error(), "after 6 attempts: status 502") {
		t.Errorf("an upstream that is down: error %v", err)
	}
	up.Pause = func(context.Context, time.Duration) error { return context.Canceled }
	if _, _, err := pull(t, bootstrap, up); !errors.Is(err, context.Canceled) {
		t.Errorf("a pause that was cancelled: error %v", err)
	}
}

func TestABadSelectorIsNotTriedAgain(t *testing.T) {
	u := &upstream{series: twoSeries}
	up := startUpstream(t, u)
	up.Selectors = []string{"up{"}
	up.Selectors[0] = "up{}\n[5m]x"
	_, _, err := pull(t, bootstrap, up)
	if err == nil || !strings.Contains(err.Error(), "status 400") || len(u.queries) != 1 {
		t.Errorf("error %v after %d queries, want a 400 after one", err, len(u.queries))
	}
}

func TestSelectorsThatOverlapCountOnce(t *testing.T) {
	up := startUpstream(t, &upstream{series: twoSeries})
	up.Selectors = []string{`{job="api"}`, "load"}
	got, _, err := pull(t, bootstrap, up)
	if err != nil {
		t.Fatal(err)
	}
	for name, times := range got {
		if len(times) != 240 {
			t.Errorf("%s has %d samples, want 240", name, len(times))
		}
	}
}

func TestAnAnswerHoldsHistograms(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "metadata") {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"h"},
			"histograms":[[1699999990.5,{"count":"6","sum":"3.5","buckets":[[3,"-0.001","0.001","2"],[0,"0.5","1","4"]]}],
			[1699999995,{"count":"6","sum":"x","buckets":[]}]]}]}}`)
	}))
	defer server.Close()
	s, err := Prometheus(t.Context(), Config{}, Upstream{URL: server.URL, End: endOfHistory, Last: 30 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	text, err := tell(t, s)
	if err != nil {
		t.Fatal(err)
	}
	want(t, samples(text), `{__name__="h"} count 6 sum 3.5 [{0 0.001 2} {0.5 1 4}] @1.6999999905e+09`)
	if read, skipped := s.Samples(); read != 1 || skipped != 1 {
		t.Errorf("%d read and %d skipped, want 1 and 1", read, skipped)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for _, c := range []struct {
		body string
		why  string
	}{
		{"<html>", "no answer of a Prometheus"},
		{`{"status":"success","data":{"resultType":"vector","result":[]}}`, "selector must select series"},
		{`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"x"]]}]}}`, "not understood"},
		{`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[["a"]]}]}}`, "not understood"},
		{`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[-1,"1"]]}]}}`, "1970"},
		{`{"status":"error","errorType":"execution","error":"\u001b[31mno"}`, "?[31mno"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, c.body) }))
		s, err := Prometheus(t.Context(), Config{}, Upstream{
			URL: server.URL, End: endOfHistory, Pause: func(context.Context, time.Duration) error { return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tell(t, s); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: error %v, want …%s…", c.body, err, c.why)
		}
		server.Close()
	}
}

func TestAuthenticationIsTheClients(t *testing.T) {
	u := &upstream{series: twoSeries}
	up := startUpstream(t, u)
	link, _ := url.Parse(up.URL)
	link.User = url.UserPassword("reader", "secret")
	up.URL = link.String()
	if _, _, err := pull(t, bootstrap, up); err != nil {
		t.Fatal(err)
	}
	for _, user := range u.auth {
		if user != "reader" {
			t.Errorf("a request came from %q, want reader", user)
		}
	}
	u.down = 1000
	if _, _, err := pull(t, bootstrap, up); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v, want one without the password", err)
	}
}

func TestUpstreamIsChecked(t *testing.T) {
	good := Upstream{URL: "http://localhost:9090", End: endOfHistory}
	for name, change := range map[string]func(*Upstream){
		"no url": func(u *Upstream) { u.URL = "" }, "a path": func(u *Upstream) { u.URL = "/tmp" },
		"no end": func(u *Upstream) { u.End = time.Time{} }, "last": func(u *Upstream) { u.Last = -1 },
		"chunk": func(u *Upstream) { u.Chunk = 1 }, "attempts": func(u *Upstream) { u.Attempts = -1 },
	} {
		up := good
		change(&up)
		if _, err := Prometheus(t.Context(), Config{}, up); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := Prometheus(t.Context(), Config{}, good); err != nil {
		t.Error(err)
	}
}
