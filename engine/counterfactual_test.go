package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

// course is a made-up series: what it sends at each scrape.
type course struct {
	what   string
	series *Series
	every  int64
	values []float64 // NaN where nothing comes
}

func (c *course) at(n int) int64 { return shopStart + int64(n)*c.every }

// play sends the first values of a course, and then one more that is made up
// unless it is NaN. It returns what was said of the last one.
func (c *course) play(t *testing.T, n int, last float64) []*Anomaly {
	t.Helper()
	r := newRig(t, Config{}, 1)
	for k := range n + 1 {
		v := c.values[min(k, len(c.values)-1)]
		if k == n {
			if v = last; math.IsNaN(v) {
				break
			}
		}
		if math.IsNaN(v) {
			continue
		}
		r.step(&Batch{Sender: "a", Samples: []Sample{{Series: c.series, Partition: c.series.Partition, At: c.at(k), Value: v}}})
		r.tick(c.at(k) + 1000)
	}
	var out []*Anomaly
	for _, rec := range r.records {
		if a, ok := rec.(*Anomaly); ok && a.Revision == Opened && (math.IsNaN(last) || a.At == c.at(n)) {
			out = append(out, a)
		}
	}
	return out
}

// onMain says that the main path opened an anomaly.
func onMain(a *Anomaly) bool {
	return a.Kind != KindLeak && a.Kind != KindSilence && a.Kind != KindDataFault && firstName(a.Factors) != dayFactor
}

func opensMain(as []*Anomaly) bool {
	for _, a := range as {
		if onMain(a) {
			return true
		}
	}
	return false
}

// shapes are what a series does from day to day: each makes its next value from
// the number of the point and the value before.
var shapes = []struct {
	name string
	next func(rng *rand.Rand, n int, last float64) float64
}{
	{"white", func(rng *rand.Rand, _ int, _ float64) float64 { return 100 + 5*rng.NormFloat64() }},
	{"autoregressive", func(rng *rand.Rand, _ int, last float64) float64 { return 0.9*last + rng.NormFloat64() }},
	{"heavy", func(rng *rand.Rand, _ int, _ float64) float64 {
		a, b, c := rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64()
		return 100 + rng.NormFloat64()/math.Sqrt((a*a+b*b+c*c)/3)
	}},
	{"lognormal", func(rng *rand.Rand, _ int, _ float64) float64 { return math.Exp(rng.NormFloat64()) }},
	{"walk", func(rng *rand.Rand, _ int, last float64) float64 { return last + rng.NormFloat64() }},
	{"season", func(rng *rand.Rand, n int, _ float64) float64 {
		return 100 + 40*math.Sin(2*math.Pi*float64(n)/1440) + 2*rng.NormFloat64()
	}},
	{"counts", func(rng *rand.Rand, _ int, _ float64) float64 { return math.Floor(3 * rng.ExpFloat64()) }},
	{"few counts", func(rng *rand.Rand, _ int, _ float64) float64 { return math.Floor(0.4 * rng.ExpFloat64()) }},
	{"mostly zero", func(rng *rand.Rand, _ int, _ float64) float64 { return max(0, rng.Float64()-0.95) * 200 }},
	{"constant", func(*rand.Rand, int, float64) float64 { return 7 }},
}

// courses are random series of many shapes with trouble of many kinds in them.
func courses(n int) []course {
	rng := rand.New(rand.NewPCG(11, 12))
	names := []string{"queue_depth", "http_request_duration_seconds", "process_resident_memory_bytes", "job:http_requests:rate", "cache_hit_ratio", "gc_pause_ms"}
	var out []course
	for k := range n {
		shape, last := shapes[k%len(shapes)], 0.0
		name := names[rng.IntN(len(names))]
		c := course{
			what:   fmt.Sprintf("%d: %s on %s", k, name, shape.name),
			series: Naming{}.NewSeries(labels.FromStrings("__name__", name, "job", "a", "n", strconv.Itoa(k)), TypeUnknown),
			every:  []int64{15_000, 60_000}[rng.IntN(2)],
		}
		// A size in which the name's unit is usual, and sometimes a mean that
		// dwarfs what moves.
		size := math.Pow(10, float64(rng.IntN(7)-4))
		mean := []float64{0, 0, 1e4, 1e7}[rng.IntN(4)] * size
		for i := range 1500 + rng.IntN(2000) {
			last = shape.next(rng, i, last)
			c.values = append(c.values, mean+size*math.Abs(last))
		}
		for range 4 {
			c.trouble(rng, size, mean)
		}
		out = append(out, c)
	}
	return out
}

// trouble does something to a stretch of a course.
func (c *course) trouble(rng *rand.Rand, size, mean float64) {
	from := 400 + rng.IntN(len(c.values)-500)
	long := 1 + rng.IntN(40)
	by := size * math.Pow(10, 1+3*rng.Float64())
	what := rng.IntN(5)
	for k := from; k < min(from+long, len(c.values)); k++ {
		switch what {
		case 0:
			c.values[k] += by
		case 1:
			c.values[k] = math.Max(0, c.values[k]-by)
		case 2:
			c.values[k] = mean + 5*(c.values[k]-mean)
		case 3:
			c.values[k] = math.Round(c.values[k] + by)
		case 4:
			c.values[k] = math.NaN() // a gap, and then something
			if k == from+long-1 {
				c.values[min(k+1, len(c.values)-1)] += by
			}
		}
	}
}

var statedValue = regexp.MustCompile(`^quiet if ([≤≥]) (\S+(?: [^\s(]+)?) \(was (\S+(?: [^\s(]+)?)\)$`)

