package engine

import (
	"fmt"
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

// What becomes of one sample, by what came before it.

var staleNaN = math.Float64frombits(value.StaleNaN)

// reasonOf takes one sample in and says what became of it.
func (r *rig) reasonOf(x Sample) Reason {
	r.t.Helper()
	before := r.total
	r.step(&Batch{Sender: "p", Samples: []Sample{x}})
	return r.told(before)
}

func (r *rig) told(before Receipt) Reason {
	r.t.Helper()
	for reason := range NumReasons {
		if r.total.Reasons[reason] == before.Reasons[reason]+1 {
			return reason
		}
	}
	if r.total.Scored != before.Scored+1 {
		r.t.Fatalf("neither scored nor counted: %+v", r.total)
	}
	return ReasonNone
}

func TestEverySampleIsAccountedForByWhatItIs(t *testing.T) {
	const tick = shopStart + 100_000
	gauge := []string{"__name__", "depth", "job", "a"}
	count := []string{"__name__", "done_total", "job", "a"}
	bucket := []string{"__name__", "lat_bucket", "le", "1", "job", "a"}
	for _, c := range []struct {
		name   string
		pairs  []string
		before []Sample // At and Value only, relative to shopStart
		at     int64
		v      float64
		want   Reason
	}{
		{"a gauge is scored", gauge, nil, 0, 1, ReasonNone},
		{"zero is a value", gauge, nil, 0, 0, ReasonNone},
		{"the same time and value again are a repeat", gauge, []Sample{{At: 0, Value: 1}}, 0, 1, ReasonRepeat},
		{"the same time and another value are a duplicate", gauge, []Sample{{At: 0, Value: 1}}, 0, 2, ReasonDuplicate},
		{"0 and −0 are not the same value", gauge, []Sample{{At: 0, Value: 0}}, 0, math.Copysign(0, -1), ReasonDuplicate},
		{"an older time is out of order", gauge, []Sample{{At: 1000, Value: 1}}, 999, 1, ReasonOutOfOrder},
		{"a late time is taken when it is the series' newest", gauge, nil, -3_600_000, 1, ReasonNone},
		{"before 1970", gauge, nil, -shopStart - 1, 1, ReasonTooOld},
		{"1970", gauge, nil, -shopStart, 1, ReasonNone},
		{"as far ahead as may be", gauge, nil, 100_000 + 600_000, 1, ReasonNone},
		{"further ahead", gauge, nil, 100_000 + 600_001, 1, ReasonTooNew},
		{"the end of time", gauge, nil, math.MaxInt64 - shopStart, 1, ReasonTooNew},
		{"the beginning of time", gauge, nil, math.MinInt64, 1, ReasonTooOld},
		{"NaN is no value", gauge, nil, 0, math.NaN(), ReasonNotFinite},
		{"infinity is no value", gauge, nil, 0, math.Inf(1), ReasonNotFinite},
		{"minus infinity is no value", gauge, nil, 0, math.Inf(-1), ReasonNotFinite},
		{"a stale marker of an unknown series", gauge, nil, 0, staleNaN, ReasonStale},
		{"a stale marker ends a series", gauge, []Sample{{At: 0, Value: 1}}, 1000, staleNaN, ReasonStale},
		{"a stale marker twice", gauge, []Sample{{At: 0, Value: 1}, {At: 1000, Value: staleNaN}}, 1000, staleNaN, ReasonRepeat},
		{"a value at the time of a stale marker", gauge, []Sample{{At: 0, Value: 1}, {At: 1000, Value: staleNaN}}, 1000, 1, ReasonDuplicate},
		{"a counter's first value", count, nil, 0, 5, ReasonFirst},
		{"a counter's second", count, []Sample{{At: 0, Value: 5}}, 15_000, 6, ReasonNone},
		{"a counter that stands still", count, []Sample{{At: 0, Value: 5}}, 15_000, 5, ReasonNone},
		{"a counter's reset", count, []Sample{{At: 0, Value: 5}}, 15_000, 4, ReasonReset},
		{"a counter after its reset", count, []Sample{{At: -15_000, Value: 5}, {At: 0, Value: 1}}, 15_000, 4, ReasonNone},
		{"a counter after the longest gap", count, []Sample{{At: -200_000, Value: 5}}, 100_000, 6, ReasonNone},
		{"a counter after a longer one", count, []Sample{{At: -200_001, Value: 5}}, 100_000, 6, ReasonFirst},
		{"a counter that ended and began again", count, []Sample{{At: 0, Value: 5}, {At: 15_000, Value: staleNaN}}, 30_000, 6, ReasonFirst},
		{"a bucket feeds what is derived", bucket, nil, 90_000, 5, ReasonBucket},
		{"own output would feed back", []string{"__name__", "homeostat_score_x"}, nil, 0, 1, ReasonOwnOutput},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, s := newRig(t, Config{}, 2), newShop(1)
			r.tick(tick)
			for _, b := range c.before {
				r.reasonOf(s.sample(shopStart+b.At, b.Value, c.pairs...))
			}
			if got := r.reasonOf(s.sample(shopStart+c.at, c.v, c.pairs...)); got != c.want {
				t.Errorf("counts as %v, want %v", got, c.want)
			}
			if _, now := r.engine.Open(); now != tick {
				t.Errorf("the tick was moved to %d", now)
			}
		})
	}
}

