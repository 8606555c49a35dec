package engine

import (
	"testing"
)

// twoCodes sends one time of a counter of successes and one of failures, and
// says what became of the failures.
type twoCodes struct {
	r       *rig
	s       *shop
	at      int64
	ok, bad float64
	alone   bool // the successes are not sent
}

func (c *twoCodes) next(ok, bad float64) Reason {
	c.at += 15_000
	c.ok, c.bad = c.ok+ok, c.bad+bad
	if !c.alone {
		c.r.reasonOf(c.s.sample(c.at, c.ok, "__name__", "http_requests_total", "code", "200", "job", "a"))
	}
	got := c.r.reasonOf(c.s.sample(c.at, c.bad, "__name__", "http_requests_total", "code", "500", "job", "a"))
	c.r.tick(c.at + 12_000)
	return got
}

func (c *twoCodes) failures() *Series {
	return c.s.sample(0, 0, "__name__", "http_requests_total", "code", "500", "job", "a").Series
}

// A counter of failures that has successes beside it is measured by the ratio of
// both, and has no baseline: not before a restart, and not after it.
func TestFailuresBesideSuccessesOnlyFeedTheirRatio(t *testing.T) {
	c := &twoCodes{r: newRig(t, Config{Trace: true}, 2), s: newShop(1), at: shopStart}
	for turn, want := range []Reason{ReasonFirst, ReasonRatio, ReasonRatio, ReasonRatio, ReasonReset, ReasonRatio, ReasonRatio} {
		by := 2.0
		if want == ReasonReset {
			by = -c.bad
		}
		if turn == 3 {
			trace := c.r.trace
			c.r.restart(3)
			c.r.trace = trace
		}
		if got := c.next(100, by); got != want {
			t.Errorf("turn %d counts as %v, want %v", turn, got, want)
		}
	}
	ratios := 0
	for _, x := range c.r.trace {
		switch x.Series.Labels.Get("__name__") {
		case "http_requests_total:error_ratio":
			ratios++
		case "http_requests_total":
			if x.Series.Labels.Get("code") == "500" {
				t.Errorf("the failures themselves were scored at %d", x.At)
			}
		}
	}
	if ratios != 6 {
		t.Errorf("%d ratios were scored, want 6", ratios)
	}
	if b, ok := c.r.engine.Baseline(c.failures().ID); ok {
		t.Errorf("the failures have a baseline: %+v", b)
	}
}

// Before there are successes, failures are all that there is, and are scored.
// When successes come, what was open ends and the baseline goes.
func TestFailuresAreScoredUntilSuccessesCome(t *testing.T) {
	c := &twoCodes{r: newRig(t, Config{Deep: Deep{Match: all}}, 1), s: newShop(1), at: shopStart, alone: true}
	for n := range 400 {
		by := float64(50 + n%7)
		if n >= 397 {
			by = 5000
		}
		want := ReasonNone
		if n == 0 {
			want = ReasonFirst
		}
		if got := c.next(0, by); got != want {
			t.Fatalf("turn %d counts as %v, want %v", n, got, want)
		}
	}
	a := firstAnomaly(c.r.records, KindTrafficSurge)
	if a == nil || a.Series != c.failures() {
		t.Fatalf("the surge of failures is %+v", a)
	}
	if c.r.engine.deeps != 1 {
		t.Fatalf("the deep tier looks at %d series, want the failures", c.r.engine.deeps)
	}
	c.alone = false
	if got := c.next(9000, 5000); got != ReasonNone {
		t.Errorf("with the first success a failure counts as %v: what a close changes holds from then on", got)
	}
	for range 3 {
		if got := c.next(9000, 5000); got != ReasonRatio {
			t.Errorf("after it a failure counts as %v", got)
		}
	}
	ended := 0
	for _, rec := range c.r.records {
		if x, ok := rec.(*Anomaly); ok && x.ID == a.ID && x.Revision == Closed && firstName(x.Factors) == "ratio" {
			ended++
		}
	}
	if ended != 1 {
		t.Errorf("the surge ended %d times for its ratio, want once", ended)
	}
	if _, ok := c.r.engine.Baseline(c.failures().ID); ok {
		t.Error("the failures still have a baseline")
	}
	// Its room is used again: by the ratio.
	if p := c.r.engine.partition(c.failures().Partition); len(p.measures) != 2 || len(p.holes) != 0 {
		t.Errorf("%d measures with %d holes, want the successes and the ratio", len(p.measures), len(p.holes))
	}
	if _, measured := c.r.engine.Size(); measured != 2 {
		t.Errorf("%d measurements are counted, want 2", measured)
	}
	// The tier looks at the successes instead; a ratio is none of its.
	if c.r.engine.deeps != 1 {
		t.Errorf("the deep tier looks at %d series, want the successes alone", c.r.engine.deeps)
	}
}
