package load

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// key is a series' labels as one text.
func key(f *Fleet, i int) string {
	var b strings.Builder
	for _, l := range f.Labels(i, nil) {
		fmt.Fprintf(&b, "%s=%q,", l.Name, l.Value)
	}
	return b.String()
}

func TestEachSeriesHasTenSortedLabelsOfItsOwn(t *testing.T) {
	f := New(Shape{Series: 20_000, Mix: Real, Seed: 3})
	seen := map[string]int{}
	for i := range f.Len() {
		ls := f.Labels(i, nil)
		if len(ls) != 10 {
			t.Fatalf("series %d has %d labels, want 10: %v", i, len(ls), ls)
		}
		if !slices.IsSortedFunc(ls, func(a, b Label) int { return strings.Compare(a.Name, b.Name) }) {
			t.Fatalf("the labels of series %d are not sorted: %v", i, ls)
		}
		k := key(f, i)
		if j, twice := seen[k]; twice {
			t.Fatalf("series %d and %d are the same: %s", j, i, k)
		}
		seen[k] = i
	}
}

func TestTheMixHasItsShares(t *testing.T) {
	for _, c := range []struct {
		mix  Mix
		want [3]float64 // share of gauges, counters, buckets
	}{{Gauges, [3]float64{1, 0, 0}}, {Real, [3]float64{0.4, 0.3, 0.3}}} {
		for _, n := range []int{1, 999, 10_000, 54_321} {
			f := New(Shape{Series: n, Mix: c.mix, Seed: 1})
			if f.Len() != n {
				t.Errorf("%s: %d series, want %d", c.mix, f.Len(), n)
			}
			var count [3]int
			for i := range f.Len() {
				count[f.Kind(i)]++
			}
			for k := range count {
				// Histograms are whole and so are series: a share may miss by one of each.
				if want := c.want[k] * float64(n); math.Abs(float64(count[k])-want) > float64(len(bounds)+1) {
					t.Errorf("%s of %d: %d of kind %d, want %v", c.mix, n, count[k], k, want)
				}
			}
		}
	}
}

// The frequency of the k-th most frequent name falls as (offset + k)^-1.1.
func TestNamesAndWorkloadsFollowZipf(t *testing.T) {
	const n = 200_000
	f := New(Shape{Series: n, Mix: Gauges, Seed: 7})
	check := func(label string, kinds int, offset float64) {
		t.Helper()
		count := map[string]int{}
		for i := range f.Len() {
			for _, l := range f.Labels(i, nil) {
				if l.Name == label {
					count[l.Value]++
				}
			}
		}
		var by []int
		for _, c := range count {
			by = append(by, c)
		}
		slices.SortFunc(by, func(a, b int) int { return b - a })
		total := 0.0
		for k := range kinds {
			total += math.Pow(offset+float64(k), -steepness)
		}
		for _, k := range []int{0, 1, 5, 20, 80} {
			want := n * math.Pow(offset+float64(k), -steepness) / total
			if got := float64(by[k]); math.Abs(got-want) > 0.1*want {
				t.Errorf("the value of rank %d of %s is on %v series, Zipf says %.0f", k, label, got, want)
			}
		}
	}
	check("__name__", names, nameOffset)
	check("container", int(workloads(n)), loadOffset)
}

func TestTheSameShapeGivesTheSameFleet(t *testing.T) {
	s := Shape{Series: 3000, Mix: Real, Seed: 5}
	a, b := New(s), New(s)
	s.Seed = 6
	other := New(s)
	differ := false
	for range 3 {
		x, y := a.Next(), b.Next()
		for i := range x {
			if key(a, i) != key(b, i) || x[i] != y[i] {
				t.Fatalf("series %d differs: %s %v and %s %v", i, key(a, i), x[i], key(b, i), y[i])
			}
			differ = differ || key(a, i) != key(other, i)
		}
	}
	if !differ {
		t.Error("another seed gave the same fleet")
	}
}

func TestReplacedSeriesAreNewAndTheOthersStay(t *testing.T) {
	f := New(Shape{Series: 5000, Mix: Real, Seed: 2})
	seen := map[string]bool{}
	for i := range f.Len() {
		seen[key(f, i)] = true
	}
	f.Next()
	at := 0
	for range 12 { // more than once around
		from, count := f.Replace(500)
		if from != at || count < 500 || count >= 500+len(bounds) {
			t.Fatalf("replaced %d from %d, want 500 or a histogram more from %d", count, from, at)
		}
		at = (from + count) % f.Len()
		for k := range count {
			i := (from + k) % f.Len()
			if seen[key(f, i)] {
				t.Fatalf("series %d was seen before: %s", i, key(f, i))
			}
			seen[key(f, i)] = true
		}
		if fresh := len(seen) - f.Len(); fresh < 500 {
			t.Fatalf("only %d new series", fresh)
		}
	}
}

func TestValuesArePlausible(t *testing.T) {
	const rounds = 200
	f := New(Shape{Series: 2000, Mix: Real, Seed: 11})
	sum, squares := make([]float64, f.Len()), make([]float64, f.Len())
	last := make([]float64, f.Len())
	for round := range rounds {
		for i, v := range f.Next() {
			if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
				t.Fatalf("series %d in round %d is %v", i, round, v)
			}
			switch f.Kind(i) {
			case Gauge:
				sum[i] += v
				squares[i] += v * v
				if round > 0 && v >= f.Spike(i) {
					t.Fatalf("gauge %d reached its spike by itself: %v", i, v)
				}
			case Counter:
				if v < last[i] || v != math.Trunc(v) {
					t.Fatalf("counter %d went from %v to %v", i, last[i], v)
				}
			case Bucket:
				if v < last[i] || v != math.Trunc(v) {
					t.Fatalf("bucket %d went from %v to %v", i, last[i], v)
				}
				if le := f.members[i].le; le > 0 && v < f.values.out[i-1] {
					t.Fatalf("bucket %d holds %v and the one below it %v", i, v, f.values.out[i-1])
				}
			}
			last[i] = v
		}
	}
	for i := range f.Len() {
		if f.Kind(i) != Gauge {
			continue
		}
		mean := sum[i] / rounds
		sd := math.Sqrt(squares[i]/rounds - mean*mean)
		// Ten levels to 1 %, and the noise from 2 % to 10 % of the level, as
		// meant, plus what rounding adds.
		if level := f.values.level[i]; math.Abs(mean-level) > 0.05*level+0.1 || sd < 0.015*level-0.1 || sd > 0.13*level+0.5 {
			t.Errorf("gauge %d has mean %v and deviation %v around level %v", i, mean, sd, level)
		}
	}
}
