package engine

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fleet is the pods of one deployment, each scraped every 15 s at a time of its
// own, behind a balancer that gives each that serves the same share.
type fleet struct {
	*rig
	s      *shop
	second int64 // since shopStart
	pods   []*fleetPod
	load   float64 // requests a second, of all together
	cut    *rand.Rand
	tick   func(second int64) bool // whether the clock ticks at a second
}

type fleetPod struct {
	name    string
	phase   int64 // second of the scrape within its interval
	serves  bool
	mute    bool // its scrapes fail
	markers bool // and Prometheus says so
	seen    bool
	count   float64
	sender  string
}

func newFleet(t *testing.T, pods int, load float64) *fleet {
	f := &fleet{rig: newRig(t, Config{Trace: true}, 1), s: newShop(1), load: load, tick: func(int64) bool { return true }}
	for n := range pods {
		f.add(fmt.Sprintf("api-%d", n), int64(n*7%15))
	}
	return f
}

func (f *fleet) add(name string, phase int64) *fleetPod {
	p := &fleetPod{name: name, phase: phase, serves: true, sender: "p"}
	f.pods = append(f.pods, p)
	return p
}

// run lets seconds pass.
func (f *fleet) run(seconds int64) {
	waiting := map[string][]Sample{}
	for range seconds {
		f.second++
		at := shopStart + f.second*1000
		serving := 0
		for _, p := range f.pods {
			if p.serves {
				serving++
			}
		}
		for _, p := range f.pods {
			if p.serves {
				p.count += f.load / float64(serving)
			}
			if f.second%15 != p.phase {
				continue
			}
			x := f.s.sample(at, p.count, "__name__", "http_requests_total", "code", "200", "namespace", "shop", "deployment", "api", "pod", p.name)
			switch {
			case p.serves && !p.mute:
				p.seen = true
				waiting[p.sender] = append(waiting[p.sender], x)
			case p.seen && p.markers:
				p.seen = false
				x.Value = staleNaN
				waiting[p.sender] = append(waiting[p.sender], x)
			}
		}
		if f.tick(f.second) {
			for _, sender := range slices.Sorted(maps.Keys(waiting)) {
				f.deliverFrom(sender, waiting[sender], f.cut)
			}
			clear(waiting)
			f.rig.tick(at + 11_000)
		}
	}
}

// sums are the measured sums, by the second in which they were.
func (f *fleet) sums() (seconds []int64, values []float64) {
	for _, x := range f.trace {
		if x.Series.Labels.Get("__name__") == "http_requests_total:sum:rate" {
			seconds = append(seconds, (x.At-shopStart)/1000)
			values = append(values, x.Value)
		}
	}
	return seconds, values
}

// hold says that all sums since a second are close to what was asked of the
// fleet, and how many there were.
func (f *fleet) hold(since int64, want, within float64) int {
	f.t.Helper()
	n := 0
	seconds, values := f.sums()
	for k, v := range values {
		if seconds[k] < since {
			continue
		}
		n++
		if math.Abs(v-want) > within*want {
			f.t.Errorf("at second %d the sum is %.4g, want %.4g", seconds[k], v, want)
		}
	}
	return n
}

func TestASumIsOfAllCopies(t *testing.T) {
	f := newFleet(t, 5, 50)
	f.run(600)
	// A point an interval, but for the first minute in which the copies became sure.
	if n := f.hold(0, 50, 1e-9); n < 35 || n > 40 {
		t.Errorf("%d sums in 40 intervals", n)
	}
	f.load = 120
	f.run(60)
	changed := f.second
	f.run(300)
	if n := f.hold(changed, 120, 1e-9); n != 20 {
		t.Errorf("%d sums in 20 intervals", n)
	}
	for _, x := range f.trace {
		if strings.HasSuffix(x.Series.Labels.Get("__name__"), sumRate) {
			if got := x.Series.Text(); got != `http_requests_total:sum:rate{code="200",deployment="api",namespace="shop"}` {
				t.Fatalf("the sum is called %s", got)
			}
			if w := x.Series.Workload; w != `namespace="shop",deployment="api"` {
				t.Fatalf("the sum is of %s", w)
			}
		}
	}
	if f.total.Derived != len(f.trace)-f.total.Scored {
		t.Errorf("%d are counted as derived, %d were", f.total.Derived, len(f.trace)-f.total.Scored)
	}
}

