package loop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"go.uber.org/goleak"

	"github.com/homeostat/homeostat/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a journal that keeps everything in memory and checks what the loop
// promises it.
type memory struct {
	onAppend func(records []engine.Record) error // before anything is kept
	onPages  func(pages []Page) error

	mu      sync.Mutex
	log     []engine.Record
	appends int
	empty   int // appends of nothing
	pages   map[engine.PageID]int
	early   int // pages or settle records as of a sequence that was not durable
	settles int
	bytes   map[engine.PageID][]byte // the last of each page
	settle  []byte
	steps   []int // bytes of each WritePages
}

func (m *memory) Append(records []engine.Record) (uint64, error) {
	if m.onAppend != nil {
		if err := m.onAppend(records); err != nil {
			return 0, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.appends++
	if len(records) == 0 {
		m.empty++
	}
	first := uint64(len(m.log)) + 1
	m.log = append(m.log, records...)
	return first, nil
}

func (m *memory) Last() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.log))
}

func (m *memory) WritePages(asOf uint64, pages []Page) error {
	if m.onPages != nil {
		if err := m.onPages(pages); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pages == nil {
		m.pages = map[engine.PageID]int{}
		m.bytes = map[engine.PageID][]byte{}
	}
	if asOf > uint64(len(m.log)) {
		m.early++
	}
	total := 0
	for _, p := range pages {
		m.pages[p.ID]++
		m.bytes[p.ID] = slices.Clone(p.Bytes)
		total += len(p.Bytes)
	}
	m.steps = append(m.steps, total)
	return nil
}

func (m *memory) WriteSettle(asOf uint64, record []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if asOf > uint64(len(m.log)) {
		m.early++
	}
	m.settles++
	m.settle = slices.Clone(record)
	return nil
}

func (m *memory) records() []engine.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.log)
}

// text is the log, one record a line, for comparing.
func text(records []engine.Record) []string {
	var out []string
	for i, r := range records {
		if a, ok := r.(*engine.Anomaly); ok {
			out = append(out, fmt.Sprintf("%d anomaly %s %+v", i+1, a.Series.Labels, *a))
			continue
		}
		if inc, ok := r.(*engine.Incident); ok {
			out = append(out, fmt.Sprintf("%d incident %+v", i+1, *inc))
			continue
		}
		out = append(out, fmt.Sprintf("%d %T %+v", i+1, r, r))
	}
	return out
}

// kept is a sink that keeps the records and the sequence that each came with.
type kept struct {
	onDeliver func()

	mu      sync.Mutex
	seqs    []uint64
	records []engine.Record
}

func (k *kept) Deliver(first uint64, records []engine.Record) {
	if k.onDeliver != nil {
		k.onDeliver()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, r := range records {
		k.seqs = append(k.seqs, first+uint64(i))
		k.records = append(k.records, r)
	}
}

// tape is a recorder in memory.
type tape struct {
	onRecord func(engine.Event) error

	events []engine.Event
}

func (tp *tape) Record(ev engine.Event) error {
	if tp.onRecord != nil {
		if err := tp.onRecord(ev); err != nil {
			return err
		}
	}
	tp.events = append(tp.events, ev)
	return nil
}

var errDisk = errors.New("the disk is gone")

func newEngine(t testing.TB, shards int) *engine.Engine {
	t.Helper()
	e, err := engine.New(engine.Config{}, shards)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// gauges makes n gauges, each of a workload of its own.
func gauges(n int) []*engine.Series {
	var naming engine.Naming
	out := make([]*engine.Series, n)
	for i := range out {
		out[i] = naming.NewSeries(labels.FromStrings(
			labels.MetricName, "queue_depth", "namespace", "shop", "deployment", fmt.Sprintf("app-%03d", i),
		), engine.TypeGauge)
	}
	return out
}

// start is the time at which the tests' data begin, ms.
const start = 1_700_000_000_000

// batchOf is one sample of each series.
func batchOf(series []*engine.Series, at int64, value func(i int) float64) *engine.Batch {
	b := &engine.Batch{Sender: "test"}
	for i, s := range series {
		b.Samples = append(b.Samples, engine.Sample{Series: s, At: at, Value: value(i), Partition: s.Partition})
	}
	return b
}

// calm is a batch of values near 100.
func calm(series []*engine.Series, at int64, rng *rand.Rand) *engine.Batch {
	return batchOf(series, at, func(int) float64 { return 100 + 5*rng.NormFloat64() })
}

// story makes inputs that hold what a loop may meet: several batches between two
// ticks, spikes that open and close anomalies, labels, undos and answers.
func story(seed uint64, series, rounds int) []engine.Event {
	const every = 15_000
	rng := rand.New(rand.NewPCG(seed, 1))
	fleet := gauges(series)
	var events []engine.Event
	for r := range rounds {
		at := start + int64(r)*every
		b := batchOf(fleet, at, func(i int) float64 {
			v := 100 + 5*rng.NormFloat64()
			if r > rounds/2 && (r+i)%40 < 4 {
				v += 200
			}
			return v
		})
		for len(b.Samples) > 0 {
			n := min(len(b.Samples), 1+rng.IntN(series))
			events = append(events, &engine.Batch{Sender: "test", Samples: b.Samples[:n:n]})
			b.Samples = b.Samples[n:]
		}
		switch rng.IntN(12) {
		case 0:
			s := fleet[rng.IntN(series)]
			events = append(events, engine.Label{
				RequestID: fmt.Sprint("label-", r), Anomaly: engine.AnomalyID(r), Series: s.ID, Partition: s.Partition,
				Judgement: engine.JudgedFalse, By: "someone", At: at,
			})
		case 1:
			events = append(events, engine.Undo{RequestID: fmt.Sprint("undo-", r), Label: fmt.Sprint("label-", r-1), By: "someone", At: at})
		case 2:
			events = append(events, engine.Performed{Action: engine.ActionID(r), Result: engine.ResultDone, At: at})
		}
		for tick := at + 1000; tick < at+every; tick += 1000 + rng.Int64N(6000) {
			events = append(events, engine.Tick{Now: tick})
		}
	}
	return events
}

// live runs a loop while body does, then ends it, and returns Run's error.
func live(l *Loop, body func(ctx context.Context)) error {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	body(ctx)
	cancel()
	return <-ended
}
