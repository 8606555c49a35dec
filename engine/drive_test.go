package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"strconv"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

// feed is an input in order, and how it is driven: the tests of this package
// are about what may change nothing.
type rig struct {
	t       *testing.T
	engine  *Engine
	shards  int
	cfg     Config
	records []Record
	total   Receipt
	trace   []Scored
	tail    []TailPoint
}

func newRig(t *testing.T, cfg Config, shards int) *rig {
	t.Helper()
	e, err := New(cfg, shards)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, engine: e, shards: shards, cfg: cfg}
}

func (r *rig) step(batches ...*Batch) {
	parts := make([]*Effects, r.shards)
	for i, s := range r.engine.Shards() {
		parts[i] = &Effects{}
		s.Step(batches, parts[i])
	}
	var fx Effects
	r.engine.Merge(parts, &fx)
	r.take(&fx)
	for i := range fx.Receipts {
		if got := &fx.Receipts[i]; !got.Balanced() || got.Received != len(batches[i].Samples)+len(batches[i].Histograms) {
			r.t.Fatalf("receipt %+v of a batch of %d samples", got, len(batches[i].Samples))
		}
	}
}

func (r *rig) take(fx *Effects) {
	r.records = append(r.records, fx.Records...)
	r.trace = append(r.trace, fx.Scored...)
	r.tail = append(r.tail, fx.Tail...)
	for i := range fx.Receipts {
		r.total.Add(&fx.Receipts[i])
	}
}

func (r *rig) tick(now int64) {
	parts := make([]*Effects, r.shards)
	for i, s := range r.engine.Shards() {
		parts[i] = &Effects{}
		s.Close(Tick{Now: now}, parts[i])
	}
	var fx Effects
	r.engine.Merge(parts, &fx)
	r.engine.Settle(Tick{Now: now}, &fx)
	r.take(&fx)
	for _, a := range fx.Actions {
		r.event(Performed{Action: a.ID, Result: ResultDone, At: now})
	}
}

func (r *rig) event(ev Event) {
	var fx Effects
	if rec, ok := ev.(Record); ok {
		r.records = append(r.records, rec)
	}
	r.engine.Take(ev, &fx)
	r.take(&fx)
}

// restart writes the whole state and reads it into a fresh engine, with another
// number of shards.
func (r *rig) restart(shards int) {
	r.t.Helper()
	next := newRig(r.t, r.cfg, shards)
	for number := range Partitions {
		p := r.engine.partition(uint8(number))
		for i := uint32(0); int(i)*pageSlots < len(p.slots); i++ {
			r.copyPage(next, PageID{uint8(number), i})
		}
		for i := uint32(0); int(i)*pageGroups < len(p.groups); i++ {
			r.copyPage(next, PageID{uint8(number), groupPages | i})
		}
	}
	b, err := r.engine.AppendSettle(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := next.engine.LoadSettle(b); err != nil {
		r.t.Fatal(err)
	}
	r.engine, r.shards = next.engine, shards
}

func (r *rig) copyPage(next *rig, id PageID) {
	r.t.Helper()
	b, err := r.engine.AppendPage(id, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := next.engine.LoadPage(id, b); err != nil {
		r.t.Fatal(err)
	}
}

// canonical writes the records in canonical order, without what is numbered by
// the order of arrival.
func canonical(records []Record) []string {
	type keyed struct {
		epoch, at int64
		text      string
	}
	var ks []keyed
	for _, rec := range records {
		k := keyed{text: fmt.Sprintf("%T %+v", rec, rec)}
		switch rec := rec.(type) {
		case *Anomaly:
			c := *rec
			c.Series = nil
			k = keyed{rec.Epoch, rec.At, fmt.Sprintf("anomaly %s %+v", rec.Series.Text(), c)}
		case *Incident:
			k = keyed{rec.Epoch, rec.At, fmt.Sprintf("incident %+v", *rec)}
		case Decision:
			k.epoch, k.at = rec.Epoch, rec.At
		case Outcome:
			k.epoch, k.at = rec.Epoch, rec.At
		case ThresholdMove:
			k.epoch, k.at = rec.Epoch, rec.At
		}
		ks = append(ks, k)
	}
	sort.SliceStable(ks, func(a, b int) bool {
		if ks[a].epoch != ks[b].epoch {
			return ks[a].epoch < ks[b].epoch
		}
		if ks[a].at != ks[b].at {
			return ks[a].at < ks[b].at
		}
		return ks[a].text < ks[b].text
	})
	out := make([]string, len(ks))
	for i := range ks {
		out[i] = strconv.FormatInt(ks[i].epoch, 10) + " " + ks[i].text
	}
	return out
}

// shop is a small fleet: gauges, counters with codes and a histogram on several
// instances, scraped every 15 s, with faults planted.
type shop struct {
	rng    *rand.Rand
	naming Naming
	series map[string]*Series
	state  map[string]float64
}

func newShop(seed uint64) *shop {
	return &shop{rng: rand.New(rand.NewPCG(seed, 7)), series: map[string]*Series{}, state: map[string]float64{}}
}

func (s *shop) sample(at int64, v float64, pairs ...string) Sample {
	ls := labels.FromStrings(pairs...)
	key := ls.String()
	if s.series[key] == nil {
		s.series[key] = s.naming.NewSeries(ls, TypeUnknown)
	}
	return Sample{Series: s.series[key], Partition: s.series[key].Partition, At: at, Value: v}
}

func (s *shop) count(at int64, by float64, pairs ...string) Sample {
	key := fmt.Sprint(pairs)
	s.state[key] += by
	return s.sample(at, s.state[key], pairs...)
}

var shopBounds = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, math.Inf(1)}

// scrape is one scrape of one instance. fault is a factor on its latency,
// failed the share of its requests that fail.
func (s *shop) scrape(at int64, job, instance string, fault, failed float64) []Sample {
	n := 300 + 20*s.rng.NormFloat64()
	out := []Sample{
		s.sample(at, 100+5*s.rng.NormFloat64(), "__name__", "queue_depth", "job", job, "instance", instance),
		s.count(at, math.Round(n*(1-failed)), "__name__", "http_requests_total", "code", "200", "job", job, "instance", instance),
		s.count(at, math.Round(n*failed), "__name__", "http_requests_total", "code", "500", "job", job, "instance", instance),
	}
	cum, sum := 0.0, 0.0
	values := make([]float64, 60)
	for i := range values {
		values[i] = 0.05 * fault * math.Exp(0.5*s.rng.NormFloat64())
		sum += values[i]
	}
	sort.Float64s(values)
	for _, b := range shopBounds {
		for int(cum) < len(values) && values[int(cum)] <= b {
			cum++
		}
		le := strconv.FormatFloat(b, 'g', -1, 64)
		out = append(out, s.count(at, cum, "__name__", "http_seconds_bucket", "le", le, "job", job, "instance", instance))
	}
	return append(out,
		s.count(at, 60, "__name__", "http_seconds_count", "job", job, "instance", instance),
		s.count(at, sum, "__name__", "http_seconds_sum", "job", job, "instance", instance))
}
