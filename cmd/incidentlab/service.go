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

// instance is one process of a service: servers, a registry, a pool and memory
// of its own.
type instance struct {
	service, version string
	number           int
	work             time.Duration // median time that a request takes here, downstream apart
	pool             int           // workers
	down             []*caller

	state   atomic.Pointer[settings]
	meter   meter
	metrics http.Handler

	working   chan struct{} // a place for each worker that is free
	lost      chan struct{} // places taken away from working, to give back
	shrinking chan struct{} // holds a place for who changes how many are lost
	workers   atomic.Int64  // that the pool is to have
	busy      atomic.Int64  // workers
	waiting   atomic.Int64

	kept      [][]byte
	keptBytes int64
	buffers   sync.Pool // of requests

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
	requestBytes = 128 << 10 // that a request holds while it is inside
	limitBytes   = 64 << 20
	maxWait      = 2 * time.Second // for a worker, then the request fails
)

// newInstance is an instance as it begins, that nobody can reach yet.
func newInstance(s spec) *instance {
	in := &instance{service: s.Service, version: s.Version, number: s.Number, work: s.Work, pool: s.Pool}
	for _, r := range s.Down {
		in.down = append(in.down, newCaller(r))
	}
	in.working = make(chan struct{}, s.Pool)
	in.lost = make(chan struct{}, s.Pool)
	in.shrinking = make(chan struct{}, 1)
	for range s.Pool {
		in.working <- struct{}{}
	}
	in.workers.Store(int64(s.Pool))
	in.state.Store(&settings{})
	in.buffers.New = func() any {
		b := make([]byte, requestBytes)
		return &b
	}
	in.measure()
	return in
}

// listen starts its servers on loopback; stop ends them.
func (in *instance) listen(api, scrape string) (err error) {
	if in.api, err = listenAt(api); err != nil {
		return err
	}
	if in.scrape, err = listenAt(scrape); err != nil {
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

// stop lets it finish what is inside, as a service does that is asked to end,
// and ends its servers and its connections to others.
func (in *instance) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), maxWait)
	defer cancel()
	for _, s := range in.servers {
		if s.Shutdown(ctx) != nil {
			s.Close()
		}
	}
	in.serving.Wait()
	for _, d := range in.down {
		d.http.CloseIdleConnections()
	}
}

// podHashes are what the ReplicaSet of each version puts into its pods' names.
var podHashes = map[string]string{"v1": "7d9c5b6f4d", "v2": "5f8b6c9d7c"}

// podName is what Kubernetes would call an instance.
func (in *instance) podName() string {
	return fmt.Sprintf("%s-%s-%s2mtv", in.service, podHashes[in.version], string("xkqzw"[in.number]))
}

// measure makes what it tells of itself.
func (in *instance) measure() {
	r := prometheus.NewRegistry()
	wrapped := prometheus.WrapRegistererWith(prometheus.Labels{"pod": in.podName()}, r)
	in.meter = meter{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total", Help: "Requests answered."}, []string{"code"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "http_request_duration_seconds", Help: "Time to answer.", Buckets: []float64{.01, .025, .1, .25, 1},
		}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "shop_build_info", Help: "The version that runs.", ConstLabels: prometheus.Labels{"version": in.version},
	})
	info.Set(1)
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	held := func() float64 {
		v, _ := heldBytes() // it could be read when the instance began
		return v
	}
	wrapped.MustRegister(in.meter.requests, in.meter.seconds, info,
		gauge("container_memory_working_set_bytes", "Bytes that the instance holds.", held),
		gauge("container_spec_memory_limit_bytes", "Bytes that it may hold.", func() float64 { return limitBytes }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "container_cpu_usage_seconds_total", Help: "Processor time used."}, usedSeconds),
		gauge("shop_pool_in_use", "Workers that work.", func() float64 { return float64(in.busy.Load()) }),
		gauge("shop_pool_waiting", "Requests that wait for a worker.", func() float64 { return float64(in.waiting.Load()) }),
	)
	for _, code := range []string{"200", "500"} {
		in.meter.requests.WithLabelValues(code)
	}
	in.metrics = promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

func (in *instance) answerScrape(w http.ResponseWriter, r *http.Request) {
	if in.state.Load().Mute {
		// The connection ends without an answer.
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			c.Close()
		}
		return
	}
	in.metrics.ServeHTTP(w, r)
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
	held := in.buffers.Get().(*[]byte)
	defer in.buffers.Put(held)
	touched(*held)
	code := http.StatusOK
	if err := in.answer(r.Context()); err != nil {
		code = http.StatusInternalServerError
	}
	in.meter.seconds.Observe(time.Since(began).Seconds())
	in.meter.requests.WithLabelValues(strconv.Itoa(code)).Inc()
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
	if c.Slower > 0 {
		took *= c.Slower
	}
	busy := time.NewTimer(time.Duration(took * float64(time.Second)))
	defer busy.Stop()
	select {
	case <-busy.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if rand.Float64() < max(c.Fails, usualFailures) {
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
	route
	next atomic.Uint64
	http *http.Client
}

func newCaller(r route) *caller {
	return &caller{route: r, http: &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	}}
}

// call asks one instance, and when that one cannot be reached the next: so do
// the services of Kubernetes, from which a pod that ends is taken out first.
func (c *caller) call(ctx context.Context) error {
	if rand.Float64() >= c.Share {
		return nil
	}
	n := c.next.Add(1)
	for tries := 0; ; tries++ {
		to := c.To[(n+uint64(tries))%uint64(len(c.To))]
		err := c.ask(ctx, to)
		if dial := (*net.OpError)(nil); tries > 0 || !errors.As(err, &dial) || dial.Op != "dial" {
			return err
		}
	}
}

func (c *caller) ask(ctx context.Context, to string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+to+"/", nil)
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
		return fmt.Errorf("%s: %s", to, resp.Status)
	}
	return nil
}
