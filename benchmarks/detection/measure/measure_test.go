package measure

import (
	"math"
	"slices"
	"testing"
)

const minute = 60 * 1000

// series has a point a minute; the given stretches, both ends included, are labelled.
func series(n int, labelled ...[2]int) (at []int64, on []bool) {
	at, on = make([]int64, n), make([]bool, n)
	for i := range at {
		at[i] = int64(i) * minute
	}
	for _, l := range labelled {
		for i := l[0]; i <= l[1]; i++ {
			on[i] = true
		}
	}
	return at, on
}

func starts(minutes ...int) (as []Alert) {
	for _, m := range minutes {
		as = append(as, Alert{int64(m) * minute, int64(m+1) * minute})
	}
	return as
}

func TestWindowsJoinWhatIsCloserThanTenSteps(t *testing.T) {
	at, on := series(100, [2]int{10, 12}, [2]int{21, 22}, [2]int{32, 32})
	got := Windows(at, on, Step(at))
	want := []Window{{10 * minute, 22 * minute}, {32 * minute, 32 * minute}}
	if !slices.Equal(got, want) {
		t.Errorf("windows %v, want %v", got, want)
	}
}

func TestEvents(t *testing.T) {
	// 1000 points: the first 150 are for learning. One window lies in them, one
	// is short, one is 201 points long.
	at, on := series(1000, [2]int{50, 60}, [2]int{300, 305}, [2]int{600, 800})
	for _, c := range []struct {
		name                 string
		alerts               []Alert
		hits, wrong, repeats int
	}{
		{"nothing", nil, 0, 0, 0},
		{"inside", starts(302), 1, 0, 0},
		{"at its last point", starts(305), 1, 0, 0},
		{"just after it", starts(306), 0, 1, 0},
		{"three steps early", starts(297), 1, 0, 0},
		{"four steps early", starts(296), 0, 1, 0},
		{"5 % of a long window early", starts(590), 1, 0, 0},
		{"more than that early", starts(589), 0, 1, 0},
		{"repeats count once", starts(300, 303, 305), 1, 0, 2},
		{"both", starts(301, 700), 2, 0, 0},
		{"while learning, in a window and out of it", starts(20, 55), 0, 0, 0},
		{"one that never ends earns nothing", []Alert{{200 * minute, 999 * minute}}, 0, 1, 0},
	} {
		got := Events(at, on, c.alerts)
		if got.Hits != c.hits || got.False != c.wrong || got.Repeats != c.repeats || got.Windows != 2 {
			t.Errorf("%s: %d hits, %d false, %d repeats of %d windows; want %d, %d, %d of 2",
				c.name, got.Hits, got.False, got.Repeats, got.Windows, c.hits, c.wrong, c.repeats)
		}
	}
}

func TestTally(t *testing.T) {
	at, on := series(1000, [2]int{300, 305}, [2]int{600, 800})
	one := Events(at, on, starts(297, 400, 640))
	if d := one.Delays; !slices.Equal(d, []int64{0, 40 * minute}) {
		t.Errorf("delays %v", d)
	}
	sum := one
	sum.Delays = slices.Clone(one.Delays)
	sum.Add(Events(at, on, nil))
	near := func(got, want float64) bool { return math.Abs(got-want) < 1e-9 }
	if !near(sum.Precision(), 2.0/3) || !near(sum.Recall(), 0.5) || !near(sum.F1(), 4.0/7) {
		t.Errorf("precision %v, recall %v, F1 %v", sum.Precision(), sum.Recall(), sum.F1())
	}
	weeks := 2 * float64(849*minute) / weekMillis
	if !near(sum.FalsePerWeek(), 1/weeks) || sum.Series != 2 {
		t.Errorf("%v false alarms a week in %d series", sum.FalsePerWeek(), sum.Series)
	}
	if sum.MedianDelay() != 40*minute {
		t.Errorf("median delay %v", sum.MedianDelay())
	}
	var none Tally
	if none.F1() != 0 || none.FalsePerWeek() != 0 || none.MedianDelay() != 0 {
		t.Error("an empty tally is not zero")
	}
}

func TestLearningIsAWeekAtMost(t *testing.T) {
	at, _ := series(200_000)
	if got := LearnedBy(at); got != weekMillis {
		t.Errorf("learnt by %d, want a week", got)
	}
	if Events(nil, nil, nil).Windows != 0 || LearnedBy(nil) != 0 || Step(at[:1]) != 0 {
		t.Error("an empty series")
	}
}
