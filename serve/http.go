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
	Service  *Service
	Guard    *Guard // nil lets everybody in
	Registry *prometheus.Registry
	Profile  bool // serve /debug/pprof
	// Reload reads the configuration again and says what of it waits for a
	// restart. Without it /-/reload is refused.
	Reload  func() (warnings []string, err error)
	ready   atomic.Bool
	warming atomic.Value // string: what is waited for
}

// Ready says from when on /-/ready is 200.
func (p *Pages) Ready() { p.ready.Store(true) }

// Warming says what /-/ready is waiting for.
func (p *Pages) Warming(what string) { p.warming.Store(what) }

// route is a path, who may call it and what answers.
type route struct {
	path    string
	need    Role
	handler http.Handler
}

// routes are all paths but /-/healthy, which is open: it says that the process
// lives and nothing else.
func (p *Pages) routes() []route {
	s := p.Service
	all := []route{
		{"/-/ready", anyRole, http.HandlerFunc(p.serveReady)},
		{"/-/reload", RoleAdmin, http.HandlerFunc(p.serveReload)},
		{"/metrics", RoleRead, promhttp.HandlerFor(p.Registry, promhttp.HandlerOpts{Registry: p.Registry})},
		{"/api/v1/write", RoleIngest, http.HandlerFunc(p.serveWrite)},
		{"/api/v1/anomalies", RoleRead, s.restList(listAnomalies, "anomalies", anomalyStates)},
		{"/api/v1/incidents", RoleRead, s.restList(listIncidents, "incidents", incidentStates)},
		{"/api/v1/actions", RoleRead, s.restList(listActions, "actions", nil)},
		{"/api/v1/outcomes", RoleRead, s.restList(listOutcomes, "outcomes", nil)},
		{"/api/v1/series", RoleRead, p.whenReady(s.restSeries())},
		{"/api/v1/what-if", RoleRead, s.restWhatIf()},
		{"/api/v1/labels", RoleLabel, p.whenReady(s.restLabel())},
		{"/api/v1/undo", RoleLabel, p.whenReady(s.restUndo())},
		{"/", anyRole, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			writeError(w, http.StatusNotFound, "not_found", "there is nothing here")
		})},
	}
	if p.Profile {
		all = append(
			all,
			route{"/debug/pprof/", RoleAdmin, http.HandlerFunc(pprof.Index)},
			route{"/debug/pprof/profile", RoleAdmin, http.HandlerFunc(pprof.Profile)},
			route{"/debug/pprof/trace", RoleAdmin, http.HandlerFunc(pprof.Trace)},
			route{"/debug/pprof/cmdline", RoleAdmin, http.HandlerFunc(pprof.Cmdline)},
			route{"/debug/pprof/symbol", RoleAdmin, http.HandlerFunc(pprof.Symbol)},
		)
	}
	return all
}

// Handler is the mux. Until Ready is called, writes are answered by 503. What a
// page of another origin has a browser send is refused, so that a visit to it
// can't reload or label where no token is asked for.
func (p *Pages) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/-/healthy", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "homeostat is healthy.") })
	for _, r := range p.routes() {
		mux.Handle(r.path, p.Guard.Allow(r.need, r.handler))
	}
	sameOrigin := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		sameOrigin.ServeHTTP(w, r)
	})
}

// whenReady answers by 503 until Ready is called what asks the loop, which takes
// nothing in before.
func (p *Pages) whenReady(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !p.ready.Load() {
			w.Header().Set("Retry-After", "1")
			writeError(w, http.StatusServiceUnavailable, "unavailable", "homeostat is not ready")
			return
		}
		h.ServeHTTP(w, r)
	})
}

func (p *Pages) serveReady(w http.ResponseWriter, _ *http.Request) {
	if !p.ready.Load() {
		what, _ := p.warming.Load().(string)
		http.Error(w, "homeostat is not ready: "+what, http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "homeostat is ready.")
}

func (p *Pages) serveWrite(w http.ResponseWriter, r *http.Request) {
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
}

func (p *Pages) serveReload(w http.ResponseWriter, r *http.Request) {
	switch {
	case p.Reload == nil:
		writeError(w, http.StatusForbidden, "forbidden", "reloading over HTTP is off: start with --web.enable-lifecycle, or send SIGHUP")
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		writeError(w, http.StatusMethodNotAllowed, "bad_data", "want POST")
		return
	}
	warnings, err := p.Reload()
	if err != nil {
		writeError(w, http.StatusInternalServerError, "execution", err.Error())
		return
	}
	writeJSON(w, http.StatusOK, envelope{Status: "success", Warnings: warnings})
}

// Figures collects what the board and the service count.
type Figures struct {
	Board   *Board
	Service *Service
	Guard   *Guard
}

var (
	descAnomalies   = prometheus.NewDesc("homeostat_anomalies_total", "Anomalies opened.", []string{"kind"}, nil)
	descOutcomes    = prometheus.NewDesc("homeostat_outcomes_total", "Outcomes recorded.", []string{"verdict", "by"}, nil)
	descDecisions   = prometheus.NewDesc("homeostat_policy_decisions_total", "Decisions of the policy.", []string{"decision"}, nil)
	descMoves       = prometheus.NewDesc("homeostat_threshold_updates_total", "Thresholds moved.", nil, nil)
	descOpen        = prometheus.NewDesc("homeostat_incidents_open", "Incidents that are open.", nil, nil)
	descSubscribers = prometheus.NewDesc("homeostat_subscribers", "Streams being served.", nil, nil)
	descStuck       = prometheus.NewDesc("homeostat_subscribers_stuck_total", "Streams ended because the subscriber took nothing for too long.", nil, nil)
	descDenied      = prometheus.NewDesc("homeostat_auth_denied_total", "Requests that were not let in, by why: no token, one that is not known, one without the role.", []string{"reason"}, nil)
	descGaps        = prometheus.NewDesc("homeostat_subscriber_gaps_total", "Entries that subscribers missed, because the log no longer held them.", nil, nil)
)

// Describe lists the metrics.
func (f Figures) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descAnomalies, descOutcomes, descDecisions, descMoves, descOpen, descSubscribers, descStuck, descGaps, descDenied} {
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
	if f.Guard != nil {
		for why := denyMissing; why < numDenials; why++ {
			counter(descDenied, f.Guard.denials[why].Load(), denialNames[why])
		}
	}
	counter(descGaps, f.Service.gaps.Load())
	counter(descStuck, f.Service.stuck.Load())
	ch <- prometheus.MustNewConstMetric(descOpen, prometheus.GaugeValue, float64(c.Open))
	ch <- prometheus.MustNewConstMetric(descSubscribers, prometheus.GaugeValue, float64(f.Service.subscribers.Load()))
}
