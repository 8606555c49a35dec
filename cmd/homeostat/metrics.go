package main

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
	"github.com/homeostat/homeostat/ingest/remotewrite"
	"github.com/homeostat/homeostat/store"
)

// figures collects what the loop and the receiver count. The books balance in
// each scrape: received = scored + absorbed + rejected, by protocol.
type figures struct {
	loop  *loop.Loop
	write *remotewrite.Handler
	tail  *store.Tail // nil for none
}

var (
	descSamples    = prometheus.NewDesc("homeostat_ingest_samples_total", "Samples and histograms, by what became of them.", []string{"protocol", "outcome"}, nil)
	descAbsorbed   = prometheus.NewDesc("homeostat_ingest_absorbed_total", "Samples that did their work without a score.", []string{"reason"}, nil)
	descRejected   = prometheus.NewDesc("homeostat_ingest_rejected_total", "Samples refused.", []string{"reason"}, nil)
	descRequests   = prometheus.NewDesc("homeostat_ingest_requests_total", "Requests with headers of a protocol.", []string{"protocol"}, nil)
	descRefused    = prometheus.NewDesc("homeostat_ingest_refused_requests_total", "Requests of which nothing was taken, by why.", []string{"reason"}, nil)
	descPartial    = prometheus.NewDesc("homeostat_ingest_partial_requests_total", "Requests answered by 400 of which the valid part was taken.", nil, nil)
	descBeside     = prometheus.NewDesc("homeostat_ingest_beside_samples_total", "What requests hold beside float samples and is accepted: native histograms (samples too), exemplars, metadata, start times.", []string{"protocol", "kind"}, nil)
	descFailovers  = prometheus.NewDesc("homeostat_ingest_replica_failovers_total", "Another replica of a cluster was elected.", nil, nil)
	descCacheBytes = prometheus.NewDesc("homeostat_ingest_cache_bytes", "Bytes of the cache of known series.", nil, nil)
	descQueueFull  = prometheus.NewDesc("homeostat_queue_refused_total", "What was refused because the queue or the disk was full, by which bound.", []string{"bound"}, nil)
	descDeferred   = prometheus.NewDesc("homeostat_ingest_deferred_total", "Samples put off by a 503; they come again.", nil, nil)
	descLate       = prometheus.NewDesc("homeostat_ingest_late_samples_total", "Samples older than the open epoch; counted otherwise too.", nil, nil)
	descScored     = prometheus.NewDesc("homeostat_scored_samples_total", "Measurements scored, by whether they were received or derived.", []string{"origin"}, nil)
	descHeld       = prometheus.NewDesc("homeostat_floor_held_points_total", "Points that would have opened an anomaly and deviate less than the floor of their series.", nil, nil)
	descSeries     = prometheus.NewDesc("homeostat_series_active", "Series received and derived.", nil, nil)
	descDeep       = prometheus.NewDesc("homeostat_deep_series", "Series that the deep tier looks at.", nil, nil)
	descDeepNoRoom = prometheus.NewDesc("homeostat_deep_refused_series", "Series that match detection.deep and find no room in its max_bytes.", nil, nil)
	descDeepBytes  = prometheus.NewDesc("homeostat_deep_bytes", "State of the deep tier, of its max_bytes.", nil, nil)
	descLatency    = prometheus.NewDesc("homeostat_detection_latency_seconds", "From a batch's arrival until its anomalies were durable.", nil, nil)
	descCheckpoint = prometheus.NewDesc("homeostat_checkpoint_age_seconds", "Age of the last complete sweep, in the time of the ticks.", nil, nil)
	descActions    = prometheus.NewDesc("homeostat_actions_total", "Actions performed.", []string{"kind", "result"}, nil)
	descQueue      = prometheus.NewDesc("homeostat_queue_batches", "Batches that wait to be scored.", nil, nil)
	descTail       = prometheus.NewDesc("homeostat_tail_points_total", "Points of the tail log, by whether they were kept or lost.", []string{"outcome"}, nil)
	descTailGaps   = prometheus.NewDesc("homeostat_tail_gaps_total", "Stretches of lost points in the tail log, and beginnings after a crash.", nil, nil)
	descTailBytes  = prometheus.NewDesc("homeostat_tail_bytes", "Tail log on disk, of storage.tail_bytes.", nil, nil)
	descBuild      = prometheus.NewDesc("homeostat_build_info", "What was built.", []string{"version", "goversion"}, nil)
)

