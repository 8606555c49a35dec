package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"

	"github.com/homeostat/homeostat/benchmarks/throughput/load"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// receiver is a remote-write receiver in this process: it counts what comes and
// sees that each series' time goes forward.
type receiver struct {
	mu      sync.Mutex
	samples int
	last    map[string]int64
	faults  []string
	refuse  int // answer every so many requests by a 503 first
	seen    int
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	compressed, _ := io.ReadAll(q.Body)
	raw, err := s2.Decode(nil, compressed)
	var request prompb.WriteRequest
	if err == nil {
		err = request.Unmarshal(raw)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.faults = append(r.faults, err.Error())
	}
	if r.seen++; r.refuse > 0 && r.seen%r.refuse == 0 {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	for i := range request.Timeseries {
		s := &request.Timeseries[i]
		key := ""
		for _, l := range s.Labels {
			key += l.Name + "=" + l.Value + ","
		}
		for _, x := range s.Samples {
			if before, known := r.last[key]; known && x.Timestamp != before+load.Step {
				r.faults = append(r.faults, key+" went from "+strconv.FormatInt(before, 10)+" to "+strconv.FormatInt(x.Timestamp, 10))
			}
			if now := time.Now().UnixMilli(); x.Timestamp > now || x.Timestamp < now-24*3600*1000 {
				r.faults = append(r.faults, key+" is at "+strconv.FormatInt(x.Timestamp, 10))
			}
			r.last[key] = x.Timestamp
			r.samples++
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func serveReceiver(t *testing.T, r *receiver) string {
	t.Helper()
	r.last = map[string]int64{}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	return s.URL
}

func TestARunAgainstAURL(t *testing.T) {
	r := &receiver{refuse: 30}
	url := serveReceiver(t, r)
	out := t.TempDir()
	var said bytes.Buffer
	err := command(t.Context(), []string{
		"-target", url, "-pid", strconv.Itoa(os.Getpid()), "-series", "600", "-requests", "50", "-warm", "2",
		"-duration", "1s", "-mix", "real", "-out", out,
	}, &said)
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.faults) > 0 {
		t.Errorf("%d faults, the first: %s", len(r.faults), r.faults[0])
	}
	if len(r.last) != 600 {
		t.Errorf("%d series came, want 600", len(r.last))
	}
	if !strings.Contains(said.String(), "all "+strconv.Itoa(r.samples)+" samples") {
		t.Errorf("%d samples came, and it said:\n%s", r.samples, said.String())
	}
	if strings.Contains(said.String(), "; 0 requests were put off") {
		t.Errorf("no request was put off:\n%s", said.String())
	}
	all, err := summariesBelow(out)
	if err != nil || len(all) != 1 {
		t.Fatalf("%d summaries, %v", len(all), err)
	}
	if s := all[0]; s.Samples == 0 || s.Samples%600 != 0 || s.SamplesPerS <= 0 || s.BytesPerSeries <= 0 || s.CPUPerScored != nil || s.Latency.P99 != nil {
		t.Errorf("the summary is %+v", s)
	}
}

func TestChurnReplacesSeries(t *testing.T) {
	r := &receiver{}
	url := serveReceiver(t, r)
	if err := command(t.Context(), []string{
		"-target", url, "-pid", strconv.Itoa(os.Getpid()), "-series", "600", "-requests", "50", "-warm", "5",
		"-duration", "1s", "-rate", "600", "-churn", "0.1", "-out", t.TempDir(),
	}, io.Discard); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	rounds := r.samples / 600
	if want := 600 + (rounds-1)*60; len(r.last) != want || len(r.faults) > 0 {
		t.Errorf("%d series in %d rounds, want %d; faults: %v", len(r.last), rounds, want, r.faults)
	}
}

func TestRefusesWhoDoesNotListen(t *testing.T) {
	url := serveReceiver(t, &receiver{})
	for _, c := range []struct {
		what string
		args []string
		want error
	}{
		{"another process's pid", []string{"-target", url, "-pid", strconv.Itoa(os.Getppid())}, errListener},
		{"no pid", []string{"-target", url}, nil},
		{"an address elsewhere", []string{"-target", "http://192.0.2.1:80/", "-pid", "1"}, nil},
		{"a name that is no target", []string{"-target", "prometeus"}, nil},
		{"a protocol that the peer doesn't speak", []string{"-target", victoriametrics, "-protocol", "v2"}, errProtocol},
	} {
		out := t.TempDir()
		err := command(t.Context(), append(c.args, "-series", "10", "-warm", "1", "-out", out), io.Discard)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want a refusal by %v", c.what, err, c.want)
		}
		if _, err := os.Stat(filepath.Join(out, summaryName)); err == nil {
			t.Errorf("%s: a summary was written", c.what)
		}
	}
}

func TestOptionsOutOfBounds(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"-out", "x", "-series", "0"},
		{"-out", "x", "-mix", "histograms"},
		{"-out", "x", "-protocol", "v3"},
		{"-out", "x", "-requests", "0"},
		{"-out", "x", "-churn", "1.5"},
		{"-out", "x", "-churn", "NaN"},
		{"-out", "x", "-duration", "0"},
		{"-out", "x", "more"},
	} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	if _, err := parse([]string{"-out", "x"}); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

// The keys of summary.json are what others read.
func TestSummaryKeys(t *testing.T) {
	one, two, three := 1.5, 2.5, 9.0
	s := summary{
		Target: homeostat, Series: 100, Protocol: load.V1, Mix: load.Real, Samples: 1000, CPUPerSample: 0.5, CPUPerScored: &one,
		CPUPerNewSeries: 4, BytesPerSeries: 800, SamplesPerS: 1e6, Latency: latency{&two, &three},
	}
	const full = `{"target":"homeostat","series":100,"protocol":"v1","mix":"real","samples":1000,"cpu_us_per_sample":0.5,` +
		`"cpu_us_per_scored":1.5,"cpu_us_per_new_series":4,"bytes_per_series":800,"samples_per_s":1000000,"latency_ms":{"p50":2.5,"p99":9}}`
	if got, err := json.Marshal(s); err != nil || string(got) != full {
		t.Errorf("%s, %v\nwant %s", got, err, full)
	}
	s.CPUPerScored, s.Latency = nil, latency{}
	const peer = `"cpu_us_per_scored":null,"cpu_us_per_new_series":4,"bytes_per_series":800,"samples_per_s":1000000,"latency_ms":{"p50":null,"p99":null}}`
	if got, err := json.Marshal(s); err != nil || !strings.HasSuffix(string(got), peer) {
		t.Errorf("%s, %v\nwant …%s", got, err, peer)
	}
}

func TestTableComparesWhatHadTheSameLoad(t *testing.T) {
	dir := t.TempDir()
	for i, s := range []summary{
		{Target: prometheus, Series: 100, Protocol: load.V1, Mix: load.Real, CPUPerSample: 5, CPUPerNewSeries: 20},
		{Target: homeostat, Series: 100, Protocol: load.V1, Mix: load.Real, CPUPerSample: 0.5, CPUPerNewSeries: 4},
		{Target: prometheus, Series: 100, Protocol: load.V2, Mix: load.Real, CPUPerSample: 5, CPUPerNewSeries: 20},
	} {
		if err := s.write(filepath.Join(dir, strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	var text bytes.Buffer
	if err := table(dir, &text); err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(text.String()), "\n")[2:]
	if len(rows) != 3 || !strings.Contains(rows[0], "homeostat") || !strings.HasSuffix(rows[1], "| 10.0, 5.0 |") || !strings.HasSuffix(rows[2], "| - |") {
		t.Errorf("the rows are\n%s", strings.Join(rows, "\n"))
	}
	if err := table(t.TempDir(), io.Discard); err == nil {
		t.Error("an empty folder has a table")
	}
}

func TestAccountsThatDisagreeFailTheRun(t *testing.T) {
	const books = `homeostat_ingest_samples_total{protocol="v1",outcome="received"} 100
homeostat_ingest_samples_total{protocol="v1",outcome="scored"} 70
homeostat_ingest_absorbed_total{reason="bucket"} 29
homeostat_ingest_absorbed_total{reason="first"} 1
homeostat_ingest_rejected_total{reason="too_new"} 0
`
	for _, c := range []struct {
		what, target, text string
		sent               int64
		agree              bool
	}{
		{"balanced", homeostat, books, 100, true},
		{"one more sent than received", homeostat, books, 101, false},
		{"one sample vanished", homeostat, strings.Replace(books, "} 29", "} 28", 1), 100, false},
		{"one rejected", homeostat, strings.NewReplacer("} 29", "} 28", "too_new\"} 0", "too_new\"} 1").Replace(books), 100, false},
		{"a peer that took all", prometheus, "prometheus_tsdb_head_samples_appended_total{type=\"float\"} 100\n", 100, true},
		{"a peer that found one out of order", prometheus, "prometheus_tsdb_head_samples_appended_total{type=\"float\"} 100\nprometheus_tsdb_out_of_order_samples_total{type=\"float\"} 1\n", 100, false},
		{"rows that came another way", victoriametrics, "vm_rows_inserted_total{type=\"promremotewrite\"} 100\nvm_rows_inserted_total{type=\"influx\"} 5\n", 100, true},
		{"rows that were ignored", victoriametrics, "vm_rows_inserted_total{type=\"promremotewrite\"} 100\nvm_rows_ignored_total{reason=\"small_timestamp\"} 5\n", 100, false},
		{"an empty page", victoriametrics, "", 100, false},
	} {
		parsed, err := parseCounters([]byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		if err := parsed.agree(c.target, c.sent); (err == nil) != c.agree || err != nil && !errors.Is(err, errAccounts) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

func TestTheDataEndsBeforeNowAndOnOneDay(t *testing.T) {
	o := &options{series: 100_000, warm: 140}
	rounds := int64(1 + o.warm + o.maxRounds(steadyRounds) + o.maxRounds(latencyRounds))
	for _, now := range []string{"2026-03-01T18:00:07Z", "2026-03-01T00:00:00Z", "2026-03-01T01:10:00Z", "2026-03-01T23:59:59Z"} {
		at, err := time.Parse(time.RFC3339, now)
		if err != nil {
			t.Fatal(err)
		}
		begin := beginning(at, o)
		last := time.UnixMilli(begin + (rounds-1)*load.Step).UTC()
		if last.After(at) || at.Sub(time.UnixMilli(begin)) > 12*time.Hour || last.Day() != time.UnixMilli(begin).UTC().Day() {
			t.Errorf("at %s the data goes from %v to %v", now, time.UnixMilli(begin).UTC(), last)
		}
	}
}

// Spikes are timed from when their request leaves; noise is not heard, and a
// gauge is heard once.
func TestSpikesAreTimed(t *testing.T) {
	f := load.New(load.Shape{Series: 400, Mix: load.Real, Seed: 1})
	chosen := plan(f, 4, 40, 1)
	s := newSpikes(f)
	began := time.UnixMilli(1_000_000)
	anomaly := func(i int) *homeostatv1.Anomaly {
		a := &homeostatv1.Anomaly{Revision: homeostatv1.Revision_REVISION_OPENED, Series: &homeostatv1.Series{}}
		for _, l := range f.Labels(i, nil) {
			a.Series.Labels = append(a.Series.Labels, &homeostatv1.LabelPair{Name: l.Name, Value: l.Value})
		}
		return a
	}
	total := 0
	for round, gauges := range chosen {
		s.plant(int64(round), gauges, 100)
		for _, i := range gauges {
			total++
			s.hear(anomaly(i), began) // before its request left: noise
		}
		for _, i := range gauges {
			s.leave(&body{round: int64(round), first: i / 100 * 100}, began)
		}
	}
	s.planted()
	if total != 40 {
		t.Fatalf("%d spikes, want 40", total)
	}
	for round, gauges := range chosen {
		for _, i := range gauges {
			select {
			case <-s.done:
				t.Fatalf("done with %d of %d", len(s.times), total)
			default:
			}
			if f.Kind(i) != load.Gauge {
				t.Errorf("series %d is no gauge", i)
			}
			s.hear(anomaly(i), began.Add(time.Duration(round+1)*time.Millisecond))
			s.hear(anomaly(i), began.Add(time.Hour)) // heard of already
		}
	}
	<-s.done
	if len(s.times) != 40 || quantile(s.times, 0) != time.Millisecond || quantile(s.times, 1) != 4*time.Millisecond {
		t.Errorf("the times are %v", s.times)
	}
}

func TestAnEndedRunStops(t *testing.T) {
	url := serveReceiver(t, &receiver{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := command(ctx, []string{"-target", url, "-pid", strconv.Itoa(os.Getpid()), "-series", "10", "-warm", "1", "-out", t.TempDir()}, io.Discard)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's error", err)
	}
}