// What is refused leaves nothing behind: the next honest sample of the series is
// taken as if nothing had been.
func TestARefusedSampleLeavesNothingBehind(t *testing.T) {
	r, s := newRig(t, Config{}, 1), newShop(1)
	pairs := []string{"__name__", "depth", "job", "a"}
	r.tick(shopStart)
	for _, x := range []struct {
		at int64
		v  float64
	}{{maxTime, 1}, {math.MaxInt64, 1}, {shopStart + 700_000, 1}, {-1, 1}, {shopStart, math.NaN()}, {shopStart, math.Inf(1)}, {shopStart, staleNaN}} {
		r.reasonOf(s.sample(x.at, x.v, pairs...))
	}
	if n, _ := r.engine.Size(); n != 0 {
		t.Errorf("%d series were made", n)
	}
	r.tick(shopStart + 1000)
	if n, _ := r.engine.Size(); n != 0 {
		t.Errorf("%d series were made", n)
	}
	if got := r.reasonOf(s.sample(shopStart, 1, pairs...)); got != ReasonNone {
		t.Errorf("the honest one counts as %v", got)
	}
	for range 3 {
		r.reasonOf(s.sample(math.MaxInt64, 2, pairs...))
		r.reasonOf(s.sample(shopStart, 2, pairs...))
	}
	if got := r.reasonOf(s.sample(shopStart+15_000, 1, pairs...)); got != ReasonNone {
		t.Errorf("the next one counts as %v", got)
	}
}

func TestSeriesBeyondTheLimitAreRefusedAndTheOthersGoOn(t *testing.T) {
	for _, shards := range []int{1, 2, 7} {
		r, s := newRig(t, Config{MaxSeries: 10}, shards), newShop(1)
		r.tick(shopStart)
		one := func(n int, at int64) Reason {
			return r.reasonOf(s.sample(at, 1, "__name__", "depth", "job", fmt.Sprint(n)))
		}
		for n := range 10 {
			if got := one(n, shopStart); got != ReasonNone {
				t.Fatalf("%d shards: series %d counts as %v", shards, n, got)
			}
		}
		r.tick(shopStart + 1000)
		if got := one(10, shopStart); got != ReasonSeriesLimit {
			t.Errorf("%d shards: one more counts as %v", shards, got)
		}
		if got := one(3, shopStart+15_000); got != ReasonNone {
			t.Errorf("%d shards: a known one counts as %v", shards, got)
		}
		r.restart(3)
		if got := one(10, shopStart); got != ReasonSeriesLimit {
			t.Errorf("%d shards: after a restart one more counts as %v", shards, got)
		}
		if got := one(3, shopStart+30_000); got != ReasonNone {
			t.Errorf("%d shards: after a restart a known one counts as %v", shards, got)
		}
	}
}

func TestASecondSeriesWithAnIDIsRefused(t *testing.T) {
	r, s := newRig(t, Config{}, 1), newShop(1)
	first := s.sample(shopStart, 1, "__name__", "depth", "job", "a")
	other := *first.Series
	other.Labels = labels.FromStrings("__name__", "depth", "job", "b")
	r.reasonOf(first)
	x := first
	x.Series, x.At = &other, shopStart+1000
	if got := r.reasonOf(x); got != ReasonCollision {
		t.Errorf("counts as %v", got)
	}
	first.At += 2000
	if got := r.reasonOf(first); got != ReasonNone {
		t.Errorf("and the first one then as %v", got)
	}
}

