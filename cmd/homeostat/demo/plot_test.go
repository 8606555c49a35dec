package demo

import (
	"bytes"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
	"github.com/homeostat/homeostat/engine"
)

// made is a scene of points a minute apart, one for each value; the band is from
// 0 to 10, without one at negative values.
func made(values ...float64) *scene {
	ls := labels.FromStrings(labels.MetricName, "queue_depth", "namespace", "shop", "deployment", "cart")
	s := &scene{series: engine.Naming{}.NewSeries(ls, engine.TypeGauge), gap: 150_000, to: int64(len(values)-1) * 60_000}
	for i, v := range values {
		s.points = append(s.points, point{at: int64(i) * 60_000, value: v, lower: 0, upper: 10, band: v >= 0, warm: v >= 0})
	}
	return s
}

func drawn(s *scene, width int) []string {
	var out bytes.Buffer
	(&screen{w: &out, style: Style{Width: width}}).plot(s)
	return strings.Split(out.String(), "\n")
}

func TestPlotMarksWhatLeavesTheBand(t *testing.T) {
	lines := drawn(made(5, 5, 5, 5, 5, 5, 15, 5, 5, 5, 5, 5), MinWidth)
	if !strings.Contains(lines[1], "15 +") || !strings.Contains(lines[1], "#") || strings.Contains(lines[1], ".") {
		t.Errorf("the top line shows no value outside the band: %q", lines[1])
	}
	if bottom := lines[plotRows]; !strings.Contains(bottom, "0 +......") || strings.ContainsAny(bottom, "*#") {
		t.Errorf("the bottom line is not the band alone: %q", bottom)
	}
	if middle := lines[plotRows-2]; strings.Count(middle, "*") < 10 {
		t.Errorf("the values do not lie where they should: %q", middle)
	}
}

// No line is drawn over a gap, and none through a flat series' missing height.
func TestPlotLeavesGapsOpen(t *testing.T) {
	values := make([]float64, 81) // several in each column
	for i := range values {
		values[i] = 3
	}
	s := made(values...)
	s.points = append(s.points[:30], s.points[50:]...)
	for _, line := range drawn(s, MinWidth)[1 : plotRows+1] {
		body := line[11:]
		if strings.Contains(body, "*") && !strings.Contains(body, "*      ") {
			t.Errorf("the gap is closed: %q", line)
		}
		if body[12:16] != "    " {
			t.Errorf("the gap has a band: %q", line)
		}
	}
	flat := made(-3, -3, -3)
	if lines := drawn(flat, MinWidth); !strings.Contains(strings.Join(lines, ""), "***") {
		t.Errorf("a flat series is not drawn:\n%s", strings.Join(lines, "\n"))
	}
	if lines := drawn(made(), MinWidth); len(lines) < plotRows {
		t.Errorf("nothing is drawn of nothing:\n%s", strings.Join(lines, "\n"))
	}
}

// The fault and what was told stand under the time at which they were.
func TestPlotMarksFaultAndAlarms(t *testing.T) {
	s := made(5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5)
	f := &scorecard.Fault{Start: shopStart, End: shopStart}
	s.from, s.to = shopStart.UnixMilli()-600_000, shopStart.UnixMilli()+600_000
	s.fault, s.told = f, []int64{shopStart.UnixMilli()}
	lines := drawn(s, MinWidth)
	axis, marks := lines[plotRows+1], lines[plotRows+2]
	if i := strings.IndexByte(axis, '='); i < 0 || i != strings.IndexByte(marks, '^') || i != 11+(MinWidth-11)/2 {
		t.Errorf("the marks lie apart:\n%s\n%s", axis, marks)
	}
}

func TestNumbersAreShort(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.0912: "0.0912", 1: "1", 999.4: "999", 12345: "12.3k", 2.1e8: "210M", 3.3e9: "3.3G", 0.00002: "2e-05", -4.5e6: "-4.5M",
	} {
		if got := short(v); got != want || len(got) > 7 {
			t.Errorf("short(%v) is %q, want %q", v, got, want)
		}
	}
}

func TestWorkloadsHaveNames(t *testing.T) {
	for text, want := range map[string]string{
		`namespace="shop",deployment="payment"`: "shop/payment",
		`job="a,b=\"c\""`:                       `a,b="c"`,
		`sender="x\x1by"`:                       "x?y",
		`broken`:                                "broken",
		`broken="`:                              `broken="`,
		"":                                      "",
	} {
		if got := workloadName(text); got != want {
			t.Errorf("%q is named %q, want %q", text, got, want)
		}
	}
}
