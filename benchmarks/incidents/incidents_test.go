package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

var midnight = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// every lists the evaluations from one minute to another.
func every(from, to int) (out []time.Time) {
	for m := from; m <= to; m++ {
		out = append(out, midnight.Add(time.Duration(m)*time.Minute))
	}
	return out
}

func TestAnAlertFiresAfterItsPendingTime(t *testing.T) {
	r := &rule{Alert: "High", For: model.Duration(5 * time.Minute)}
	payment := map[string]string{"namespace": "shop", "deployment": "payment"}
	got := firing(r, []sampled{
		{labels: payment, at: slices.Concat(every(10, 14), every(20, 30), every(60, 66))}, // five minutes less one, then long, then again
		{labels: map[string]string{"job": "x"}, at: every(0, 3)},                          // never long enough
	})
	want := []int{25, 65}
	if len(got) != len(want) {
		t.Fatalf("%d alarms, want %d: %v", len(got), len(want), got)
	}
	for i, a := range got {
		if !a.At.Equal(midnight.Add(time.Duration(want[i])*time.Minute)) || a.Workload != `namespace="shop",deployment="payment"` {
			t.Errorf("alarm %d: %v %s", i, a.At, a.Workload)
		}
	}
}

func TestPodsOfOneWorkloadAreOnePage(t *testing.T) {
	r := &rule{Alert: "Memory"}
	pod := func(name string, from int) sampled {
		return sampled{labels: map[string]string{"namespace": "shop", "deployment": "cart", "pod": name}, at: every(from, from+20)}
	}
	if got := firing(r, []sampled{pod("a", 0), pod("b", 3), pod("c", 12)}); len(got) != 2 {
		t.Errorf("%d pages, want one for a and b and one for c, nine minutes later: %v", len(got), got)
	}
}

func TestTheRuleFileIsRead(t *testing.T) {
	alerts, err := readRules("rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ErrorRatioHigh", "LatencyHigh", "MemoryNearLimit", "TargetDown", "MemoryWillFill", "TrafficUnusual"} {
		if !slices.ContainsFunc(alerts, func(r rule) bool { return r.Alert == name && r.Expr != "" }) {
			t.Errorf("no alert %s", name)
		}
	}
}

func TestTheTableSaysWhatWasFound(t *testing.T) {
	truth := scorecard.Truth{
		Name: "slow", Compression: 240, ScrapeSeconds: 60, Start: midnight, ScoredFrom: midnight.Add(24 * time.Hour), End: midnight.Add(36 * time.Hour),
		Faults: []scorecard.Fault{{
			Kind: scorecard.Latency, Start: midnight.Add(30 * time.Hour), End: midnight.Add(31 * time.Hour),
			Workload: `namespace="shop",deployment="payment"`, Words: "slow",
		}},
	}
	alarm := func(minutes int, workload string) scorecard.Alarm {
		return scorecard.Alarm{At: midnight.Add(30*time.Hour + time.Duration(minutes)*time.Minute), Workload: workload, Text: "x"}
	}
	tb := &table{folder: "incidents"}
	tb.add(0, scorecard.Judge(&truth, []scorecard.Alarm{alarm(4, truth.Faults[0].Workload)}))
	tb.add(1, scorecard.Judge(&truth, []scorecard.Alarm{alarm(-90, ""), alarm(16, "")}))
	var b strings.Builder
	tb.print(&b, true)
	for _, want := range []string{
		"| slow | latency | payment | 4 min | yes | 0 | 16 min | no | 1 |",
		"| homeostat | 1 of 1 | 1 | 4 min | 0 | 0.00 |",
		"| usual rules | 1 of 1 | 0 | 16 min | 1 | 2.00 |",
		"FALSE",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
}
