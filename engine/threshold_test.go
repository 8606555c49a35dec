package engine

import (
	"testing"

	"pgregory.net/rapid"
)

func labelFor(a AnomalyID, request string, j Judgement, day int64) Label {
	return Label{RequestID: request, Anomaly: a, Series: 1, Judgement: j, At: day * dayMillis}
}

func TestOnePersonClickingAThousandTimesCountsOnce(t *testing.T) {
	var labels []Label
	for i := range 1000 {
		labels = append(labels, labelFor(7, string(rune('a'+i%26)), JudgedFalse, int64(i)))
	}
	if got := fold(labels); got != 1 {
		t.Errorf("a thousand labels on one anomaly move %d steps, want 1", got)
	}
}

func TestTheLastWordOnAnAnomalyCounts(t *testing.T) {
	got := fold([]Label{labelFor(7, "a", JudgedFalse, 1), labelFor(7, "b", JudgedTrue, 2)})
	if got != -1 {
		t.Errorf("false, then true on one anomaly moves %d steps, want -1", got)
	}
}

func TestADayMovesAThresholdByAtMostThreeSteps(t *testing.T) {
	var labels []Label
	for i := range AnomalyID(20) {
		labels = append(labels, labelFor(i, "", JudgedFalse, 5))
	}
	if got := fold(labels); got != stepsPerDay {
		t.Errorf("twenty labels of one day move %d steps, want %d", got, stepsPerDay)
	}
}

func anyLabels(t *rapid.T) []Label {
	n := rapid.IntRange(0, 60).Draw(t, "labels")
	out := make([]Label, n)
	for i := range out {
		out[i] = Label{
			RequestID: rapid.StringN(1, 3, 3).Draw(t, "request"), Series: SeriesID(rapid.IntRange(1, 3).Draw(t, "series")),
			Anomaly:   AnomalyID(rapid.IntRange(1, 9).Draw(t, "anomaly")),
			Judgement: Judgement(rapid.IntRange(1, 2).Draw(t, "judgement")),
			At:        int64(rapid.IntRange(0, 10).Draw(t, "day")) * dayMillis,
		}
	}
	return out
}

func TestUndoingASourceIsAsIfItHadNeverSpoken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spoken := anyLabels(t)
		bad := AnomalyID(rapid.IntRange(1, 9).Draw(t, "bad"))
		var with, without labelBook
		for _, l := range spoken {
			with.take(l, 1000)
		}
		for _, l := range with.Labels {
			if l.Anomaly != bad {
				without.take(l, 1000)
			}
		}
		for _, l := range append([]Label(nil), with.Labels...) {
			if l.Anomaly == bad {
				with.drop(Undo{RequestID: "undo " + l.RequestID, Label: l.RequestID})
			}
		}
		for id := SeriesID(1); id <= 3; id++ {
			if got, want := fold(with.of(id)), fold(without.of(id)); got != want {
				t.Fatalf("series %v stands at %d steps after the undo, and at %d had it never spoken", id, got, want)
			}
		}
	})
}

func TestNoLabelsMuteASeries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		labels := anyLabels(t)
		n := fold(labels)
		if n < minSteps || n > maxSteps {
			t.Fatalf("%d steps", n)
		}
		const open = 4 * 64
		if got := n.apply(open); got > 2*open || got < open*70/100 {
			t.Fatalf("a threshold of %v moved to %v", open, got)
		}
	})
}

func TestAPointIsHeldAgainstTheThresholdOfItsTime(t *testing.T) {
	mv := &movedThreshold{Steps: 3, Prev: 1, From: 1000}
	for at, want := range map[int64]steps{999: 1, 1000: 1, 1001: 3} {
		if got := mv.at(at); got != want {
			t.Errorf("at %d the threshold stands at %d steps, want %d", at, got, want)
		}
	}
}