// One copy is its own sum: nothing is kept for it.
func TestOneCopyHasNoSum(t *testing.T) {
	f := newFleet(t, 1, 50)
	f.run(600)
	for number := range Partitions {
		if p := f.engine.partition(uint8(number)); len(p.sums) != 0 || len(p.groups) > 1 {
			t.Errorf("%d sums in %d groups", len(p.sums), len(p.groups))
		}
	}
	// Nor is anything measured once only one is left.
	f.add("api-1", 3)
	f.run(600)
	f.pods[1].serves = false
	f.run(60)
	left := f.second
	f.run(300)
	if n := f.hold(left, 50, 1); n != 0 {
		t.Errorf("%d sums of one copy", n)
	}
}

// Pods are replaced one by one, and at each time the balancer gives the load to
// those that serve. No sum that is measured is off by more than what the windows
// of the others blur.
func TestARolloutChangesNoSum(t *testing.T) {
	for _, markers := range []bool{false, true} {
		for _, overlap := range []int64{0, 4, 40} {
			for phase := range int64(15) {
				f := newFleet(t, 3, 60)
				for _, p := range f.pods {
					p.markers = markers
				}
				f.run(300)
				for n := range 3 {
					f.run(17)
					if overlap > 0 {
						f.add(fmt.Sprintf("api-new-%d", n), (phase+int64(n)*4)%15)
						f.run(overlap)
					}
					f.pods[n].serves = false
					if overlap == 0 {
						f.run(9)
						f.add(fmt.Sprintf("api-new-%d", n), (phase+int64(n)*4)%15)
					}
				}
				f.run(60)
				over := f.second
				f.hold(0, 60, 0.01)
				f.run(150)
				if n := f.hold(over, 60, 1e-9); n < 9 {
					t.Errorf("markers=%v overlap=%d phase=%d: %d sums in ten intervals after the rollout", markers, overlap, phase, n)
				}
			}
		}
	}
}

// A scrape that fails once is no drop, whether or not Prometheus says so; nor is
// one pod that answers no more.
func TestALostScrapeIsNoDrop(t *testing.T) {
	for _, markers := range []bool{false, true} {
		f := newFleet(t, 3, 60)
		f.run(300)
		f.pods[1].markers = markers
		for range 4 {
			f.pods[1].mute = true
			f.run(15)
			f.pods[1].mute = false
			f.run(100)
		}
		if n := f.hold(0, 60, 1e-9); n < 20 {
			t.Errorf("markers=%v: %d sums", markers, n)
		}
	}
	// With thirty copies one more or less does not matter: its last rate counts.
	f := newFleet(t, 30, 60)
	f.run(300)
	before := f.second
	f.pods[1].mute = true
	f.run(30)
	f.pods[1].mute = false
	f.run(60)
	if n := f.hold(before, 60, 1e-9); n < 5 {
		t.Errorf("%d sums of thirty copies in six intervals", n)
	}
}

