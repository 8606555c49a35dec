package engine

import (
	"fmt"
	"slices"
	"testing"
)

// empty drives a series that was zero for a day, and then what is given, a minute
// a point, and says at which of those points an episode opened.
func empty(t *testing.T, name string, values []float64) (opened []int, a *Anomaly) {
	t.Helper()
	r, s := newRig(t, Config{}, 1), newShop(1)
	const before = 24 * 60
	total := 5.0
	for n := range before + len(values) {
		v := 0.0
		if n >= before {
			v = values[n-before]
		}
		if name == "done_total" {
			total += v
			v = total
		}
		at := shopStart + int64(n)*minuteMillis
		from := len(r.records)
		r.deliver([]Sample{s.sample(at, v, "__name__", name, "job", "a")}, nil)
		r.tick(at + 1000)
		for _, rec := range r.records[from:] {
			if x, ok := rec.(*Anomaly); ok && x.Revision == Opened {
				opened = append(opened, n-before)
				a = x
			}
		}
	}
	return opened, a
}

// Whatever was seen before, or never was, one is one.
func TestOneIsNoMoreThanOne(t *testing.T) {
	for _, name := range []string{"depth", "done_total"} {
		for _, c := range []struct {
			values []float64
			want   []int
		}{
			{[]float64{1}, nil},
			{[]float64{2}, nil},
			{[]float64{1, 0, 0, 1, 0, 0, 1}, nil},
			{[]float64{1, 0, 1}, nil},
			{[]float64{3}, []int{0}},
			{[]float64{1, 1, 1, 1}, []int{2}},
			{[]float64{0, 1, 2}, []int{2}},
			{[]float64{0, 40}, []int{1}},
		} {
			if got, _ := empty(t, name, c.values); !slices.Equal(got, c.want) {
				t.Errorf("%s: of %v it tells at %v, want at %v", name, c.values, got, c.want)
			}
		}
	}
	// A part of one is no count of anything.
	if got, _ := empty(t, "depth", []float64{0.5}); len(got) != 1 {
		t.Errorf("of a half it tells at %v", got)
	}
	// What a person reads beside an alarm is what would have been quiet.
	_, a := empty(t, "depth", []float64{20})
	if a == nil || a.Upper != 2 || a.Lower != -2 {
		t.Errorf("between %v and %v it would have been quiet, want 2", a.Lower, a.Upper)
	}
}

func TestTheBoundsOfABaselineKnowOfTheFew(t *testing.T) {
	r, s := newRig(t, Config{}, 1), newShop(1)
	for n := range 500 {
		at := shopStart + int64(n)*15_000
		r.deliver([]Sample{s.sample(at, 0, "__name__", "depth", "job", "a"), s.sample(at, 7, "__name__", "done_total", "job", "a")}, nil)
		r.tick(at)
	}
	for name, want := range map[string]float64{"depth": 2, "done_total": 2.0 / 15} {
		b, ok := r.engine.Baseline(s.sample(0, 0, "__name__", name, "job", "a").Series.ID)
		if !ok || fmt.Sprintf("%.6g", b.Upper) != fmt.Sprintf("%.6g", want) {
			t.Errorf("%s is quiet up to %v, want %v", name, b.Upper, want)
		}
	}
}
