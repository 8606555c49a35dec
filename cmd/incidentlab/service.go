package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// condition is how an instance is at the moment, as usual in the zero value.
type condition struct {
	slower float64 // its service time is multiplied by this; 0 is 1
	fails  float64 // share of requests that it fails, if more than usual
}

// instance is one process of a service, as far as its peers and Prometheus can
// tell: servers of its own, a registry of its own, a pool and memory of its own.
type instance struct {
	service string
	number  int
	work    time.Duration // median time that a request takes here, downstream apart
	pool    int           // workers
	down    []*caller

	state   atomic.Pointer[condition]
	metrics atomic.Pointer[http.Handler] // nil while no scrape is answered
	meter   atomic.Pointer[meter]
	leaked  atomic.Int64 // bytes

	working   chan struct{} // a place for each worker that is free
	lost      chan struct{} // places taken away from working, to give back
	shrinking chan struct{} // holds a place for who changes how many are lost
	busy      atomic.Int64  // workers
	waiting   atomic.Int64
	inFlight  atomic.Int64

	api, scrape net.Listener
	servers     []*http.Server
	serving     sync.WaitGroup
}

// meter is what an instance tells of itself since it started.
type meter struct {
	requests *prometheus.CounterVec
	seconds  prometheus.Histogram
}

const (
	baseBytes    = 6 << 20   // what an instance holds when idle
	requestBytes = 256 << 10 // and for each request in flight
	limitBytes   = 64 << 20
	maxWait      = 2 * time.Second // for a worker, then the request fails
)

// newInstance is an instance of the first version that nobody can reach yet.
func newInstance(service string, number int, work time.Duration, pool int, down ...*caller) *instance {
	in := &instance{service: service, number: number, work: work, pool: pool, down: down}
	in.working = make(chan struct{}, pool)
	in.lost = make(chan struct{}, pool)
	in.shrinking = make(chan struct{}, 1)
	for range pool {
		in.working <- struct{}{}
	}
	in.state.Store(&condition{})
	in.begin("v1")
	return in
}

// listen starts its servers on loopback; stop ends them.
func (in *instance) listen() (err error) {
	if in.api, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	if in.scrape, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		in.api.Close()
		return err
	}
	in.serve(in.api, http.HandlerFunc(in.handle))
	in.serve(in.scrape, http.HandlerFunc(in.answerScrape))
	return nil
}

func (in *instance) serve(l net.Listener, h http.Handler) {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	in.servers = append(in.servers, s)
	in.serving.Go(func() { _ = s.Serve(l) }) // until it is closed
}

// stop ends its servers, and its connections to others.
func (in *instance) stop() {
	for _, s := range in.servers {
		s.Close()
	}
	in.serving.Wait()
	for _, d := range in.down {
		d.http.CloseIdleConnections()
	}
}

// podHashes are what the ReplicaSet of each version puts into its pods' names.
var podHashes = map[string]string{"v1": "7d9c5b6f4d", "v2": "5f8b6c9d7c"}

// begin starts an instance's life anew: its counters are at zero and what it
// leaked is gone.
func (in *instance) begin(version string) {
	r := prometheus.NewRegistry()
	suffix := string("xkqzw"[in.number]) + "2mtv"
	labels := prometheus.Labels{"pod": fmt.Sprintf("%s-%s-%s", in.service, podHashes[version], suffix)}
	wrapped := prometheus.WrapRegistererWith(labels, r)
	m := &meter{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total", Help: "Requests answered."}, []string{"code"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "http_request_duration_seconds", Help: "Time to answer.", Buckets: []float64{.01, .025, .1, .25, 1},
		}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "shop_build_info", Help: "The version that runs.", ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	wrapped.MustRegister(m.requests, m.seconds, info,
		gauge("container_memory_working_set_bytes", "Bytes that the instance holds.", in.held),
		gauge("container_spec_memory_limit_bytes", "Bytes that it may hold.", func() float64 { return limitBytes }),
		gauge("shop_pool_in_use", "Workers that work.", func() float64 { return float64(in.busy.Load()) }),
		gauge("shop_pool_waiting", "Requests that wait for a worker.", func() float64 { return float64(in.waiting.Load()) }),
	)
	for _, code := range []string{"200", "500"} {
		m.requests.WithLabelValues(code)
	}
	in.leaked.Store(0)
	in.meter.Store(m)
	h := promhttp.HandlerFor(r, promhttp.HandlerOpts{})
	in.metrics.Store(&h)
}

