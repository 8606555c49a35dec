package loop

import (
	"slices"
	"sync"
	"time"

	"github.com/homeostat/homeostat/engine"
)

// Stats are the figures of a loop since it began. Times are of the ticks, in
// milliseconds, 0 when there was none; durations are by Config.Now.
type Stats struct {
	Batches  uint64         // taken in
	Receipts engine.Receipt // the sum of all receipts, and what the closed epochs derived
	Rounds   uint64

	Queued        int    // batches that wait
	QueuedSamples int    // in them
	QueuedEvents  int    // ticks, labels, undos and answers that wait
	QueuedQueries int    // queries that wait
	BusyBatches   uint64 // batches refused because QueueBatches wait
	BusySamples   uint64 // batches refused because QueueSamples wait
	BusyEvents    uint64 // events and queries refused because QueueEvents wait
	NotAdmitted   uint64 // batches refused by Config.Admit
	Withdrawn     uint64 // what waited when its sender gave up

	Records     uint64        // journaled
	Appends     uint64        // calls of Journal.Append that wrote them
	JournalTime time.Duration // in those calls
	SinkTime    time.Duration // in the sinks; a sink that blocks shows here
	ShardBusy   []time.Duration

	// Detection is how long it took from Submit until the anomalies that a
	// batch opened were durable. It is measured from the first batch of a run
	// that was stepped together, and so is never too small.
	Detection Histogram

	Tick  int64 // in force
	Epoch int64 // the open epoch's start

	Series       int // received and derived, as of the last tick
	Measurements int // kept, as of the last tick
	Deep         int // series that the deep tier looks at, as of the last tick
	DeepRefused  int // series that match and find no room there
	DeepBytes    int // that its state takes

	Sweeps    uint64 // completed
	SweptAt   int64  // when the last one was completed
	SweepPage int    // pages stored in the sweep at hand
	SweepOf   int    // pages in the sweep at hand
	Pages     uint64 // stored
	PageBytes uint64

	ActionsWaiting int // for a worker, or being performed
	ActionsRefused uint64
	ActionsDone    uint64
	ActionsFailed  uint64
	ActionsUnknown uint64
}

// LatencyBounds are the upper bounds of a Histogram's buckets but the last.
var LatencyBounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Histogram counts durations in fixed buckets, not cumulative: Counts[i] are
// those of at most LatencyBounds[i] and more than the bound before, and the
// last are all longer ones.
type Histogram struct {
	Counts [len(LatencyBounds) + 1]uint64
	Sum    time.Duration
}

func (h *Histogram) observe(d time.Duration, n int) {
	i, _ := slices.BinarySearch(LatencyBounds[:], d)
	h.Counts[i] += uint64(n)
	h.Sum += d * time.Duration(n)
}

// counts holds the figures while the loop works. It is locked a few times a
// round and never for a sample.
type counts struct {
	mu    sync.Mutex
	stats Stats
}

func newCounts(shards int) *counts {
	return &counts{stats: Stats{ShardBusy: make([]time.Duration, shards)}}
}

// snapshot is a copy that nobody else holds.
func (c *counts) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.ShardBusy = slices.Clone(s.ShardBusy)
	return s
}

func (c *counts) add(field *uint64, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*field += uint64(n)
}

func (c *counts) journaled(records int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Records += uint64(records)
	c.stats.Appends++
	c.stats.JournalTime += took
}

func (c *counts) delivered(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.SinkTime += took
}

func (c *counts) performed(r engine.Result) {
	switch r {
	case engine.ResultDone:
		c.add(&c.stats.ActionsDone, 1)
	case engine.ResultFailed:
		c.add(&c.stats.ActionsFailed, 1)
	default:
		c.add(&c.stats.ActionsUnknown, 1)
	}
}
