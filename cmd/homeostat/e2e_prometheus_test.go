//go:build e2e

package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// TestE2EPrometheus lets real Prometheus servers scrape a program and write to
// homeostat as the README says. The program's latency rises; the anomaly on its
// quantile reaches a subscriber, a label moves the threshold, and every sample
// is accounted for. Then a second homeostat warms itself from the history of
// that Prometheus.
func TestE2EPrometheus(t *testing.T) {
	for _, c := range []struct {
		name     string
		binary   func(*testing.T) string
		version2 bool // of remote write
	}{
		{"newest, remote write 2.0", newestPrometheus, true},
		{"newest, remote write 1.0", newestPrometheus, false},
		{"Debian's, remote write 1.0", debianPrometheus, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			testPrometheus(t, c.binary(t), c.version2)
		})
	}
}

func testPrometheus(t *testing.T, binary string, version2 bool) {
	server := serve(t, serveOptions{})
	service := startService(t)
	source := startPrometheus(t, binary, version2, server.http, service.address)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch := server.watch(ctx, t, "")

	quantile := &homeostatv1.GetBaselineRequest{Labels: []*homeostatv1.LabelPair{
		{Name: "__name__", Value: "http_request_duration_seconds:p99"},
		{Name: "instance", Value: service.address},
		{Name: "job", Value: "service"},
	}}
	var before *homeostatv1.Baseline
	eventually(t, 5*time.Minute, "the baseline of the p99 is warm", func() error {
		response, err := server.client.GetBaseline(ctx, quantile)
		if err != nil {
			return err
		}
		before = response.GetBaseline()
		if !before.GetWarm() {
			return fmt.Errorf("%d points so far", before.GetPoints())
		}
		return nil
	})
	if e := before.GetExpected(); e < usualLatency || e > 2*usualLatency {
		t.Errorf("the expected p99 is %v s; the program's median is %v s", e, usualLatency)
	}

	service.slow.Store(true)
	opened := watch.await(t, time.Minute, "an anomaly on the p99", func(r *homeostatv1.WatchResponse) bool {
		a := r.GetAnomaly()
		return a.GetRevision() == homeostatv1.Revision_REVISION_OPENED && nameOf(a.GetSeries()) == "http_request_duration_seconds:p99"
	}).GetAnomaly()
	if opened.GetKind() != homeostatv1.Kind_KIND_LATENCY_RISE || opened.GetDirection() != 1 {
		t.Errorf("the anomaly is %v in direction %d, want a latency rise upwards", opened.GetKind(), opened.GetDirection())
	}
	if opened.GetValue() <= opened.GetUpper() || opened.GetExpected() <= 0 || len(opened.GetFactors()) == 0 {
		t.Errorf("the anomaly does not explain itself: %v", opened)
	}
	if opened.GetScore() < opened.GetThreshold().GetOpen() {
		t.Errorf("it opened at score %v under the threshold %v", opened.GetScore(), opened.GetThreshold().GetOpen())
	}

	// The person says that it was a false alarm: the threshold rises one step.
	const request = "e2e-label"
	if _, err := server.client.Label(ctx, &homeostatv1.LabelRequest{
		AnomalyId: opened.GetId(), Judgement: homeostatv1.Judgement_JUDGEMENT_FALSE_ALARM, By: "e2e", RequestId: request,
	}); err != nil {
		t.Fatalf("labelling: %v", err)
	}
	move := watch.await(t, 30*time.Second, "the label moves the threshold", func(r *homeostatv1.WatchResponse) bool {
		return r.GetThresholdMove().GetSeriesId() == opened.GetSeries().GetId()
	}).GetThresholdMove()
	if move.GetAfter().GetCause() != request || move.GetAfter().GetVersion() != 1 {
		t.Errorf("the move says version %d by %q", move.GetAfter().GetVersion(), move.GetAfter().GetCause())
	}
	if ratio := move.GetAfter().GetOpen() / move.GetBefore().GetOpen(); math.Abs(ratio-1.05) > 0.01 {
		t.Errorf("the threshold moved by %v, want one step of 5 %%", ratio)
	}
	// It holds for points later than the tick that moved it, and a quantile is
	// made one grace after its time.
	eventually(t, 30*time.Second, "the moved threshold is in force", func() error {
		response, err := server.client.GetBaseline(ctx, quantile)
		if err != nil {
			return err
		}
		if now := response.GetBaseline().GetThreshold(); now.GetOpen() != move.GetAfter().GetOpen() || now.GetVersion() != 1 {
			return fmt.Errorf("the baseline's is %v, the move said %v", now, move.GetAfter())
		}
		return nil
	})

	service.slow.Store(false)
	watch.await(t, time.Minute, "the anomaly closes", func(r *homeostatv1.WatchResponse) bool {
		return r.GetAnomaly().GetId() == opened.GetId() && r.GetAnomaly().GetRevision() == homeostatv1.Revision_REVISION_CLOSED
	})

	sender := scrape(t, source)
	for _, name := range []string{"prometheus_remote_storage_samples_failed_total", "prometheus_remote_storage_samples_dropped_total"} {
		if n := sender.sum(name); n != 0 {
			t.Errorf("%s is %v", name, n)
		}
	}
	if n := server.accountFor(t); n == 0 {
		t.Error("no sample was received")
	}

	second := serve(t, serveOptions{args: []string{"--bootstrap.url=http://" + source, "--bootstrap.last=1h"}})
	eventually(t, time.Minute, "history warmed the p99 of a second server", func() error {
		response, err := second.client.GetBaseline(ctx, quantile)
		if err != nil {
			return err
		}
		if b := response.GetBaseline(); !b.GetWarm() {
			return fmt.Errorf("%d points so far", b.GetPoints())
		}
		return nil
	})
}

