//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// TestE2EPrometheusSources lets a real Prometheus scrape a program, and replays
// what it holds from its API, from the blocks on its disk, from blocks that
// promtool made and from promtool's dump. All of them give the same events, and
// the program's fault is among them.
func TestE2EPrometheusSources(t *testing.T) {
	for _, c := range []struct {
		name   string
		binary func(*testing.T) string
		native bool // histograms; a dump can't hold them
	}{
		{"newest", newestPrometheus, false},
		{"newest, native histograms", newestPrometheus, true},
		{"Debian's", debianPrometheus, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			testSources(t, c.binary(t), c.native)
		})
	}
}

func testSources(t *testing.T, binary string, native bool) {
	source := startScraped(t, binary, native)
	fromAPI := string(run(t, "replay", "--from", "prometheus", "--url", "http://"+source.address, "--last", "1h", "-o", "jsonl"))
	if !strings.Contains(fromAPI, `"__name__":"queue_length"`) {
		t.Errorf("the program's fault is not among the events:\n%s", tailOf(fromAPI))
	}
	for _, line := range strings.Split(strings.TrimSuffix(fromAPI, "\n"), "\n") {
		if !json.Valid([]byte(line)) {
			t.Errorf("stdout holds %q, which is no event", line)
		}
	}
	snapshot := source.snapshot(t)
	fromBlocks := string(run(t, "replay", snapshot, "-o", "jsonl"))
	if fromBlocks != fromAPI {
		t.Errorf("the events from the blocks differ from those of the API:\n%s", firstDifference(fromAPI, fromBlocks))
	}
	if native {
		if !strings.Contains(fromBlocks, `"__name__":"work_seconds:p99"`) {
			t.Errorf("nothing was found on the quantile of the native histogram:\n%s", tailOf(fromBlocks))
		}
		return
	}

	promtool := peerOfPrometheus(t, "promtool")
	dump := filepath.Join(t.TempDir(), "dump.om")
	// promtool wants a write-ahead log, which a snapshot lacks.
	if err := os.Mkdir(filepath.Join(snapshot, "wal"), 0o755); err != nil {
		t.Fatal(err)
	}
	var complaint strings.Builder
	dumping := exec.CommandContext(t.Context(), promtool, "tsdb", "dump-openmetrics", snapshot)
	dumping.Stderr = &complaint
	text, err := dumping.Output()
	if err == nil {
		err = os.WriteFile(dump, text, 0o600)
	}
	if err != nil {
		t.Fatalf("dumping: %v: %s", err, complaint.String())
	}
	if fromDump := string(run(t, "replay", dump, "-o", "jsonl")); fromDump != fromAPI {
		t.Errorf("the events from the dump differ from those of the API:\n%s", firstDifference(fromAPI, fromDump))
	}
	made := filepath.Join(t.TempDir(), "data")
	if out, err := exec.CommandContext(t.Context(), promtool, "tsdb", "create-blocks-from", "openmetrics", dump, made).CombinedOutput(); err != nil {
		t.Fatalf("making blocks: %v\n%s", err, out)
	}
	if fromMade := string(run(t, "replay", made, "-o", "jsonl")); fromMade != fromAPI {
		t.Errorf("the events from promtool's blocks differ from those of the API:\n%s", firstDifference(fromAPI, fromMade))
	}
}

// scraped is a Prometheus that has scraped and scrapes no more.
type scraped struct{ address, data string }

// startScraped lets a Prometheus scrape the program until its fault is over.
// Then it is killed, so that no end of a series is among its data, and started
// again without a target, so that its data stand still.
func startScraped(t *testing.T, binary string, native bool) scraped {
	t.Helper()
	target, scrapes := startQueue(t)
	dir := t.TempDir()
	config := func(name, targets string) string {
		file := filepath.Join(dir, name)
		text := fmt.Sprintf("global:\n  scrape_interval: 25ms\n  scrape_timeout: 25ms\nscrape_configs:\n  - job_name: queue\n    static_configs:\n      - targets: [%s]\n", targets)
		if native {
			text += "    scrape_native_histograms: true\n    always_scrape_classic_histograms: false\n"
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	s := scraped{address: freeAddress(t), data: filepath.Join(dir, "data")}
	launch := func(file string) *process {
		p := start(t, nil, binary, "--config.file="+file, "--storage.tsdb.path="+s.data, "--web.listen-address="+s.address, "--web.enable-admin-api")
		awaitPrometheus(t, p, s.address)
		return p
	}
	scraping := launch(config("scraping.yml", target))
	eventually(t, 3*time.Minute, "the program is scraped until its fault is over", func() error {
		if n := scrapes.Load(); n < faultEnd+100 {
			return fmt.Errorf("%d scrapes so far", n)
		}
		return nil
	})
	scraping.kill()
	launch(config("still.yml", ""))
	return s
}

// snapshot asks for blocks of everything that it holds.
func (s scraped) snapshot(t *testing.T) string {
	t.Helper()
	response, err := http.Post("http://"+s.address+"/api/v1/admin/tsdb/snapshot", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Data struct {
			Name string `json:"name"`
		} `json:"data"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Data.Name == "" {
		t.Fatalf("asking for a snapshot: %s, %v", response.Status, err)
	}
	return filepath.Join(s.data, "snapshots", answer.Data.Name)
}

// The program is at fault from one scrape up to another.
const (
	faultStart = 500
	faultEnd   = 540
)

// startQueue is a program whose state moves with each scrape, and so does its
// time, by two seconds from half an hour ago on. While it is at fault its queue
// is long. It says its time with each sample, so that a scrape which fails on a
// busy machine leaves a gap and no stale marker: the API would not give that,
// and the blocks would.
func startQueue(t *testing.T) (address string, scrapes *atomic.Int64) {
	t.Helper()
	registry := prometheus.NewRegistry()
	length := prometheus.NewGauge(prometheus.GaugeOpts{Name: "queue_length", Help: "What waits."})
	done := prometheus.NewCounter(prometheus.CounterOpts{Name: "work_total", Help: "What was done."})
	seconds := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "work_seconds", Help: "How long it took.", Buckets: prometheus.DefBuckets, NativeHistogramBucketFactor: 1.1,
	})
	registry.MustRegister(length, done, seconds)
	scrapes = &atomic.Int64{}
	random := rand.New(rand.NewPCG(1, 2))
	began := time.Now().Add(-30 * time.Minute).UnixMilli()
	var one sync.Mutex
	pages := promhttp.HandlerFor(prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		one.Lock()
		defer one.Unlock()
		n := scrapes.Add(1)
		waiting, slow := 20+random.NormFloat64(), 1.0
		if n >= faultStart && n < faultEnd {
			waiting, slow = waiting+50, 20
		}
		length.Set(waiting)
		done.Add(10 + float64(random.IntN(3)))
		for range 50 {
			seconds.Observe(slow * 0.01 * (1 + 0.1*random.Float64()))
		}
		families, err := registry.Gather()
		at := began + 2000*n
		for _, f := range families {
			for _, m := range f.GetMetric() {
				m.TimestampMs = &at
			}
		}
		return families, err
	}), promhttp.HandlerOpts{})
	web := httptest.NewServer(pages)
	t.Cleanup(web.Close)
	return web.Listener.Addr().String(), scrapes
}
