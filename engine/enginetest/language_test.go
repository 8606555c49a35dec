package enginetest

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/value"

	"github.com/homeostat/homeostat/engine"
)

const aSeries = "series a every 30s normal(1,1)x10\n"

func TestMistakesAreToldWithTheirLine(t *testing.T) {
	for _, v := range []struct{ src, want string }{
		{"", "x.txt:1: the scenario has no series"},
		{"# nothing\n\nserie a every 30s 1", `x.txt:3: statement "serie" is unknown; did you mean "series"?`},
		{"series a every 30s norml(1,1)", `x.txt:1: generator "norml" is unknown; did you mean "normal"?`},
		{"series a every 30s normal(1)", "normal has 1 arguments, want 2"},
		{"series a every 30s normal(1,x)", `normal: "x" is no number`},
		{"series a every 30s normal(1,1)x0", "count 0: want 1 to"},
		{"series a every 30s normal(1,1)x10s", "shorter than the series' interval"},
		{"series a every 30s normal(1,1)x99999999", "count 99999999"},
		{"series a every 30s leak(1)x5 1x5", "leak changes all that follows and has no count"},
		{"series a every 30s _x5", "the series has no values"},
		{"series a every 30s", "the series has no values"},
		{"series a every 30s normal(1,1) counter(5)", "counter does not go with the values before it"},
		{"series a every 30s normal(1,1) reset 1x5", "reset is for what counts"},
		{"series a every 30s histogram(1,1,1)x5 step(3)", "step changes a gauge or a counter only"},
		{"series a every 30s ratio(5,2)x5", "a share is from 0 to 1"},
		{"series a every 30s counter(-1)x5", "want a number of 0 or more first"},
		{"series a 30s 1x5", `"30s": want "every" here`},
		{"series a every soon 1x5", `duration "soon"`},
		{"series a every 10000000d 1x5", `duration "10000000d"`},
		{"series 9a every 30s 1x5", "is no metric name"},
		{"series a{b=c} every 30s 1x5", "the value of b wants quotes"},
		{`series a{b="c" every 30s 1x5`, "not closed"},
		{`series a{b="c",b="d"} every 30s 1x5`, "b comes twice"},
		{`series a{b="c} every 30s 1x5`, "a quote"},
		{"for n in 1..3 serie a every 30s 1x5", "only series come in numbers"},
		{"for n in 3..1 series a every 30s 1x5", `range "3..1"`},
		{"for n in 1..999999999 series a every 30s 1x5", "at most 10000"},
		{"zone Europe/Berlim", `zone "Europe/Berlim" is unknown`},
		{"start yesterday", `start "yesterday"`},
		{"tick 5m", "tick: want a duration from 1s to 1m"},
		{"config silent_aftr 5m", `setting "silent_aftr" is unknown; did you mean "silent_after"?`},
		{"config silent_after 400d", "duration"},
		{"at 5m labl last true", `act "labl" is unknown; did you mean "label"?`},
		{"at 5m label last fals-alarm", `judgement "fals-alarm" is unknown; did you mean "false-alarm"?`},
		{"at 5m restart now", `"now" is too much`},
		{"expect anomly", `expectation "anomly" is unknown; did you mean "anomaly"?`},
		{"expect anomaly kind=spyke", `kind "spyke" is unknown; did you mean "spike"?`},
		{"expect anomaly knd=spike", `condition "knd" is unknown; did you mean "kind"?`},
		{"expect anomaly value=high", `value: "high" is no number`},
		{"expect anomaly kind>spike", "kind is a text"},
		{"expect anomaly within 5m 3h", `want "of" here`},
		{"expect no anomaly count=3", "contradict"},
		{"expect samples", "expect samples NAME=NUMBER"},
		{"expect samples rejectd=0", `did you mean "rejected"?`},
	} {
		_, err := Parse("x.txt", []byte(v.src))
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Error(), v.want) {
			t.Errorf("%q: %v, want %q", v.src, err, v.want)
		}
	}
	_, err := Parse("x.txt", []byte(aSeries+"\n"+"expect anomaly knd=spike"))
	if err == nil || !strings.HasPrefix(err.Error(), "x.txt:3: ") {
		t.Errorf("the line is told as %v", err)
	}
}

