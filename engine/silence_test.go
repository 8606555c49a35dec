package engine

import (
	"fmt"
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/value"
)

// unheard is what was said of series, targets and senders that stopped.
func (r *rig) unheard() []string {
	var said []string
	for _, rec := range r.records {
		if a, ok := rec.(*Anomaly); ok && (a.Kind == KindSilence || a.Kind == KindDataFault) {
			said = append(said, fmt.Sprintf("%v %v %v", a.Revision, a.Kind, a.Series.Labels))
		}
	}
	return said
}

// A target that stops, or that a rollout replaces, has histograms and error
// ratios like any other. What is derived of it, and the buckets, which nobody
// listens for, do not keep it alive.
func TestATargetOfAllKindsOfSeriesIsOneDataFault(t *testing.T) {
	r := newRig(t, Config{}, 2)
	s := newShop(9)
	for n := range 600 {
		at := shopStart + int64(n)*15_000
		all := s.scrape(at, "api", "a:80", 1, 0.01)
		if n < 400 || n >= 500 {
			all = append(all, s.scrape(at, "api", "b:80", 1, 0.01)...)
		}
		r.deliver(all, nil)
		r.tick(at + 1000)
	}
	said := r.unheard()
	want := []string{
		`OPENED data_fault {__name__="homeostat_target", target="b:80", workload="job=\"api\""}`,
		`CLOSED data_fault {__name__="homeostat_target", target="b:80", workload="job=\"api\""}`,
	}
	if fmt.Sprint(said) != fmt.Sprint(want) {
		t.Errorf("said\n%q\nwant\n%q", said, want)
	}
}

// Pods that a rollout ends say so by stale markers, histograms and all.
func TestARolloutOfPodsWithHistogramsIsToldOfNobody(t *testing.T) {
	r := newRig(t, Config{}, 2)
	s := newShop(10)
	for n := range 600 {
		at := shopStart + int64(n)*15_000
		old, young := "old:80", "new:80"
		var all []Sample
		if n < 400 {
			all = append(all, s.scrape(at, "api", old, 1, 0.01)...)
		}
		if n == 400 {
			for _, x := range s.scrape(at, "api", old, 1, 0.01) {
				x.Value = math.Float64frombits(value.StaleNaN)
				all = append(all, x)
			}
		}
		if n >= 395 {
			all = append(all, s.scrape(at, "api", young, 1, 0.01)...)
		}
		r.deliver(all, nil)
		r.tick(at + 1000)
	}
	for _, said := range r.unheard() {
		t.Error(said)
	}
}

// A series that is declared to be of another kind while it sends is counted as
// what it is now, whatever it was.
func TestAChangeOfTypeKeepsTheCountOfALiveTarget(t *testing.T) {
	r := newRig(t, Config{}, 1)
	s := newShop(11)
	one := s.sample(shopStart, 1, "__name__", "work_sum", "job", "api", "instance", "a")
	other := s.sample(shopStart, 1, "__name__", "depth", "job", "api", "instance", "a")
	live := func() int {
		p := r.engine.partition(one.Partition)
		return p.live(one.Series.Workload, "a", false)
	}
	n := int64(0)
	send := func(typ Type, want int) {
		t.Helper()
		n++
		x, y := one, other
		c := *one.Series
		c.Type = typ
		x.Series, x.At, x.Value, y.At = &c, shopStart+n*15_000, float64(n), shopStart+n*15_000
		r.step(&Batch{Sender: "p", Samples: []Sample{x, y}})
		if got := live(); got != want {
			t.Errorf("after type %d: %d series of the target count as live, want %d", typ, got, want)
		}
	}
	send(TypeUnknown, 1) // a sum is not listened for
	send(TypeGauge, 2)
	send(TypeUnknown, 2) // silence takes nothing back
	send(TypeSummary, 1)
	send(TypeGauge, 2)
}

// Whoever writes may call himself what he likes, a thousand times a second.
func TestSendersAreBoundedAndForgotten(t *testing.T) {
	for _, shards := range []int{1, 7} {
		r := newRig(t, Config{}, shards)
		s := newShop(12)
		at := shopStart
		send := func(sender string, job int) {
			r.step(&Batch{Sender: sender, Samples: []Sample{s.sample(at, float64(job), "__name__", "depth", "job", fmt.Sprint(job))}})
		}
		for n := range 40 {
			for k := range 100 {
				send(fmt.Sprint("sender-", n, "-", k), n*100+k)
			}
			at += 15_000
			r.tick(at)
			if got := len(r.engine.settle.senders); got > maxSenders+1 {
				t.Fatalf("%d shards: %d senders are known after %d", shards, got, (n+1)*100)
			}
		}
		if r.engine.settle.senders[senderHash(otherSenders)] != otherSenders {
			t.Errorf("%d shards: those beyond the bound do not count as one", shards)
		}
		at += 8 * dayMillis
		r.tick(at)
		r.restart(3)
		at += 2 * hourMillis
		r.tick(at)
		send("alone", 1)
		r.tick(at + 1000)
		if got := r.engine.settle.senders; len(got) != 1 || got[senderHash("alone")] != "alone" {
			t.Errorf("%d shards: %d senders are known a week later: %.200v", shards, len(got), got)
		}
		for number := range Partitions {
			if p := r.engine.partition(uint8(number)); len(p.senders) > 1 {
				t.Fatalf("%d shards: partition %d knows %d senders", shards, number, len(p.senders))
			}
		}
	}
}

// BenchmarkADeploymentEnds is the tick at which 1,000 pods of 50 series that
// ended a minute ago are judged.
func BenchmarkADeploymentEnds(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		e, err := New(Config{}, 1)
		if err != nil {
			b.Fatal(err)
		}
		s := newShop(13)
		shard, fx := e.Shards()[0], &Effects{}
		send := func(at int64, v float64) {
			batch := &Batch{Sender: "p"}
			for pod := range 1000 {
				for n := range 50 {
					batch.Samples = append(batch.Samples, s.sample(at, v, "__name__", fmt.Sprint("m", n), "namespace", "shop", "deployment", "api", "pod", fmt.Sprint("api-", pod)))
				}
			}
			shard.Step([]*Batch{batch}, fx)
		}
		tick := func(at int64) {
			fx.Reset()
			shard.Close(Tick{Now: at}, fx)
			var all Effects
			e.Merge([]*Effects{fx}, &all)
			e.Settle(Tick{Now: at}, &all)
		}
		tick(shopStart)
		send(shopStart, 1)
		send(shopStart+15_000, 1)
		tick(shopStart + 16_000)
		send(shopStart+30_000, staleNaN)
		tick(shopStart + 6*minuteMillis)
		b.StartTimer()
		tick(shopStart + 20*minuteMillis)
	}
}
