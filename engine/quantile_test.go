package engine

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// scrapeOf is what one scrape brings: so many quick answers and so many slow
// ones.
func scrapeOf(quick, slow float64) []Bucket {
	return []Bucket{{Lower: 0, Upper: 0.1, Count: quick}, {Lower: 0.1, Upper: 1, Count: slow}, {Lower: 1, Upper: math.Inf(1)}}
}

const scrapeMillis = 60_000

// One slow answer of thirty is the largest of thirty and no p99.
func TestOneSlowAnswerDoesNotMoveAP99(t *testing.T) {
	var gr group
	told := 0
	for n := range 60 {
		slow := 0.0
		if n%20 == 10 {
			slow = 1
		}
		p99, ok := gr.lastHundred(scrapeOf(30-slow, slow), scrapeMillis)
		if ok != (n >= 3) {
			t.Fatalf("scrape %d: told is %v: want it from the hundredth observation on", n, ok)
		}
		if !ok {
			continue
		}
		told++
		if p99 > 0.1 {
			t.Errorf("scrape %d: p99 is %v: want it in the bucket of the quick ones", n, p99)
		}
	}
	if told < 50 {
		t.Errorf("%d p99 were told, want nearly all", told)
	}
}

// Every tenth answer slow is a slow p99, and it is seen with the first scrape
// that brings it, not once a hundred came.
func TestAP99IsSeenAtTheNextScrape(t *testing.T) {
	var gr group
	for n := range 20 {
		slow := 0.0
		if n >= 10 {
			slow = 3
		}
		p99, _ := gr.lastHundred(scrapeOf(30-slow, slow), scrapeMillis)
		if (p99 > 0.1) != (n >= 10) {
			t.Errorf("scrape %d: p99 is %v", n, p99)
		}
	}
}

// A scrape of a hundred or more speaks for itself.
func TestABusyScrapeIsItsOwnP99(t *testing.T) {
	var gr group
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 100 {
		fresh := scrapeOf(100+float64(r.IntN(1000)), float64(r.IntN(20)))
		want := quantile(fresh, total(fresh), 0.99)
		if got, ok := gr.lastHundred(fresh, scrapeMillis); !ok || math.Abs(got-want) > 1e-12 {
			t.Fatalf("scrape %d: p99 is %v, %v: want %v", n, got, ok, want)
		}
	}
}

// What nobody asked for in a quarter of an hour has no p99, however long it
// goes on.
func TestARareRequestHasNoP99(t *testing.T) {
	var gr group
	for n := range 1000 {
		if p99, ok := gr.lastHundred(scrapeOf(20, 0), 5*scrapeMillis); ok {
			t.Fatalf("turn %d: p99 is %v of 4 answers a minute", n, p99)
		}
	}
	for n := range 10 {
		if _, ok := gr.lastHundred(scrapeOf(100, 0), scrapeMillis); !ok {
			t.Errorf("turn %d: a hundred answers have a p99", n)
		}
	}
}

// Whatever comes, what is kept stays in order, is no more than it may be, and
// its record gives it back.
func TestTheLastHundredStayInOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var gr group
		width := 1.0
		for range 50 {
			if r.IntN(20) == 0 {
				width = math.Ldexp(1, r.IntN(3)) // a native histogram changes its schema
			}
			var fresh []Bucket
			for k := range 8 {
				if r.IntN(2) == 0 {
					fresh = append(fresh, Bucket{Lower: float64(k) * width, Upper: float64(k+1) * width, Count: float64(r.IntN(40))})
				}
			}
			n := total(fresh)
			p99, ok := gr.lastHundred(fresh, int64(r.IntN(300_000)))
			all := total(gr.tail)
			if all > max(n, tailCount)*(1+1e-9) || all < n*(1-1e-9) {
				t.Fatalf("%v fresh ones: %v are kept", n, all)
			}
			if ok && (p99 < gr.tail[0].Lower || p99 > gr.tail[len(gr.tail)-1].Upper) {
				t.Fatalf("p99 is %v of %v", p99, gr.tail)
			}
			back := reader{b: appendBuckets(nil, gr.tail)}
			if got := back.buckets(); back.bad || !slices.Equal(got, gr.tail) || !tailFits(got) {
				t.Fatalf("the record of %v reads %v", gr.tail, got)
			}
		}
	}
}

// A record whose buckets cannot have been kept is refused.
func TestATailThatCannotBeIsRefused(t *testing.T) {
	nan := math.NaN()
	for _, tail := range [][]Bucket{
		{{Lower: 0, Upper: 1, Count: -1}},
		{{Lower: 0, Upper: 1, Count: nan}},
		{{Lower: 0, Upper: 1, Count: 1e300}},
		{{Lower: 1, Upper: 1, Count: 2}},
		{{Lower: nan, Upper: 1, Count: 2}},
		{{Lower: 0, Upper: 2, Count: 2}, {Lower: 1, Upper: 3, Count: 2}},
	} {
		if tailFits(tail) {
			t.Errorf("%v was taken", tail)
		}
	}
}

// A pod with thirty requests a minute: what it is told to be does not depend on
// a restart in the middle of the hundred.
func TestTheLastHundredOutlivesARestart(t *testing.T) {
	told := func(restartAt int) (out []float64) {
		r, s := newRig(t, Config{Trace: true}, 2), newShop(1)
		h := &shapeAt{series: s.sample(0, 0, "__name__", "http_seconds", "job", "api").Series, counts: map[int]float64{}}
		for n := range 60 {
			at := shopStart + int64(n)*scrapeMillis
			h.observe(25+n%7, 0.08)
			r.histogram(h.sample(at))
			r.tick(at + 1000)
			if n == restartAt {
				r.restart(3)
			}
		}
		for _, x := range r.trace {
			if x.Series.Labels.Get("__name__") == "http_seconds:p99" {
				out = append(out, x.Value)
			}
		}
		return out
	}
	want := told(-1)
	if len(want) < 50 {
		t.Fatalf("%d p99 were scored, want more than 50", len(want))
	}
	for _, at := range []int{2, 3, 30} {
		if got := told(at); !slices.Equal(got, want) {
			t.Errorf("a restart after scrape %d: %v, want %v", at, got, want)
		}
	}
}