func newRegistry(f *figures) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(f, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Describe lists the metrics.
func (f *figures) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descRequests, descRefused, descPartial, descBeside, descFailovers, descCacheBytes, descQueueFull, descSamples, descAbsorbed, descRejected, descDeferred, descLate, descScored, descHeld, descSeries, descDeep, descDeepNoRoom, descDeepBytes, descLatency, descCheckpoint, descActions,
		descQueue, descTail, descTailGaps, descTailBytes, descBuild,
	} {
		ch <- d
	}
}

// Collect reads the figures.
func (f *figures) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(descCacheBytes, float64(f.books(counter).CachedBytes))
	st := f.loop.Stats()
	counter(descScored, uint64(st.Receipts.Scored), "received")
	counter(descScored, uint64(st.Receipts.Derived), "derived")
	counter(descHeld, uint64(st.Receipts.Held))
	gauge(descSeries, float64(st.Series))
	gauge(descDeep, float64(st.Deep))
	gauge(descDeepNoRoom, float64(st.DeepRefused))
	gauge(descDeepBytes, float64(st.DeepBytes))
	gauge(descQueue, float64(st.Queued))
	counter(descQueueFull, st.BusyBatches, "batches")
	counter(descQueueFull, st.BusySamples, "samples")
	counter(descQueueFull, st.BusyEvents, "events")
	counter(descQueueFull, st.NotAdmitted, "disk")
	gauge(descCheckpoint, float64(st.Tick-max(st.SweptAt, 0))/1000*boolFloat(st.SweptAt > 0))
	counter(descActions, st.ActionsDone, "notify", engine.ResultDone.String())
	counter(descActions, st.ActionsFailed, "notify", engine.ResultFailed.String())
	counter(descActions, st.ActionsUnknown, "notify", engine.ResultUnknown.String())
	buckets := map[float64]uint64{}
	var total uint64
	for i, n := range st.Detection.Counts {
		total += n
		if i < len(loop.LatencyBounds) {
			buckets[loop.LatencyBounds[i].Seconds()] = total
		}
	}
	ch <- prometheus.MustNewConstHistogram(descLatency, total, st.Detection.Sum.Seconds(), buckets)
	if f.tail != nil {
		st := f.tail.Stats()
		counter(descTail, st.Points, "kept")
		counter(descTail, st.Lost, "lost")
		counter(descTailGaps, st.Gaps)
		gauge(descTailBytes, float64(st.Bytes))
	}
	gauge(descBuild, 1, versionOf(), runtime.Version())
}

func boolFloat(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// books are the counters of the receiver.
func (f *figures) books(counter func(*prometheus.Desc, uint64, ...string)) remotewrite.Stats {
	st := f.write.Stats()
	reasons := map[string]uint64{}
	rejected := map[string]uint64{}
	var deferred, late uint64
	for i := range st.Protocols {
		c := &st.Protocols[i]
		name := remotewrite.Protocol(i).String()
		counter(descRequests, c.Requests, name)
		counter(descBeside, c.Histograms, name, "histogram")
		counter(descBeside, c.Exemplars, name, "exemplar")
		counter(descBeside, c.Metadata, name, "metadata")
		counter(descBeside, c.StartTimes, name, "start_time")
		counter(descSamples, c.Received, name, "received")
		counter(descSamples, c.Scored, name, "scored")
		counter(descSamples, c.Absorbed(), name, "absorbed")
		counter(descSamples, c.Refused(), name, "rejected")
		for r := engine.Reason(1); r < engine.NumReasons; r++ {
			if r.Rejects() {
				rejected[r.String()] += c.Reasons[r]
			} else {
				reasons[r.String()] += c.Reasons[r]
			}
		}
		reasons["replica"] += c.Replica
		for r := remotewrite.Reject(1); r < remotewrite.NumRejects; r++ {
			rejected["series_"+r.String()] += c.Rejected[r]
		}
		deferred += c.Deferred
		late += c.Late
	}
	for r, n := range reasons {
		counter(descAbsorbed, n, r)
	}
	for r, n := range rejected {
		counter(descRejected, n, r)
	}
	for r := remotewrite.Refusal(1); r < remotewrite.NumRefusals; r++ {
		counter(descRefused, st.Refused[r], r.String())
	}
	counter(descPartial, st.Partial)
	counter(descFailovers, st.Failovers)
	counter(descDeferred, deferred)
	counter(descLate, late)
	return st
}