// made is what a series line sends, by name and labels.
func made(t *testing.T, src string) map[string][]engine.Sample {
	t.Helper()
	s, err := Parse("x.txt", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.samples(engine.Naming{}, s.zoneUntil(s.start+30*24*hour))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]engine.Sample{}
	for _, x := range all {
		x.At -= s.start
		out[x.Series.Text()] = append(out[x.Series.Text()], x.Sample)
	}
	return out
}

func TestNumbersAreAsInPrometheus(t *testing.T) {
	got := ""
	for _, x := range made(t, "series a every 30s 5 1x2 _x2 1+2x3 -1-1x1 stale 7")["a"] {
		v := fmt.Sprint(x.Value)
		if value.IsStaleNaN(x.Value) {
			v = "stale"
		}
		got += fmt.Sprintf("%d:%s ", x.At/30_000, v)
	}
	want := "0:5 1:1 2:1 3:1 6:1 7:3 8:5 9:7 10:-1 11:-2 12:stale 13:7 "
	if got != want {
		t.Errorf("made %s\nwant %s", got, want)
	}
}

func TestChangesHoldForAllThatFollows(t *testing.T) {
	for src, want := range map[string][]float64{
		"series a every 30m const(10)x1 step(5) const(10)x2 scale(2) const(10)x1": {10, 15, 15, 25},
		"series a every 30m const(10)x1 leak(4) const(10)x3 leak(0) const(10)x2":  {10, 10, 12, 14, 16, 16},
		"series a every 30m ramp(0,4)x4":                                          {1, 2, 3, 4},
	} {
		got := made(t, src)["a"]
		for i, w := range want {
			if i >= len(got) || math.Abs(got[i].Value-w) > 1e-9 {
				t.Errorf("%s: %+v, want %v", src, got, want)
				break
			}
		}
	}
}

// Behind a gap a counter goes on, and a reset begins it anew.
func TestCountersCount(t *testing.T) {
	got := made(t, "series a_total every 10s counter(100)x100 _x100 counter(100)x1 reset counter(100)x1")["a_total"]
	if n := got[99].Value; math.Abs(n-100_000) > 2000 {
		t.Errorf("after 1000 s at 100 a second: %v", n)
	}
	if n := got[100].Value; math.Abs(n-201_000) > 3000 {
		t.Errorf("behind the gap: %v", n)
	}
	if n := got[101].Value; math.Abs(n-1000) > 200 {
		t.Errorf("after the reset: %v", n)
	}
}

func TestHistogramsAndRatiosExpand(t *testing.T) {
	h := made(t, `series d{svc="a"} every 15s histogram(20,0.08,0.5)x100`)
	last := func(name string) float64 { return h[name][99].Value }
	count, half := last(`d_count{svc="a"}`), last(`d_bucket{le="0.1",svc="a"}`)
	if len(h) != len(bucketBounds)+2 || last(`d_bucket{le="+Inf",svc="a"}`) != count || math.Abs(count-30_000) > 1500 {
		t.Errorf("%d series, %v observed", len(h), count)
	}
	if share := half / count; share < .6 || share > .75 { // P(Z < ln(.1/.08)/.5) = .672
		t.Errorf("%.3f lie up to 0.1 s", share)
	}
	if mean := last(`d_sum{svc="a"}`) / count; math.Abs(mean/.0907-1) > .05 { // .08 e^(.5²/2)
		t.Errorf("the mean is %v", mean)
	}
	r := made(t, `series r_total{svc="a"} every 15s ratio(40,0.1)x1000`)
	good, bad := r[`r_total{code="200",svc="a"}`][999].Value, r[`r_total{code="500",svc="a"}`][999].Value
	if math.Abs(good+bad-40_000) > 1000 || math.Abs(bad/(good+bad)-.1) > .01 {
		t.Errorf("%v good, %v bad", good, bad)
	}
}

// A further series changes no other, the seed changes all.
func TestNoiseIsTheSeriesOwn(t *testing.T) {
	alone := made(t, aSeries)["a"]
	if among := made(t, "series b every 30s normal(1,1)x10\n"+aSeries)["a"]; fmt.Sprint(values(among)) != fmt.Sprint(values(alone)) {
		t.Error("another series changed the noise")
	}
	if other := made(t, "seed 2\n"+aSeries)["a"]; fmt.Sprint(values(other)) == fmt.Sprint(values(alone)) {
		t.Error("another seed made the same noise")
	}
}