// TestTheCounterfactualFlipsTheDecision puts what the words say in the place of
// what came: there is no anomaly then, and a bit closer to what came there is.
func TestTheCounterfactualFlipsTheDecision(t *testing.T) {
	checked, none := 0, 0
	for _, c := range courses(150) {
		found := 0
		for _, a := range c.play(t, len(c.values), math.NaN()) {
			if !onMain(a) || found == 3 {
				continue
			}
			found++
			if !a.Quiet.Named {
				if none++; a.Quiet.Text != noneQuiet {
					t.Errorf("%s: %q names no value and gives no reason", c.what, a.Quiet.Text)
				}
				continue
			}
			checked++
			m := statedValue.FindStringSubmatch(a.Quiet.Text)
			if m == nil {
				t.Errorf("%s: %q cannot be read", c.what, a.Quiet.Text)
				continue
			}
			u := unitOf(a.Series)
			said := readBack(t, u, m[2])
			if said != a.Quiet.Value {
				t.Errorf("%s: %q, and the value is %v", c.what, a.Quiet.Text, a.Quiet.Value)
			}
			if (m[1] == "≤") != (said < a.Value) || m[2] == m[3] {
				t.Errorf("%s: %q, and it was %v", c.what, a.Quiet.Text, a.Value)
			}
			n := int((a.At - shopStart) / c.every)
			if as := c.play(t, n, said); opensMain(as) {
				t.Errorf("%s, point %d: %q, and with that it opens all the same, scoring %.3f", c.what, n, a.Quiet.Text, as[0].Score.Float())
			}
			if bit := closer(u, m[2], said, a.Value); !opensMain(c.play(t, n, bit)) {
				t.Errorf("%s, point %d: %q, and %v is quiet too", c.what, n, a.Quiet.Text, bit)
			}
		}
	}
	t.Logf("%d counterfactuals hold, %d anomalies have none", checked, none)
	if checked < 150 || none > checked/4 {
		t.Errorf("%d were checked and %d had none: that shows nothing", checked, none)
	}
}

// closer is a bit closer to v than the value said in a text.
func closer(u unit, text string, said, v float64) float64 {
	number, _, _ := strings.Cut(text, " ")
	number = strings.TrimRight(number, "TGM/s")
	places := 0
	if _, after, ok := strings.Cut(number, "."); ok {
		places = len(after)
	}
	_, exponent, _ := strings.Cut(number, "e")
	e, _ := strconv.Atoi(exponent)
	digit := math.Pow10(e-places) * math.Abs(u.decimal(said, 1).size())
	if said == 0 && v != math.Trunc(v) {
		digit = 0 // zero has no last digit; of whole numbers it is the ones
	}
	return said + math.Copysign(math.Min(math.Max(digit, math.Abs(v-said)/100), math.Abs(v-said)), v-said)
}

// TestAnErrorRatiosCounterfactualCountsRequests does the same with failures: so
// many would have been quiet, and one more not.
func TestAnErrorRatiosCounterfactualCountsRequests(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	text := regexp.MustCompile(`^quiet if at most (\d+) of (\d+) requests had failed \((\d+) did\)$`)
	checked := 0
	for k := range 60 {
		requests, share := 5+rng.IntN(400), 0.02*rng.Float64()
		failed := make([]int, 900)
		for n := range failed {
			p := share
			if n > 600 && n%37 < 3 {
				p = 0.05 + 0.5*rng.Float64()
			}
			for range requests {
				if rng.Float64() < p {
					failed[n]++
				}
			}
		}
		play := func(n, last int) []*Anomaly {
			r, s := newRig(t, Config{}, 1), newShop(1)
			for i := range n + 1 {
				f := failed[min(i, len(failed)-1)]
				if i == n {
					f = last
				}
				at := shopStart + int64(i)*30_000
				r.step(&Batch{Sender: "a", Samples: []Sample{
					s.count(at, float64(requests-f), "__name__", "http_requests_total", "code", "200", "job", "a"),
					s.count(at, float64(f), "__name__", "http_requests_total", "code", "500", "job", "a"),
				}})
				r.tick(at + 11_000)
			}
			var out []*Anomaly
			for _, rec := range r.records {
				if a, ok := rec.(*Anomaly); ok && a.Revision == Opened && a.Kind == KindErrorRatio {
					out = append(out, a)
				}
			}
			return out
		}
		for _, a := range play(len(failed)-1, 0)[:min(2, len(play(len(failed)-1, 0)))] {
			m := text.FindStringSubmatch(a.Quiet.Text)
			if m == nil {
				if a.Quiet.Text != noneQuiet {
					t.Errorf("%d: %q cannot be read", k, a.Quiet.Text)
				}
				continue
			}
			checked++
			most, _ := strconv.Atoi(m[1])
			n := int((a.At - shopStart) / 30_000)
			if m[2] != strconv.Itoa(requests) || m[3] != strconv.Itoa(failed[n]) {
				t.Errorf("%d: %q, and %d of %d failed", k, a.Quiet.Text, failed[n], requests)
			}
			for more, want := range []bool{false, true} {
				opens := false
				for _, b := range play(n, most+more) {
					opens = opens || b.At == a.At
				}
				if opens != want {
					t.Errorf("%d, point %d: %q, and with %d it opens: %v", k, n, a.Quiet.Text, most+more, opens)
				}
			}
		}
	}
	if checked < 40 {
		t.Errorf("only %d were checked", checked)
	}
}
