package remotewrite

import (
	"github.com/prometheus/prometheus/model/labels"
	"github.com/zeebo/xxh3"

	"github.com/homeostat/homeostat/engine"
)

// entry is one series of a request.
type entry struct {
	key xxh3.Uint128
	// Label bytes in the body or, when spilled, in request.spill (1.0), or
	// references in request.refs (2.0).
	from, to   uint32
	samples    uint32 // where its samples end in request.samples
	histograms uint32 // where its histograms end in request.histograms
	exemplars  uint32
	stale      uint32 // of its samples, those that were stale histograms
	known      *engine.Series
	sender     *replica // when several send the same
	partition  uint8
	reject     Reject
	fate       fate
	declared   engine.Type // 2.0: by the metadata of the series
	spilled    bool
	fresh      bool // known was made by this request
}

// fate is what becomes of the samples of a series.
type fate uint8

const (
	fateTaken   fate = iota
	fateReject       // refused for entry.reject
	fateOwn          // homeostat's own output
	fateReplica      // another replica is elected
)

// symbol is one string of a 2.0 request: body[from:to].
type symbol struct {
	from, to uint32
	hash     xxh3.Uint128
}

// request holds what one request is decoded into. It is used again and again;
// but what is made of histograms is new each time, as the engine may keep it.
type request struct {
	body    []byte // decompressed
	raw     []byte // as received
	entries []entry
	samples []engine.Sample
	spill   []byte
	symbols []symbol
	refs    []uint32
	missing []int32 // entries that the cache does not know, or not well enough
	pairs   []labels.Label
	builder labels.ScratchBuilder
	shape   shape // of the histogram being decoded

	histograms []engine.HistogramSample
	buckets    []engine.Bucket

	tally   tally
	example string // of what was refused, for a person
	batch   engine.Batch
}

// tally counts what one request held and what the handler decided.
type tally struct {
	floats        int // received, as sent: a stale histogram is a histogram
	histograms    int
	exemplars     int
	metadata      int
	startTimes    int
	unsorted      int // series whose labels had to be sorted
	badExemplars  int // refused for their references, or with their series
	badHistograms int // refused for their content
	own           int // samples and histograms absorbed as own output
	replica       int // samples and histograms absorbed as another replica's

	rejected           [NumRejects]int // samples and histograms refused with their series
	rejectedSeries     [NumRejects]int
	rejectedHistograms int // of those refused with their series or for their content
}

// rejectedSum is the number of samples and histograms refused with their series.
func (t *tally) rejectedSum() int {
	n := 0
	for _, r := range t.rejected {
		n += r
	}
	return n
}

// complete says that the handler refused nothing.
func (t *tally) complete() bool {
	return t.badHistograms == 0 && t.badExemplars == 0 && t.rejectedSeries == [NumRejects]int{}
}

func newRequest() *request {
	q := &request{builder: labels.NewScratchBuilder(64)}
	// The strings given to the builder point into the body.
	q.builder.SetUnsafeAdd(true)
	return q
}

// reset forgets the last request and keeps the room.
func (q *request) reset() {
	clear(q.samples) // they hold on to series
	clear(q.entries)
	q.body, q.raw = q.body[:0], q.raw[:0]
	q.entries, q.samples = q.entries[:0], q.samples[:0]
	q.spill, q.symbols, q.refs = q.spill[:0], q.symbols[:0], q.refs[:0]
	q.missing = q.missing[:0]
	q.histograms, q.buckets = nil, nil
	q.tally, q.example, q.batch = tally{}, "", engine.Batch{}
}

// Requests whose buffers grew beyond these are not kept.
const (
	keptBytes   = 8 << 20
	keptEntries = 64 << 10
)

func (q *request) worthKeeping() bool {
	return cap(q.body)+cap(q.raw)+cap(q.spill) <= keptBytes && cap(q.entries) <= keptEntries &&
		cap(q.samples) <= 4*keptEntries && cap(q.symbols) <= 4*keptEntries && cap(q.refs) <= 32*keptEntries
}

// full says that the request holds as many samples as it may. A histogram takes
// more than twice the room of a sample, and the time of ten.
func (q *request) full(l *Limits) bool {
	return len(q.samples)+10*len(q.histograms) >= l.Samples
}

// begins is where the samples and histograms of entry k begin.
func (q *request) begins(k int) (sample, histogram uint32) {
	if k == 0 {
		return 0, 0
	}
	return q.entries[k-1].samples, q.entries[k-1].histograms
}