// Two Prometheus servers scrape half of the pods each. When one of them is away
// for a while, half of the traffic is out of sight, and not gone.
func TestASenderThatStopsIsNoDrop(t *testing.T) {
	f := newFleet(t, 4, 60)
	for n, p := range f.pods {
		p.sender = fmt.Sprint("prometheus-", n%2)
	}
	f.run(600)
	before, _ := f.sums()
	for n := range f.pods {
		f.pods[n].mute = n%2 == 0
	}
	f.run(1800)
	if during, _ := f.sums(); len(during) > len(before)+2 {
		t.Errorf("%d sums were measured while half was out of sight", len(during)-len(before))
	}
	for _, p := range f.pods {
		p.mute = false
	}
	back := f.second
	f.run(300)
	if n := f.hold(0, 60, 1e-9); n < 40 {
		t.Errorf("%d sums", n)
	}
	if n := f.hold(back, 60, 1e-9); n < 15 {
		t.Errorf("%d sums in 20 intervals after the sender came back", n)
	}
	// One that never comes back keeps nobody waiting for ever.
	for n := range f.pods {
		f.pods[n].mute = n == 0
		f.pods[n].serves = n != 0
	}
	f.pods[0].sender, f.pods[2].sender = "alone", "prometheus-1"
	f.pods[0].serves, f.pods[0].mute = true, false
	f.run(60)
	f.pods[0].serves = false
	f.run(senderWait / 1000)
	gone := f.second
	f.run(300)
	if n := f.hold(gone, 60, 1e-9); n < 15 {
		t.Errorf("%d sums in 20 intervals an hour after a sender was gone", n)
	}
}

// How the requests were cut, how many shards there are, how often the clock says
// the time and a restart in the middle change no sum.
func TestSumsAreTheSameHoweverTheyAreDriven(t *testing.T) {
	drive := func(shards int, cut *rand.Rand, tick func(int64) bool, restartAt int64) []string {
		f := newFleet(t, 4, 40)
		f.rig = newRig(t, Config{Trace: true}, shards)
		f.cut = cut
		f.run(120) // a sum begins at the close that finds two copies
		f.tick = tick
		for f.second < 900 {
			switch f.second {
			case 300:
				f.pods[2].mute = true
			case 330:
				f.pods[2].mute = false
			case 420:
				f.add("api-9", 4)
			case 500:
				f.pods[0].serves = false
			case 660:
				f.load = 90
			}
			f.run(30)
			if f.second == restartAt {
				trace := f.trace
				f.restart(3)
				f.trace = trace
			}
		}
		seconds, values := f.sums()
		out := make([]string, len(values))
		for k := range values {
			out[k] = fmt.Sprint(seconds[k], " ", values[k])
		}
		return out
	}
	every := func(n int64) func(int64) bool { return func(second int64) bool { return second%n == 0 } }
	want := drive(1, nil, every(1), 0)
	if len(want) < 30 {
		t.Fatalf("%d sums", len(want))
	}
	for name, got := range map[string][]string{
		"shards":      drive(7, rand.New(rand.NewPCG(1, 1)), every(1), 0),
		"rare ticks":  drive(1, nil, every(30), 0),
		"restart":     drive(2, nil, every(1), 300),
		"restart, 2":  drive(2, rand.New(rand.NewPCG(2, 1)), every(15), 420),
		"while a pod": drive(2, nil, every(1), 510),
	} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (- plain, + this):\n%.2000s", name, diff)
		}
	}
}

