package demo

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

var shopStart = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// shop is a small recording that the tests compute: two services at a scrape a
// minute, a day of them, with one fault and one harmless thing.
type shop struct {
	planted func(time.Time) bool // whether the fault is there; nil is in its time
	rise    float64              // of the pool in the blip; 0 is 9
	name    string
	seed    uint64
	hours   int
	fault   *scorecard.Fault
	blip    *scorecard.Fault // a harmless rise of the cart's pool
	hostile string           // a label value of the payment's series
}

const (
	paymentWorkload = `namespace="shop",deployment="payment"`
	cartWorkload    = `namespace="shop",deployment="cart"`
)

func hour(h float64) time.Time { return shopStart.Add(time.Duration(h * float64(time.Hour))) }

func slowPayment() *scorecard.Fault {
	return &scorecard.Fault{Kind: scorecard.Latency, Start: hour(15), End: hour(15.5), Workload: paymentWorkload, Words: "the bank answers slowly"}
}

func cartBlip() *scorecard.Fault {
	return &scorecard.Fault{Kind: "backup", Start: hour(20), End: hour(20.1), Workload: cartWorkload, Words: "a backup opens connections"}
}

// files are the recording's two files.
func (c shop) files(t testing.TB) fstest.MapFS {
	t.Helper()
	truth := scorecard.Truth{
		Name: c.name, Command: "none", Generated: true, Seed: c.seed, Compression: 1, ScrapeSeconds: 60,
		Start: shopStart, ScoredFrom: hour(8), End: hour(float64(c.hours)),
	}
	if c.fault != nil {
		truth.Faults = append(truth.Faults, *c.fault)
	}
	if c.blip != nil {
		truth.Nuisances = append(truth.Nuisances, *c.blip)
	}
	text, err := json.Marshal(truth)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(c.text())
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{c.name + ".om.gz": {Data: packed.Bytes()}, c.name + truthSuffix: {Data: text}}
}

func within(f *scorecard.Fault, at time.Time) bool {
	return f != nil && !at.Before(f.Start) && at.Before(f.End)
}

// text is the recording as OpenMetrics.
func (c shop) text() []byte {
	r := rand.New(rand.NewPCG(c.seed, 1))
	var b bytes.Buffer
	for _, line := range []string{
		"http_requests counter", "http_request_duration_seconds histogram", "container_memory_working_set_bytes gauge", "pool_connections gauge",
	} {
		fmt.Fprintln(&b, "# TYPE", line)
	}
	bounds := []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5}
	type state struct {
		ok, failed float64
		buckets    [7]float64
		sum        float64
	}
	states := map[string]*state{"payment": {}, "cart": {}}
	for minute := range c.hours * 60 {
		at := shopStart.Add(time.Duration(minute) * time.Minute)
		day := 1 - 0.6*math.Cos(2*math.Pi*float64(minute)/1440)
		for _, name := range []string{"payment", "cart"} {
			s := states[name]
			ls := fmt.Sprintf(`namespace="shop",deployment=%q,pod="%s-5d9c7b6f4-x2k8z",job="shop",instance="10.0.0.7:8080"`, name, name)
			if c.hostile != "" && name == "payment" {
				ls += `,note="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(c.hostile) + `"`
			}
			n := math.Round(600 * day * (1 + 0.05*r.NormFloat64()))
			slow := 0.06
			if name == "payment" && within(c.fault, at) && (c.planted == nil || c.planted(at)) {
				slow = 0.6
			}
			for range int(n) / 10 {
				d := slow * math.Exp(0.5*r.NormFloat64())
				s.sum += 10 * d
				for i := range s.buckets {
					if i == len(bounds) || d <= bounds[i] {
						s.buckets[i] += 10
					}
				}
			}
			s.ok += n
			if r.Float64() < 0.3 {
				s.failed++
			}
			ts := at.Unix()
			fmt.Fprintf(&b, "http_requests_total{%s,code=\"200\"} %v %d\n", ls, s.ok, ts)
			fmt.Fprintf(&b, "http_requests_total{%s,code=\"500\"} %v %d\n", ls, s.failed, ts)
			for i := range s.buckets {
				le := "+Inf"
				if i < len(bounds) {
					le = fmt.Sprint(bounds[i])
				}
				fmt.Fprintf(&b, "http_request_duration_seconds_bucket{%s,le=%q} %v %d\n", ls, le, s.buckets[i], ts)
			}
			fmt.Fprintf(&b, "http_request_duration_seconds_sum{%s} %v %d\n", ls, s.sum, ts)
			fmt.Fprintf(&b, "http_request_duration_seconds_count{%s} %v %d\n", ls, s.buckets[len(bounds)], ts)
			fmt.Fprintf(&b, "container_memory_working_set_bytes{%s} %.0f %d\n", ls, 2e8+1e7*day+2e6*r.NormFloat64(), ts)
			pool := 10*day + r.NormFloat64()
			if name == "cart" && within(c.blip, at) {
				pool += cmp.Or(c.rise, 9)
			}
			fmt.Fprintf(&b, "pool_connections{%s} %.2f %d\n", ls, pool, ts)
			fmt.Fprintf(&b, "up{%s} 1 %d\n", ls, ts)
		}
	}
	b.WriteString("# EOF\n")
	return b.Bytes()
}

// together are the files of several recordings.
func together(sets ...fstest.MapFS) fstest.MapFS {
	out := fstest.MapFS{}
	for _, set := range sets {
		for name, file := range set {
			out[name] = file
		}
	}
	return out
}