// usualLatency is the median latency of the service when nothing is wrong, in
// seconds.
const usualLatency = 0.04

// service is a small program with a fault: while slow, its requests take 20
// times as long.
type service struct {
	address string
	slow    atomic.Bool
}

func startService(t *testing.T) *service {
	t.Helper()
	registry := prometheus.NewRegistry()
	duration := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "http_request_duration_seconds", Help: "How long requests took.",
		Buckets: prometheus.ExponentialBuckets(0.005, 1.3, 30), NativeHistogramBucketFactor: 1.1,
	})
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total", Help: "Requests by code."}, []string{"code"})
	inFlight := prometheus.NewGauge(prometheus.GaugeOpts{Name: "http_requests_in_flight", Help: "Requests being served."})
	registry.MustRegister(duration, requests, inFlight)

	s := &service{}
	web := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	s.address = web.Listener.Addr().String()

	ended, end := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		random := rand.New(rand.NewPCG(1, 2))
		next := time.NewTicker(10 * time.Millisecond)
		defer next.Stop()
		for {
			select {
			case <-next.C:
			case <-end:
				return
			}
			for range 4 {
				seconds := usualLatency * math.Exp(0.1*random.NormFloat64())
				if s.slow.Load() {
					seconds *= 20
				}
				duration.Observe(seconds)
				code := "200"
				if random.IntN(1000) == 0 {
					code = "500"
				}
				requests.WithLabelValues(code).Inc()
			}
			inFlight.Set(float64(10 + random.IntN(5)))
		}
	}()
	t.Cleanup(func() {
		close(end)
		<-ended
		web.Close()
	})
	return s
}

// startPrometheus starts a Prometheus that scrapes the service each second and
// writes as the README says, and returns its address.
func startPrometheus(t *testing.T, binary string, version2 bool, homeostat, service string) string {
	t.Helper()
	write := strings.ReplaceAll(marked(t, "README.md", "yaml prometheus"), "127.0.0.1:9860", homeostat)
	if lines := strings.Count(strings.TrimSpace(write), "\n") + 1; lines != 3 {
		t.Errorf("the README says %d lines, and promises 3", lines)
	}
	if !version2 {
		write = regexp.MustCompile(`(?m)^.*protobuf_message.*\n?`).ReplaceAllString(write, "")
	}
	dir := t.TempDir()
	config := fmt.Sprintf(`global:
  scrape_interval: 1s
  scrape_timeout: 1s
scrape_configs:
  - job_name: service
    static_configs:
      - targets: [%q]
%s`, service, write)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	args := []string{"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address}
	if version2 {
		args = append(args, "--enable-feature=metadata-wal-records")
	}
	awaitPrometheus(t, start(t, nil, binary, args...), address)
	return address
}

func awaitPrometheus(t *testing.T, p *process, address string) {
	t.Helper()
	eventually(t, 30*time.Second, "Prometheus is ready", func() error {
		select {
		case <-p.ended:
			return fmt.Errorf("it ended: %w", p.err)
		default:
		}
		response, err := http.Get("http://" + address + "/-/ready")
		if err != nil {
			return err
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s", response.Status)
		}
		return nil
	})
}

// newestPrometheus is the Prometheus that benchmarks/peers builds.
func newestPrometheus(t *testing.T) string { return peerOfPrometheus(t, "prometheus") }

// peerOfPrometheus is a program of the newest Prometheus.
func peerOfPrometheus(t *testing.T, name string) string {
	t.Helper()
	peers := os.Getenv("HOMEOSTAT_PEERS")
	if peers == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		peers = filepath.Join(home, ".cache", "homeostat", "peers")
	}
	found, err := filepath.Glob(filepath.Join(peers, "prometheus-v*", name))
	if err != nil || len(found) == 0 {
		t.Fatalf("there is no %s in %s: run make peers", name, peers)
	}
	return found[len(found)-1]
}

// debianPrometheus is the one that the distribution packages.
func debianPrometheus(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatalf("Debian's Prometheus is absent: apt-get install prometheus: %v", err)
	}
	return path
}

// marked is the first block of a page that is fenced as given.
func marked(t *testing.T, page, fence string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", page))
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "```"+fence+"\n")
	block, _, closed := strings.Cut(after, "```")
	if !ok || !closed {
		t.Fatalf("%s holds no block marked %q", page, fence)
	}
	return block
}