// What comes after its time was closed can't join any more: it is told, and the
// next time is whole again.
func TestABucketThatComesTooLateIsCounted(t *testing.T) {
	r, s := newRig(t, Config{}, 1), newShop(1)
	bucket := func(le string, at int64, v float64) Reason {
		return r.reasonOf(s.sample(at, v, "__name__", "lat_bucket", "le", le, "job", "a"))
	}
	r.tick(shopStart)
	bucket("1", shopStart, 5)
	bucket("+Inf", shopStart, 6)
	r.tick(shopStart + 15_000)
	if got := bucket("1", shopStart+15_000, 9); got != ReasonBucket {
		t.Errorf("on time: %v", got)
	}
	r.tick(shopStart + 40_000) // closes what was gathered for 15 s
	if got := bucket("+Inf", shopStart+15_000, 12); got != ReasonLateJoin {
		t.Errorf("after the close: %v", got)
	}
	if got := bucket("1", shopStart+45_000, 12); got != ReasonBucket {
		t.Errorf("the next time: %v", got)
	}
}

// shapeAt is a native histogram of log-normal latencies, cumulative over time:
// n observations a turn around a median, in buckets of the schema's width.
type shapeAt struct {
	series *Series
	counts map[int]float64
	total  float64
	sum    float64
}

func (h *shapeAt) observe(n int, median float64) {
	for i := range n {
		v := median * math.Exp(0.3*normalQuantile((float64(i)+0.5)/float64(n)))
		h.counts[int(math.Ceil(math.Log(v)/math.Log(nativeBase)))]++
		h.total++
		h.sum += v
	}
}

const nativeBase = 1.0905077326652577 // schema 3: 2^(1/8)

func (h *shapeAt) sample(at int64) HistogramSample {
	out := HistogramSample{Series: h.series, At: at, Count: h.total, Sum: h.sum}
	low, high := math.MaxInt, math.MinInt
	for k := range h.counts {
		low, high = min(low, k), max(high, k)
	}
	for k := low; k <= high; k++ {
		if n := h.counts[k]; n > 0 {
			out.Buckets = append(out.Buckets, Bucket{Lower: math.Pow(nativeBase, float64(k-1)), Upper: math.Pow(nativeBase, float64(k)), Count: n})
		}
	}
	return out
}

// normalQuantile is that of the standard normal distribution, by bisection.
func normalQuantile(p float64) float64 {
	lo, hi := -8.0, 8.0
	for range 60 {
		mid := (lo + hi) / 2
		if 0.5*math.Erfc(-mid/math.Sqrt2) < p {
			lo = mid
		} else {
			hi = mid
		}
	}
	return (lo + hi) / 2
}

func (r *rig) histogram(h HistogramSample) Reason {
	r.t.Helper()
	before := r.total
	r.step(&Batch{Sender: "p", Histograms: []HistogramSample{h}})
	return r.told(before)
}

// A native histogram is scored by its rate and its quantiles; it is never scored
// itself, and a latency that rises is found on the p99.
func TestANativeHistogramIsScoredByRateAndQuantiles(t *testing.T) {
	for _, restartAt := range []int{-1, 150} {
		r, s := newRig(t, Config{Trace: true}, 2), newShop(1)
		h := &shapeAt{series: s.sample(0, 0, "__name__", "http_seconds", "job", "api").Series, counts: map[int]float64{}}
		for n := range 260 {
			at := shopStart + int64(n)*15_000
			median := 0.08
			if n >= 240 {
				median = 0.4
			}
			h.observe(97+n%7, median)
			want := ReasonBucket
			if n == 0 {
				want = ReasonFirst
			}
			if got := r.histogram(h.sample(at)); got != want {
				t.Fatalf("turn %d counts as %v, want %v", n, got, want)
			}
			if got := r.histogram(h.sample(at)); got != ReasonRepeat {
				t.Fatalf("turn %d again counts as %v", n, got)
			}
			r.tick(at + 1000)
			if n == restartAt {
				r.restart(3)
			}
		}
		seen := map[string]float64{}
		for _, x := range r.trace {
			if x.At == shopStart+200*15_000 {
				seen[x.Series.Labels.Get("__name__")] = x.Value
			}
		}
		for name, about := range map[string]float64{
			"http_seconds:p50": 0.08, "http_seconds:p99": 0.08 * math.Exp(0.3*2.326), "http_seconds:rate": 100.0 / 15,
		} {
			if got := seen[name]; math.Abs(got-about) > 0.06*about {
				t.Errorf("restart at %d: %s is %.4g, want about %.4g", restartAt, name, got, about)
			}
		}
		if len(seen) != 3 {
			t.Errorf("restart at %d: scored %v, want three measurements", restartAt, seen)
		}
		a := firstAnomaly(r.records, KindLatencyRise)
		if a == nil || a.OpenedAt < shopStart+240*15_000 || a.OpenedAt > shopStart+243*15_000 {
			t.Errorf("restart at %d: the rise of the latency is %+v", restartAt, a)
		}
		for _, rec := range r.records {
			if x, ok := rec.(*Anomaly); ok && x.OpenedAt < shopStart+240*15_000 {
				t.Errorf("restart at %d: a false alarm: %+v", restartAt, x)
			}
		}
	}
}