// held is how many bytes the instance holds by its accounts, with a little of
// what a garbage collector leaves lying about.
func (in *instance) held() float64 {
	garbage := 0.3 * math.Abs(rand.NormFloat64()) * (1 << 20)
	const page = 32 << 10
	return math.Round((float64(baseBytes+in.leaked.Load()+in.inFlight.Load()*requestBytes)+garbage)/page) * page
}

func (in *instance) answerScrape(w http.ResponseWriter, r *http.Request) {
	h := in.metrics.Load()
	if h == nil {
		// A process that is gone: the connection ends without an answer.
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			c.Close()
		}
		return
	}
	(*h).ServeHTTP(w, r)
}

// shrink takes workers out of the pool, or gives them back, until n are left or
// ctx ends. It waits for those that work.
func (in *instance) shrink(ctx context.Context, n int) {
	select {
	case in.shrinking <- struct{}{}:
		defer func() { <-in.shrinking }()
	case <-ctx.Done():
		return
	}
	for in.pool-len(in.lost) > n {
		select {
		case <-in.working:
			in.lost <- struct{}{}
		case <-ctx.Done():
			return
		}
	}
	for in.pool-len(in.lost) < n {
		<-in.lost
		in.working <- struct{}{}
	}
}

var errBusy = errors.New("no worker")

// handle answers one request: it waits for a worker, works, and asks whoever it
// depends on.
func (in *instance) handle(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	in.inFlight.Add(1)
	defer in.inFlight.Add(-1)
	code := http.StatusOK
	if err := in.answer(r.Context()); err != nil {
		code = http.StatusInternalServerError
	}
	m := in.meter.Load()
	m.seconds.Observe(time.Since(began).Seconds())
	m.requests.WithLabelValues(strconv.Itoa(code)).Inc()
	w.WriteHeader(code)
}

func (in *instance) answer(ctx context.Context) error {
	in.waiting.Add(1)
	patience := time.NewTimer(maxWait)
	defer patience.Stop()
	select {
	case <-in.working:
		in.waiting.Add(-1)
	case <-patience.C:
		in.waiting.Add(-1)
		return errBusy
	case <-ctx.Done():
		in.waiting.Add(-1)
		return ctx.Err()
	}
	in.busy.Add(1)
	defer func() {
		in.busy.Add(-1)
		in.working <- struct{}{}
	}()
	c := in.state.Load()
	took := in.work.Seconds() * math.Exp(0.25*rand.NormFloat64())
	if c.slower > 0 {
		took *= c.slower
	}
	busy := time.NewTimer(time.Duration(took * float64(time.Second)))
	defer busy.Stop()
	select {
	case <-busy.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if rand.Float64() < max(c.fails, usualFailures) {
		return errors.New("failed")
	}
	for _, d := range in.down {
		if err := d.call(ctx); err != nil {
			return err
		}
	}
	return nil
}

// usualFailures is the share of requests that fail on any day.
const usualFailures = 0.002

// caller is a client of a service that spreads its requests over the instances.
type caller struct {
	share float64 // of requests that make a call at all
	to    []*instance
	next  atomic.Uint64
	http  *http.Client
}

func newCaller(share float64, to []*instance) *caller {
	return &caller{share: share, to: to, http: &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	}}
}

func (c *caller) call(ctx context.Context) error {
	if rand.Float64() >= c.share {
		return nil
	}
	to := c.to[c.next.Add(1)%uint64(len(c.to))]
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+to.api.Addr().String()+"/", nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", to.service, resp.Status)
	}
	return nil
}
