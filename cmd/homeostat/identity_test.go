package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/protobuf/encoding/prototext"

	"github.com/homeostat/homeostat/actuators/dryrun"
	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
	"github.com/homeostat/homeostat/engine/wire"
	"github.com/homeostat/homeostat/ingest/remotewrite"
)

// TestIdentity sends the same data through the handler, the queue and the loop
// several times: cut into requests at random, from two senders of which one is
// 30 s behind, some requests refused by a 503 and sent again, on 1, 2 and 7
// shards, with labels and an undo in the middle. The events are the same.
func TestIdentity(t *testing.T) {
	want := traffic{seed: 1, shards: 1}.run(t)
	for _, kind := range []string{
		"KIND_LATENCY_RISE", "KIND_ERROR_RATIO", "KIND_SPIKE", "KIND_DATA_FAULT", "INCIDENT_STATE_CLOSED",
		"REVISION_CLOSED", "threshold_move", `"undo `, "performed", "VERDICT_FALSE_ALARM",
	} {
		if !slices.ContainsFunc(want, func(e string) bool { return strings.Contains(e, kind) }) {
			t.Errorf("the run holds no %s, so that it tests too little", kind)
		}
	}
	for _, tr := range []traffic{
		{seed: 2, shards: 1}, {seed: 3, shards: 1, refuse: 0.2}, {seed: 4, shards: 2, refuse: 0.2}, {seed: 5, shards: 7, refuse: 0.2},
	} {
		t.Run(fmt.Sprintf("shards=%d,seed=%d", tr.shards, tr.seed), func(t *testing.T) {
			if diff := gocmp.Diff(want, tr.run(t)); diff != "" {
				t.Errorf("the events differ (- first run, + this one):\n%.6000s", diff)
			}
		})
	}
}

// traffic is one way to send the same data.
type traffic struct {
	seed   uint64
	shards int
	refuse float64 // share of the requests that a 503 refuses
}

const (
	trafficStep  = 15_000 // ms between scrapes
	trafficTurns = 420
	trafficStart = 1_700_000_000_000
)

// run sends everything and returns the events in canonical order.
func (tr traffic) run(t *testing.T) []string {
	t.Helper()
	var events []string
	synctest.Test(t, func(t *testing.T) {
		e, err := engine.New(engine.Config{}, tr.shards)
		if err != nil {
			t.Fatal(err)
		}
		seen := &collector{}
		var clock atomic.Int64 // ms
		clock.Store(trafficStart)
		l := loop.New(loop.Config{
			Sinks:    []loop.Sink{seen},
			Actuator: dryrun.New(dryrun.Config{Log: slog.New(slog.DiscardHandler)}),
			// An answer bears the time at which it came. The test's clock stands
			// still between two ticks, so that this one thing of the outside world
			// is the same in every run.
			Now: func() time.Time { return time.UnixMilli(clock.Load()) },
			// And so is the order of the answers.
			ActionWorkers: 1,
		}, e, &loop.Numbers{})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(ctx) }()

		cuts, luck := rand.New(rand.NewPCG(tr.seed, 0)), rand.New(rand.NewPCG(tr.seed, 1))
		var mu sync.Mutex
		refused := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return luck.Float64() < tr.refuse
		}
		handler, err := remotewrite.New(
			remotewrite.Config{Busy: func(err error) bool { return errors.Is(err, loop.ErrBusy) }}, e.Naming(),
			func(ctx context.Context, b *engine.Batch) (engine.Receipt, error) {
				if refused() {
					return engine.Receipt{}, loop.ErrBusy
				}
				return l.Submit(ctx, b)
			})
		if err != nil {
			t.Fatal(err)
		}

		for turn := range trafficTurns {
			now := clock.Add(trafficStep)
			var senders sync.WaitGroup
			for s, behind := range []int64{1_000, 30_000} {
				if tr.quiet(s, turn) {
					continue
				}
				requests := tr.cut(cuts, samplesOf(s, turn, now-behind))
				senders.Go(func() {
					for _, r := range requests {
						post(t, handler, s, r)
					}
				})
			}
			senders.Wait()
			// The tick is a barrier: what was sent before it is in, what comes after
			// it is later. Everything between two ticks may come in any order.
			if err := l.Send(ctx, engine.Tick{Now: now}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // the answers of actions are in too
			for _, ev := range seen.said(turn, now) {
				if err := l.Send(ctx, ev); err != nil {
					t.Fatal(err)
				}
			}
		}
		if r := l.Stats().Receipts; !r.Balanced() || r.Received == 0 {
			t.Errorf("the books do not balance: %+v", r)
		}
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		events = seen.canonical(t)
	})
	return events
}