func TestANativeHistogramBeginsAnewWhenItsCountersDo(t *testing.T) {
	r, s := newRig(t, Config{Trace: true}, 1), newShop(1)
	series := s.sample(0, 0, "__name__", "http_seconds", "job", "api").Series
	h := &shapeAt{series: series, counts: map[int]float64{}}
	at := shopStart
	next := func(want Reason, why string) {
		t.Helper()
		at += 15_000
		h.observe(100, 0.08)
		r.tick(at)
		if got := r.histogram(h.sample(at)); got != want {
			t.Errorf("%s: counts as %v, want %v", why, got, want)
		}
	}
	next(ReasonFirst, "the first")
	next(ReasonBucket, "the second")
	h.counts, h.total, h.sum = map[int]float64{}, 0, 0
	next(ReasonReset, "after a restart of the program")
	next(ReasonBucket, "the one after that")
	at += 301_000
	next(ReasonFirst, "after a gap")
	next(ReasonBucket, "the one after that")
	at += 1000
	if got := r.reasonOf(Sample{Series: series, Partition: series.Partition, At: at, Value: staleNaN}); got != ReasonStale {
		t.Errorf("a stale marker counts as %v", got)
	}
	next(ReasonFirst, "after it ended")
	if got := r.reasonOf(Sample{Series: series, Partition: series.Partition, At: at + 1, Value: 3}); got != ReasonHistogram {
		t.Errorf("a float where a histogram was counts as %v", got)
	}
	for _, x := range r.trace {
		if name := x.Series.Labels.Get("__name__"); name == "http_seconds:rate" && (x.Value < 0 || x.Value > 10) {
			t.Errorf("a rate of %v at %d: the reset was taken for requests", x.Value, x.At-shopStart)
		}
	}
}

// Classic buckets come to the same quantiles as Prometheus would say, across a
// reset and with a bucket that is missing once.
func TestAClassicHistogramIsScoredByItsQuantiles(t *testing.T) {
	r, s := newRig(t, Config{Trace: true}, 1), newShop(3)
	for n := range 40 {
		at := shopStart + int64(n)*15_000
		if n == 20 {
			s.state = map[string]float64{} // the program restarts
		}
		r.deliver(s.scrape(at, "api", "a:80", 1, 0), nil)
		r.tick(at + 14_000)
	}
	p50s := 0
	for _, x := range r.trace {
		if x.Series.Labels.Get("__name__") != "http_seconds:p50" {
			continue
		}
		p50s++
		if x.Value < 0.03 || x.Value > 0.08 {
			t.Errorf("a median of %v at turn %d, want about 0.05", x.Value, (x.At-shopStart)/15_000)
		}
	}
	// Not the first time and not the reset.
	if p50s != 38 {
		t.Errorf("%d medians were scored, want 38", p50s)
	}
}

// A sender that cannot make up its mind about a type takes no more room for it.
func TestATypeThatChangesToAndFroJoinsOnce(t *testing.T) {
	r, s := newRig(t, Config{}, 1), newShop(1)
	x := s.sample(shopStart, 1, "__name__", "http_requests_total", "code", "200", "job", "a")
	for n := range 50 {
		c := *x.Series
		c.Type = []Type{TypeCounter, TypeGauge}[n%2]
		x.Series, x.At, x.Value = &c, x.At+15_000, x.Value+10
		r.reasonOf(x)
		r.tick(x.At)
	}
	p := r.engine.partition(x.Partition)
	if len(p.groups) != 1 || len(p.groups[0].members) != 1 {
		t.Errorf("%d groups, the first with %d members, want one of one", len(p.groups), len(p.groups[0].members))
	}
}