func values(xs []engine.Sample) (out []float64) {
	for _, x := range xs {
		out = append(out, x.Value)
	}
	return out
}

func TestForMakesCopies(t *testing.T) {
	got := made(t, `for pod in 9..11 series a{pod="p-$pod"} every 30s from ${pod}s 1x2`)
	if len(got) != 3 || got[`a{pod="p-10"}`][0].At != 10_000 {
		t.Errorf("%v", got)
	}
}

// The day follows the clocks of the zone, before and after they change.
func TestDaysFollowTheZone(t *testing.T) {
	for _, x := range made(t, "zone Europe/Berlin\nstart 2026-03-27T00:00:00Z\nseries a every 1h season(0,1)x96")["a"] {
		utc := x.At / hour
		local := utc + 1
		if utc >= 49 { // 29 March, 01:00 UTC
			local++
		}
		if peak := local%24 == 15; peak != (x.Value > .999) {
			t.Errorf("%d h after the start the day is at %v", utc, x.Value)
		}
	}
}

// Each expectation can fail, and then says what was seen.
func TestExpectationsCanFail(t *testing.T) {
	const spike = "series depth{svc=\"a\"} every 30s normal(100,5)x6h spike(400,5)x6 normal(100,5)x1h\nat 6h30m label last false-alarm by ann\n"
	for _, v := range []struct{ expect, want string }{
		{"expect no anomaly", "there are 1; seen:\n\t0d 06:00:00 anomaly spike"},
		{"expect anomaly kind=dip", "there is none; seen:\n\t0d 06:00:00 anomaly spike"},
		{"expect anomaly count=2", "there are 1"},
		{"expect anomaly series=other", "there is none"},
		{"expect anomaly series=depth{svc=\"b\"}", "there is none"},
		{"expect anomaly within 1m of 5h", "there is none"},
		{"expect anomaly after 7h", "there is none"},
		{"expect anomaly before 6h", "there is none"},
		{"expect anomaly value<300", "there is none"},
		{"expect anomaly state=open", "there is none"},
		{"expect anomaly lasting<1m", "there is none"},
		{"expect no incident", "there are 1"},
		{"expect incident members>=2", "there is none"},
		{"expect threshold down", "there is none; seen:"},
		{"expect no threshold", "there are 1"},
		{"expect data_fault", "there is none"},
		{"expect silence", "there is none"},
		{"expect outcome verdict=true", "there is none; seen:"},
		{"expect decision verb=hold", "there is none"},
		{"expect samples rejected=1", "there is none; seen:"},
	} {
		s, err := Parse("x.txt", []byte(spike+v.expect))
		if err != nil {
			t.Fatal(err)
		}
		r := mustRun(t, s, Options{})
		if len(r.Failures) != 1 || r.Failures[0].Line != 3 || !strings.Contains(r.Failures[0].Text, v.want) {
			t.Errorf("%s: %s, want %q", v.expect, r.Report("x.txt"), v.want)
		}
	}
}

func TestActsThatCannotBe(t *testing.T) {
	s, err := Parse("x.txt", []byte(aSeries+"at 1m label last true by ann\nat 2m undo by ann\nat 5d restart\n"))
	if err != nil {
		t.Fatal(err)
	}
	report := mustRun(t, s, Options{}).Report("x.txt")
	for _, want := range []string{"x.txt:2: label: there is no anomaly", "x.txt:3: undo: no label", "x.txt:4: the scenario ends"} {
		if !strings.Contains(report, want) {
			t.Errorf("%s\nwant %q", report, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(aSeries + "expect anomaly kind=spike within 5m of 3h count>=1")
	f.Add("for n in 1..3 series a{b=\"$n\"} every 30s 1+2x3 _x2 stale leak(2) season(1,2,3)x1d")
	f.Add("zone Europe/Berlin\nat 3d label last false-alarm of a by ann\nexpect threshold up")
	f.Fuzz(func(t *testing.T, src string) {
		var e *Error
		if _, err := Parse("x", []byte(src)); err != nil && !errors.As(err, &e) {
			t.Errorf("%v has no line", err)
		}
	})
}