// quiet says when a sender sends nothing.
func (traffic) quiet(sender, turn int) bool { return sender == 1 && turn >= 330 && turn < 370 }

// cut puts the series into requests at random, in a random order.
func (tr traffic) cut(random *rand.Rand, all []prompb.TimeSeries) [][]prompb.TimeSeries {
	if tr.seed == 1 {
		return [][]prompb.TimeSeries{all}
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var requests [][]prompb.TimeSeries
	for len(all) > 0 {
		n := 1 + random.IntN(len(all))
		requests = append(requests, all[:n])
		all = all[n:]
	}
	return requests
}

// post sends a request until it is taken.
func post(t *testing.T, h http.Handler, sender int, series []prompb.TimeSeries) {
	raw, err := (&prompb.WriteRequest{Timeseries: series}).Marshal()
	if err != nil {
		t.Error(err)
		return
	}
	for {
		request := httptest.NewRequest(http.MethodPost, "/api/v1/write", strings.NewReader(string(s2.EncodeSnappy(nil, raw))))
		request.Header.Set("Content-Type", "application/x-protobuf")
		request.Header.Set("Content-Encoding", "snappy")
		request.RemoteAddr = "192.0.2." + strconv.Itoa(1+sender) + ":1000"
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, request)
		switch answer.Code {
		case http.StatusNoContent:
			return
		case http.StatusServiceUnavailable:
			if answer.Header().Get("Retry-After") == "" {
				t.Error("a 503 without Retry-After")
				return
			}
		default:
			t.Errorf("answered %d: %s", answer.Code, answer.Body)
			return
		}
	}
}

// bounds are those of the histograms here.
var bounds = []string{"0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"}

// samplesOf is what a sender sends in a turn: two services of its own and one
// instance of a service that both have, each with a latency histogram, requests
// by code and a gauge.
func samplesOf(sender, turn int, at int64) []prompb.TimeSeries {
	var out []prompb.TimeSeries
	add := func(value float64, pairs ...string) {
		ts := prompb.TimeSeries{Samples: []prompb.Sample{{Timestamp: at, Value: value}}}
		for i := 0; i < len(pairs); i += 2 {
			ts.Labels = append(ts.Labels, prompb.Label{Name: pairs[i], Value: pairs[i+1]})
		}
		slices.SortFunc(ts.Labels, func(a, b prompb.Label) int { return cmp.Compare(a.Name, b.Name) })
		out = append(out, ts)
	}
	for n, job := range []string{"own-" + strconv.Itoa(2*sender), "own-" + strconv.Itoa(2*sender+1), "shared"} {
		instance := "host-" + strconv.Itoa(sender)
		o := observations()[sender][n][turn]
		count := 0.0
		for i, le := range bounds {
			count += o.buckets[i]
			add(count, "__name__", "http_seconds_bucket", "job", job, "instance", instance, "le", le)
		}
		add(o.sum, "__name__", "http_seconds_sum", "job", job, "instance", instance)
		add(count, "__name__", "http_seconds_count", "job", job, "instance", instance)
		add(o.ok, "__name__", "http_requests_total", "job", job, "instance", instance, "code", "200")
		add(o.failed, "__name__", "http_requests_total", "job", job, "instance", instance, "code", "500")
		add(o.gauge, "__name__", "queue_depth", "job", job, "instance", instance)
	}
	return out
}

// observations are the counters by sender, service and turn, counted once.
var observations = sync.OnceValue(func() (all [2][3][trafficTurns]observation) {
	for sender := range all {
		for service := range all[sender] {
			var sum observation
			for turn := range trafficTurns {
				o := observed(sender, service, turn)
				for i := range sum.buckets {
					sum.buckets[i] += o.buckets[i]
				}
				sum.ok, sum.failed, sum.sum, sum.gauge = sum.ok+o.ok, sum.failed+o.failed, sum.sum+o.sum, o.gauge
				all[sender][service][turn] = sum
			}
		}
	}
	return all
})

type observation struct {
	buckets         [9]float64
	ok, failed, sum float64
	gauge           float64
}