// Native histograms and error ratios have sums, too.
func TestRatiosAndNativeHistogramsAreSummed(t *testing.T) {
	r, s := newRig(t, Config{Trace: true}, 2), newShop(4)
	shapes := map[string]*shapeAt{}
	for n := range 60 {
		at := shopStart + int64(n)*15_000
		var samples []Sample
		for k, pod := range []string{"a", "b", "c"} {
			labels := []string{"job", "api", "instance", pod}
			failed := float64(2 * k)
			samples = append(samples,
				s.count(at+int64(k)*4000, 100-failed, append(labels, "__name__", "http_requests_total", "code", "200")...),
				s.count(at+int64(k)*4000, failed, append(labels, "__name__", "http_requests_total", "code", "500")...))
			if shapes[pod] == nil {
				shapes[pod] = &shapeAt{series: s.sample(0, 0, append(labels, "__name__", "rpc_seconds")...).Series, counts: map[int]float64{}}
			}
			shapes[pod].observe(150, 0.08)
			r.histogram(shapes[pod].sample(at + int64(k)*4000))
		}
		r.deliver(samples, nil)
		r.tick(at + 14_000)
	}
	seen := map[string]float64{}
	for _, x := range r.trace {
		if x.Series.Labels.Get("instance") == "" {
			seen[x.Series.Text()] = x.Value
		}
	}
	want := map[string]float64{
		`http_requests_total:sum:error_ratio{job="api"}`:     6.0 / 300,
		`http_requests_total:sum:rate{code="200",job="api"}`: 294.0 / 15,
		`rpc_seconds:sum:rate{job="api"}`:                    450.0 / 15,
	}
	for name, v := range want {
		if got, ok := seen[name]; !ok || math.Abs(got-v) > 1e-9 {
			t.Errorf("%s is %v, want %v", name, got, v)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("measured over all copies: %v", seen)
	}
}

// Where few requests come, a rate is of minutes.
func TestAFewRequestsAreGathered(t *testing.T) {
	for _, c := range []struct {
		load     float64
		interval int64 // s
	}{{100, 15}, {20, 30}, {5, 90}, {0.5, 300}, {0, 300}} {
		f := newFleet(t, 3, c.load)
		f.run(3600)
		seconds, _ := f.sums()
		if n := len(seconds); n < 3 || seconds[n-1]-seconds[n-2] != c.interval {
			t.Errorf("%v requests a second: the sums are at %v, want one every %d s", c.load, seconds, c.interval)
		}
		f.hold(0, c.load, 1e-9)
	}
}

// Workloads that are told apart by a part of their pods' names have sums of their
// own, with names of their own, in whatever partition they are.
func TestSumsOfTwoWorkloadsStayApart(t *testing.T) {
	series := func(pairs ...string) *Series { return newShop(1).sample(0, 0, pairs...).Series }
	for _, c := range []struct {
		s    *Series
		want string
	}{
		{series("__name__", "rx_total", "namespace", "shop", "pod", "api-5d9c8b7f6d-x2mtv", "node", "n1"), `rx_total{namespace="shop",pod="api"}`},
		{series("__name__", "rx_total", "namespace", "shop", "pod", "cart-0", "id", "/kubepods"), `rx_total{namespace="shop",pod="cart"}`},
		{series("__name__", "rx_total", "namespace", "shop", "deployment", "api", "pod", "api-1", "ip", "10.0.0.1"), `rx_total{deployment="api",namespace="shop"}`},
		{series("__name__", "rx_total", "instance", "10.0.0.1:80"), `rx_total{instance="10.0.0.1:80"}`},
		{series("__name__", "rx_total", "host", "a", "version", "2"), `rx_total`},
	} {
		got := workloadSeries(c.s, "")
		if got.Text() != c.want || got.Workload != c.s.Workload || got.Partition != c.s.Partition {
			t.Errorf("%s: %s of %s, want %s", c.s.Text(), got.Text(), got.Workload, c.want)
		}
	}
}

// A copy too many joins when another is gone.
func TestCopiesBeyondTheBoundWait(t *testing.T) {
	r, s := newRig(t, Config{}, 1), newShop(1)
	one := func(pod int, at, v float64) Sample {
		return s.sample(shopStart+int64(at*1000), v, "__name__", "http_requests_total", "namespace", "shop", "deployment", "api", "pod", fmt.Sprint("api-", pod))
	}
	scrape := func(n int, from, to int) {
		var all []Sample
		for pod := from; pod < to; pod++ {
			all = append(all, one(pod, float64(n*15), float64(n)))
		}
		r.deliver(all, nil)
		r.tick(shopStart + int64(n)*15_000 + 12_000)
	}
	p := r.engine.partition(one(0, 0, 0).Partition)
	for n := range 8 {
		scrape(n, 0, maxReplicas+5)
	}
	if len(p.sums) != 1 {
		t.Fatalf("%d sums", len(p.sums))
	}
	sm := p.groups[p.sums[0]].sum
	if len(sm.replicas) != maxReplicas {
		t.Errorf("%d copies, want the bound", len(sm.replicas))
	}
	for n := range 8 {
		scrape(8+n, 10, maxReplicas+5)
	}
	if len(sm.replicas) != maxReplicas-5 {
		t.Errorf("%d copies, want those that are left", len(sm.replicas))
	}
}

// What waits is bounded even when its point never comes.
func TestWhatWaitsForAPointIsBounded(t *testing.T) {
	f := newFleet(t, 3, 60)
	f.run(300)
	p := f.engine.partition(Workload(`namespace="shop",deployment="api"`).Partition())
	i := slices.IndexFunc(p.sums, func(g uint32) bool { return p.groups[g].kind == groupSum })
	sm := p.groups[p.sums[i]].sum
	sm.next = maxTime / EpochMillis * EpochMillis
	most := 0
	for range 100 {
		f.run(60)
		most = max(most, len(sm.waiting))
	}
	if bound := maxArrivals * len(sm.replicas); most != bound {
		t.Errorf("up to %d wait for 3 copies, the bound is %d", most, bound)
	}
}

// A page of groups that is lost takes the sum with it; its copies make it again,
// and what it had learnt is still there.
func TestALostSumIsMadeAgain(t *testing.T) {
	f := newFleet(t, 3, 60)
	f.run(600)
	next := newRig(t, Config{Trace: true}, 2)
	for number := range Partitions {
		p := f.engine.partition(uint8(number))
		for i := uint32(0); int(i)*pageSlots < len(p.slots); i++ {
			f.copyPage(next, PageID{uint8(number), i})
		}
	}
	b, err := f.engine.AppendSettle(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := next.engine.LoadSettle(b); err != nil {
		t.Fatal(err)
	}
	id := f.trace[slices.IndexFunc(f.trace, func(x Scored) bool { return strings.HasSuffix(x.Series.Labels.Get("__name__"), sumRate) })].Series.ID
	before, _ := f.engine.Baseline(id)
	f.rig = next
	f.run(300)
	if n := f.hold(0, 60, 1e-9); n < 15 {
		t.Errorf("%d sums in 20 intervals after the page was lost", n)
	}
	if after, ok := f.engine.Baseline(id); !ok || after.Points <= before.Points {
		t.Errorf("%d points are known of the sum, %d were before", after.Points, before.Points)
	}
}

// BenchmarkCopies is a sample of a request counter, with its share of the ticks:
// of 1,000 workloads with one copy, which have no sums, and of 100 with ten.
func BenchmarkCopies(b *testing.B) {
	for _, copies := range []int{1, 10} {
		b.Run(fmt.Sprint(copies), func(b *testing.B) {
			e, err := New(Config{}, 1)
			if err != nil {
				b.Fatal(err)
			}
			s := newShop(1)
			var samples []Sample
			for n := range 1000 {
				x := s.sample(shopStart+int64(n%15)*1000, 0, "__name__", "http_requests_total", "namespace", "shop",
					"deployment", fmt.Sprint("d", n/copies), "pod", fmt.Sprint("p", n))
				samples = append(samples, x)
			}
			slices.SortStableFunc(samples, func(a, b Sample) int { return int(a.At - b.At) })
			batch, fx := &Batch{Sender: "p"}, &Effects{}
			var all Effects
			interval := func() {
				for from := 0; from < len(samples); {
					n := from
					for n < len(samples) && samples[n].At == samples[from].At {
						samples[n].At += 15_000
						samples[n].Value += float64(100 + n%7)
						n++
					}
					batch.Samples = samples[from:n]
					fx.Reset()
					e.Shards()[0].Step([]*Batch{batch}, fx)
					e.Shards()[0].Close(Tick{Now: samples[from].At + 1000}, fx)
					all.Reset()
					e.Merge([]*Effects{fx}, &all)
					e.Settle(Tick{Now: samples[from].At + 1000}, &all)
					from = n
				}
			}
			for range 300 {
				interval()
			}
			b.ReportAllocs()
			for b.Loop() {
				interval()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(samples)), "ns/sample")
			b.ReportMetric(float64(len(all.Records)), "records")
		})
	}
}
