package demo

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

// A false alarm that is weak enough is gone once it is labelled, and that is said
// with both thresholds; the fault of the same recording is found as before. The
// smallest harmless rise that alarms at all makes the weakest.
func TestLabelQuietsAWeakFalseAlarm(t *testing.T) {
	for rise := 5.0; rise < 9; rise += 0.2 {
		set := shop{name: "weak", seed: 2, hours: 22, fault: slowPayment(), blip: cartBlip(), rise: rise}.files(t)
		text, page, result := shown(t, set, []string{"weak"}, Style{Width: 100})
		before, after := &result.Cards[0], result.Second
		if before.False == 0 {
			continue
		}
		if after == nil || before.False != 1 || after.False != 0 {
			t.Fatalf("a rise of %.1f: %d false alarms came to %+v, want one that is gone", rise, before.False, after)
		}
		if !after.Lines[0].Found || after.Lines[0].Delay != before.Lines[0].Delay {
			t.Errorf("the label changed how the fault is found: %+v", after.Lines[0])
		}
		for _, word := range []string{"threshold of pool_connections", "4.30 -> 4.52", "gone: Mar 02 20:0", "false alarms 1 -> 0, faults found 1 -> 1"} {
			if !strings.Contains(text, word) {
				t.Errorf("the text lacks %q:\n%s", word, text)
			}
		}
		if !strings.Contains(page, "4.30 → 4.52") || !strings.Contains(page, "<b>gone</b>") {
			t.Error("the report does not say what the label came to")
		}
		return
	}
	t.Fatal("no rise alarmed")
}

// One that is too strong stays, and nothing else is claimed.
func TestLabelThatQuietsNothingSaysSo(t *testing.T) {
	set := shop{name: "strong", seed: 2, hours: 26, blip: cartBlip()}.files(t)
	text, _, result := shown(t, set, []string{"strong"}, Style{Width: 100})
	if result.Second == nil || result.Second.False != result.Cards[0].False || result.Second.False == 0 {
		t.Fatalf("the second pass came to %+v", result.Second)
	}
	if strings.Contains(text, "gone:") || !strings.Contains(text, "still there:") {
		t.Errorf("the text claims what did not happen:\n%s", text)
	}
}

// Without a false alarm there is nothing to label, and without a fault and an
// alarm the highest score is drawn.
func TestQuietRecordingHasNoLesson(t *testing.T) {
	set := shop{name: "quiet", seed: 2, hours: 26}.files(t)
	text, page, result := shown(t, set, []string{"quiet"}, Style{Width: 100})
	if result.Second != nil || result.Sum.False != 0 {
		t.Fatalf("it was not quiet: %+v", result.Sum)
	}
	for _, word := range []string{"There was no false alarm", "not one alarm", "quiet within"} {
		if !strings.Contains(text, word) {
			t.Errorf("the text lacks %q", word)
		}
	}
	if strings.Contains(page, "Told that it was wrong") || !strings.Contains(page, "the highest score of all") {
		t.Error("the report tells of a label, or draws nothing")
	}
}

// A missed fault is told as missed, and the culprit's series is drawn all the
// same.
func TestMissedFaultIsSaid(t *testing.T) {
	claimed := slowPayment()
	claimed.Start, claimed.End = hour(15.9), hour(16)
	set := shop{name: "unseen", seed: 1, hours: 18}
	set.fault = claimed
	set.planted = func(time.Time) bool { return false }
	text, page, result := shown(t, set.files(t), []string{"unseen"}, Style{Width: 100})
	if result.Sum.Found != 0 {
		t.Fatal("what was not there was found")
	}
	if !strings.Contains(text, "MISSED no alarm started while it lasted") || !strings.Contains(page, "<b>MISSED</b>") {
		t.Errorf("it isn't said:\n%s", text)
	}
	if !strings.Contains(text, " of shop/payment") || !strings.Contains(page, "latency, missed") {
		t.Error("the culprit isn't drawn")
	}
}

func TestLaterAlarmIsNotGone(t *testing.T) {
	rec, err := load(shop{name: "strong", seed: 2, hours: 26, blip: cartBlip()}.files(t), "strong")
	if err != nil {
		t.Fatal(err)
	}
	p, err := rec.run(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	alarms := p.of(scorecard.False)
	if len(alarms) == 0 {
		t.Fatal("there is no false alarm to look at")
	}
	// The same alarm, told two minutes later by the second pass.
	late := *alarms[0]
	opened := *late.opened
	opened.At, opened.OpenedAt = opened.At+120_000, opened.OpenedAt+120_000
	late.opened = &opened
	after := *p
	after.alarms = slices.Clone(p.alarms)
	after.alarms[slices.Index(p.alarms, alarms[0])] = &late
	l := &lesson{story: &story{rec: rec, pass: p}, after: &after}
	l.compare()
	if len(l.gone) != 0 || len(l.later) != 1 {
		t.Errorf("gone %d, later %d, still there %d", len(l.gone), len(l.later), len(l.stay))
	}
}