// observed is what one service did in one turn, with the faults of the test.
func observed(sender, service, turn int) observation {
	r := rand.New(rand.NewPCG(uint64(sender*10+service), uint64(turn)))
	var o observation
	requests := 300 + r.IntN(30)
	slow := 1.0
	if sender == 0 && service != 1 && turn >= 200 && turn < 215 || sender == 1 && service == 2 && turn >= 204 && turn < 218 {
		slow = 12
	}
	bad := 0.004
	if service == 0 && turn >= 260 && turn < 280 {
		bad = 0.4
	}
	for range requests {
		seconds := 0.03 * math.Exp(0.3*r.NormFloat64()) * slow
		i, _ := slices.BinarySearch([]float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5}, seconds)
		o.buckets[i]++
		o.sum += seconds
		if r.Float64() < bad {
			o.failed++
		} else {
			o.ok++
		}
	}
	o.gauge = 40 + 3*r.NormFloat64()
	if service == 1 && turn%90 == 60+sender {
		o.gauge += 900
	}
	return o
}

// collector keeps the records as they are delivered.
type collector struct {
	mu      sync.Mutex
	records []engine.Record
}

// Deliver keeps the records.
func (c *collector) Deliver(_ uint64, records []engine.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records = append(c.records, records...)
}

// said is what a person says after a turn: of the first anomaly that opened on a
// p99 that it was a false alarm, of the first on a gauge likewise and then that
// this was a mistake, of the first error ratio that it was right.
func (c *collector) said(turn int, now int64) []engine.Event {
	label := func(request string, j engine.Judgement, is func(*engine.Anomaly) bool) []engine.Event {
		c.mu.Lock()
		defer c.mu.Unlock()
		var opened []*engine.Anomaly
		for _, r := range c.records {
			if a, ok := r.(*engine.Anomaly); ok && a.Revision == engine.Opened && is(a) {
				opened = append(opened, a)
			}
		}
		if len(opened) == 0 {
			return nil
		}
		// Several may have opened at one time: the first in canonical order.
		a := slices.MinFunc(opened, func(a, b *engine.Anomaly) int {
			return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.At, b.At), cmp.Compare(a.Series.ID, b.Series.ID))
		})
		return []engine.Event{engine.Label{
			RequestID: request, Anomaly: a.ID, Series: a.Series.ID, Partition: a.Series.Partition, Judgement: j, By: "test", At: now,
		}}
	}
	switch turn {
	case 205:
		return label("latency", engine.JudgedFalse, func(a *engine.Anomaly) bool { return a.Kind == engine.KindLatencyRise })
	case 240:
		return label("gauge", engine.JudgedFalse, func(a *engine.Anomaly) bool { return a.Kind == engine.KindSpike })
	case 270:
		return label("errors", engine.JudgedTrue, func(a *engine.Anomaly) bool { return a.Kind == engine.KindErrorRatio })
	case 300:
		return []engine.Event{engine.Undo{RequestID: "mistake", Label: "gauge", By: "test", At: now}}
	}
	return nil
}

// canonical is the records in canonical order: those under one tick by epoch,
// time, series and kind, and otherwise as they came.
func (c *collector) canonical(t *testing.T) []string {
	t.Helper()
	type line struct {
		tick   int
		place  place
		record string
	}
	var lines []line
	tick := 0
	for _, r := range c.records {
		if _, ok := r.(engine.Tick); ok {
			tick++
		}
		m, err := wire.RecordToProto(r)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line{tick, placeOf(r), prototext.MarshalOptions{Multiline: false}.Format(m)})
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Or(cmp.Compare(a.tick, b.tick), a.place.compare(b.place)) })
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = l.record
	}
	return out
}

// place is where a record of a batch belongs. What a tick causes comes in order
// already, and after what the batches before it caused.
type place struct {
	settled  bool
	epoch    int64
	at       int64
	series   engine.SeriesID
	kind     engine.Kind
	revision engine.Revision
}

func placeOf(r engine.Record) place {
	a, ok := r.(*engine.Anomaly)
	if !ok {
		return place{settled: true}
	}
	return place{epoch: a.Epoch, at: a.At, series: a.Series.ID, kind: a.Kind, revision: a.Revision}
}

func (p place) compare(q place) int {
	if p.settled || q.settled {
		if p.settled == q.settled {
			return 0
		}
		if p.settled {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(p.epoch, q.epoch), cmp.Compare(p.at, q.at), cmp.Compare(p.series, q.series), cmp.Compare(p.kind, q.kind), cmp.Compare(p.revision, q.revision))
}
