package serve

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Pages are the HTTP side. Write is mounted on /api/v1/write.
type Pages struct {
	Write    http.Handler
	Registry *prometheus.Registry
	Profile  bool // serve /debug/pprof
	ready    atomic.Bool
	warming  atomic.Value // string: what is waited for
}

// Ready says from when on /-/ready is 200.
func (p *Pages) Ready() { p.ready.Store(true) }

// Warming says what /-/ready is waiting for.
func (p *Pages) Warming(what string) { p.warming.Store(what) }

// Handler is the mux. Until Ready is called, writes are answered by 503.
func (p *Pages) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "homeostat is healthy.") })
	mux.HandleFunc("GET /-/ready", func(w http.ResponseWriter, _ *http.Request) {
		if !p.ready.Load() {
			what, _ := p.warming.Load().(string)
			http.Error(w, "homeostat is not ready: "+what, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "homeostat is ready.")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.Registry, promhttp.HandlerOpts{Registry: p.Registry}))
	mux.HandleFunc("/api/v1/write", func(w http.ResponseWriter, r *http.Request) {
		if !p.ready.Load() {
			w.Header().Set("Retry-After", "1")
			if strings.Contains(r.Header.Get("Content-Type"), "io.prometheus.write.v2.Request") {
				// A 2.0 sender is told what was written, whatever the answer.
				for _, kind := range []string{"Samples", "Histograms", "Exemplars"} {
					w.Header().Set("X-Prometheus-Remote-Write-"+kind+"-Written", "0")
				}
			}
			http.Error(w, "homeostat is not ready", http.StatusServiceUnavailable)
			return
		}
		p.Write.ServeHTTP(w, r)
	})
	if p.Profile {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	}
	return mux
}

// Figures collects what the board and the service count.
type Figures struct {
	Board   *Board
	Service *Service
}

var (
	descAnomalies   = prometheus.NewDesc("homeostat_anomalies_total", "Anomalies opened.", []string{"kind"}, nil)
	descOutcomes    = prometheus.NewDesc("homeostat_outcomes_total", "Outcomes recorded.", []string{"verdict", "by"}, nil)
	descDecisions   = prometheus.NewDesc("homeostat_policy_decisions_total", "Decisions of the policy.", []string{"decision"}, nil)
	descMoves       = prometheus.NewDesc("homeostat_threshold_updates_total", "Thresholds moved.", nil, nil)
	descOpen        = prometheus.NewDesc("homeostat_incidents_open", "Incidents that are open.", nil, nil)
	descSubscribers = prometheus.NewDesc("homeostat_subscribers", "Streams being served.", nil, nil)
	descStuck       = prometheus.NewDesc("homeostat_subscribers_stuck_total", "Streams ended because the subscriber took nothing for too long.", nil, nil)
	descGaps        = prometheus.NewDesc("homeostat_subscriber_gaps_total", "Entries that subscribers missed, because the log no longer held them.", nil, nil)
)

// Describe lists the metrics.
func (f Figures) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descAnomalies, descOutcomes, descDecisions, descMoves, descOpen, descSubscribers, descStuck, descGaps} {
		ch <- d
	}
}

// Collect reads the figures.
func (f Figures) Collect(ch chan<- prometheus.Metric) {
	f.Board.mu.RLock()
	defer f.Board.mu.RUnlock()
	c := &f.Board.counts
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for kind, n := range c.Anomalies {
		counter(descAnomalies, n, kind)
	}
	for k, n := range c.Outcomes {
		counter(descOutcomes, n, k[0], k[1])
	}
	for verb, n := range c.Decisions {
		counter(descDecisions, n, verb)
	}
	counter(descMoves, c.Moves)
	counter(descGaps, f.Service.gaps.Load())
	counter(descStuck, f.Service.stuck.Load())
	ch <- prometheus.MustNewConstMetric(descOpen, prometheus.GaugeValue, float64(c.Open))
	ch <- prometheus.MustNewConstMetric(descSubscribers, prometheus.GaugeValue, float64(f.Service.subscribers.Load()))
}
