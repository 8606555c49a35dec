package engine

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const shopStart = int64(1_700_000_000_000)

// day drives some hours of the shop: a latency fault and an error burst in one
// instance, a sender that stops, and labels given on the way.
func day(r *rig, cut *rand.Rand, restartAt int) {
	s := newShop(1)
	jobs := []string{"api", "cart", "web"}
	var labelled AnomalyID
	for n := range 1600 {
		at := shopStart + int64(n)*15_000
		var all []Sample
		for _, job := range jobs {
			for _, inst := range []string{"a:80", "b:80"} {
				fault, failed := 1.0, 0.002
				if job == "cart" && inst == "a:80" && n >= 1000 && n < 1040 {
					fault = 6
				}
				if job == "web" && n >= 1200 && n < 1230 {
					failed = 0.3
				}
				if job == "api" && inst == "b:80" && n > 1400 && n < 1500 {
					continue
				}
				all = append(all, s.scrape(at, job, inst, fault, failed)...)
			}
		}
		r.deliver(all, cut)
		r.tick(at + 1000)
		r.tick(at + 14_000)
		if n == restartAt {
			r.restart(3)
		}
		if n == 1100 && len(r.records) > 0 {
			if a := firstAnomaly(r.records, KindLatencyRise); a != nil {
				labelled = a.ID
				r.event(Label{RequestID: "one", Anomaly: a.ID, Series: a.Series.ID, Partition: a.Series.Partition, Judgement: JudgedFalse, By: "ann", At: at})
			}
		}
		if n == 1300 && labelled != 0 {
			r.event(Undo{RequestID: "two", Label: "one", By: "ann", At: at})
		}
	}
}

// deliver hands the samples over in one batch, or cut at random when cut is
// given.
func (r *rig) deliver(all []Sample, cut *rand.Rand) { r.deliverFrom("p", all, cut) }

func (r *rig) deliverFrom(sender string, all []Sample, cut *rand.Rand) {
	if cut == nil {
		r.step(&Batch{Sender: sender, Samples: all})
		return
	}
	var batches []*Batch
	for len(all) > 0 {
		n := 1 + cut.IntN(len(all))
		batches = append(batches, &Batch{Sender: sender, Samples: all[:n]})
		all = all[n:]
	}
	for len(batches) > 0 {
		n := 1 + cut.IntN(len(batches))
		r.step(batches[:n]...)
		batches = batches[n:]
	}
}

func firstAnomaly(records []Record, k Kind) *Anomaly {
	for _, rec := range records {
		if a, ok := rec.(*Anomaly); ok && a.Kind == k {
			return a
		}
	}
	return nil
}

func TestADayInTheShopIsTheSameHoweverItIsDriven(t *testing.T) {
	plain := newRig(t, Config{}, 1)
	day(plain, nil, -1)
	want := canonical(plain.records)
	for _, k := range []Kind{KindLatencyRise, KindErrorRatio} {
		if firstAnomaly(plain.records, k) == nil {
			t.Errorf("no %v was found", k)
		}
	}
	if !strings.Contains(strings.Join(want, "\n"), "ThresholdMove") {
		t.Error("the label moved no threshold")
	}
	for name, run := range map[string]func() *rig{
		"7 shards":       func() *rig { r := newRig(t, Config{}, 7); day(r, nil, -1); return r },
		"cut at random":  func() *rig { r := newRig(t, Config{}, 2); day(r, rand.New(rand.NewPCG(3, 3)), -1); return r },
		"restarted":      func() *rig { r := newRig(t, Config{}, 2); day(r, nil, 1010); return r },
		"restarted late": func() *rig { r := newRig(t, Config{}, 2); day(r, rand.New(rand.NewPCG(4, 3)), 1411); return r },
	} {
		t.Run(name, func(t *testing.T) {
			r := run()
			got := canonical(r.records)
			if !slices.Equal(got, want) {
				t.Errorf("%d records, want %d: %s", len(got), len(want), firstDifference(want, got))
			}
			if r.total != plain.total {
				t.Errorf("receipts differ: %s", cmp.Diff(plain.total, r.total))
			}
		})
	}
}

func firstDifference(want, got []string) string {
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			return "\nwant " + want[i] + "\ngot  " + got[i]
		}
	}
	return "one is a prefix of the other"
}
