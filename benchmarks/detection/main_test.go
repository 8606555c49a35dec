package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/homeostat/homeostat/models/deep"
)

// put writes a file below a folder.
func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// noise is rows of noise, one a minute, with spikes at some of them.
func noise(rows int, spikes ...int) []float64 {
	rng := rand.New(rand.NewPCG(1, 1))
	values := make([]float64, rows)
	for i := range values {
		values[i] = 100 + 5*rng.NormFloat64()
		if slices.Contains(spikes, i) {
			values[i] = 400
		}
	}
	return values
}

// labelledCSV is a file of one-minute values in which the given rows are labelled.
func labelledCSV(values []float64, labelled ...int) string {
	var b strings.Builder
	b.WriteString("timestamp,value,label\n")
	on := map[int]bool{}
	for _, row := range labelled {
		on[row] = true
	}
	for i, v := range values {
		label := 0
		if on[i] {
			label = 1
		}
		fmt.Fprintf(&b, "%d,%g,%d\n", 1_700_000_000+60*i, v, label)
	}
	return b.String()
}

func measureAll(t *testing.T, o options) (out, table string) {
	t.Helper()
	o.out = t.TempDir()
	if o.tier == "" {
		o.tier = tierLean
	}
	var w bytes.Buffer
	if err := run(o, &w); err != nil {
		t.Fatal(err)
	}
	return o.out, w.String()
}

// A series of noise with three labelled spikes: the harness must count three
// events, find them, and write a row for each point.
func TestTheHarnessFindsPlantedSpikes(t *testing.T) {
	data := t.TempDir()
	const rows = 6000
	put(t, data, "made/spikes.csv", labelledCSV(noise(rows, 3000, 4000, 5000), 3000, 4000, 5000))
	put(t, data, "made/index.csv", "set,series\nmade,spikes\n")
	out, table := measureAll(t, options{data: data})
	fields := strings.Fields(strings.Split(table, "\n")[1])
	if got := strings.Join(fields[:7], " "); got != "made 1 6000 3 3 3 0" {
		t.Errorf("set, series, points, alerts, events, hit, false = %s", got)
	}
	scores := strings.Split(get(t, out, "made", "spikes.csv"), "\n")
	if len(scores) != rows+2 || scores[0] != "timestamp,value,score,alert,label" {
		t.Errorf("%d lines of scores that begin with %q", len(scores), scores[0])
	}
	if got := scores[3001]; !strings.HasPrefix(got, "1700180000,400,") || !strings.HasSuffix(got, ",1,1") {
		t.Errorf("the row of the first spike is %q", got)
	}
	s := summaryOf(t, out)
	if s.Events.F1 != 1 || s.Events.FalseAlarmsPerSeriesWeek != 0 || s.Events.MedianDelaySeconds != 0 || s.NAB != nil {
		t.Errorf("summary %+v", s)
	}
	if s.VUSPR == nil || *s.VUSPR < 0.5 || s.NsPerPoint <= 0 || s.BytesPerSeries < 300 || s.BytesPerSeries > 1200 {
		t.Errorf("VUS-PR, ns and bytes of the summary %s", get(t, out, "summary.json"))
	}
}

func summaryOf(t *testing.T, out string) summary {
	t.Helper()
	var s summary
	text := get(t, out, "summary.json")
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal([]byte(text), &keys); err != nil {
		t.Fatal(err)
	}
	want := []string{"bytes_per_series", "events", "nab", "ns_per_point", "points", "series", "tier", "vus_pr"}
	if got := slices.Sorted(maps.Keys(keys)); !slices.Equal(got, want) {
		t.Errorf("keys of summary.json %v, want %v", got, want)
	}
	return s
}

// With the deep tier the alerts of the main path are still there, a shift that it
// follows in silence is one more, and the score is the deep tier's.
func TestTheDeepTierIsMeasuredBesideTheMainPath(t *testing.T) {
	values, shift := noise(6000, 3000), []int{}
	for i := 4600; i < 5200; i++ {
		values[i] += min(float64(i-4600)/8, 15)
		shift = append(shift, i)
	}
	data := t.TempDir()
	put(t, data, "made/shift.csv", labelledCSV(values, append(shift, 3000)...))
	row := func(table string) string {
		return strings.Join(strings.Fields(strings.Split(table, "\n")[1])[3:7], " ")
	}
	_, lean := measureAll(t, options{data: data})
	if got := row(lean); got != "1 2 1 0" {
		t.Errorf("lean: alerts, events, hit, false = %s", got)
	}
	out, table := measureAll(t, options{data: data, tier: tierDeep})
	if got := row(table); got != "3 2 2 0" && got != "2 2 2 0" {
		t.Errorf("deep: alerts, events, hit, false = %s", got)
	}
	s := summaryOf(t, out)
	if s.Tier != tierDeep || s.BytesPerSeries < deep.Bytes {
		t.Errorf("summary %+v", s)
	}
	scores := strings.Split(get(t, out, "made", "shift.csv"), "\n")
	if got := strings.Split(scores[3001], ","); got[1] != "400" || got[3] != "1" {
		t.Errorf("the row of the spike is %v", got)
	}
}

// What is said of a row depends on the rows up to it and on nothing later.
func TestTheHarnessIsCausal(t *testing.T) {
	values := noise(3000, 1400, 2500)
	whole, part := t.TempDir(), t.TempDir()
	put(t, whole, "x.csv", labelledCSV(values))
	put(t, part, "x.csv", labelledCSV(values[:1500]))
	all, _ := measureAll(t, options{data: whole})
	some, _ := measureAll(t, options{data: part})
	if !strings.HasPrefix(get(t, all, "x.csv"), get(t, some, "x.csv")) {
		t.Error("the scores of the first half change when the second half is there")
	}
}

// A leak of three days is nothing to the main path and an alert of the slow
// channel, which counts as every alert does.
func TestAlertsOfTheSlowChannelCount(t *testing.T) {
	values := noise(9 * 24 * 60)
	var labelled []int
	for i := 6 * 24 * 60; i < len(values); i++ {
		values[i] += float64(i-6*24*60) / 100
		labelled = append(labelled, i)
	}
	data := t.TempDir()
	put(t, data, "leak.csv", labelledCSV(values, labelled...))
	out, table := measureAll(t, options{data: data})
	if s := summaryOf(t, out); s.Events.Recall != 1 || s.Events.Precision != 1 {
		t.Errorf("events %+v\n%s", s.Events, table)
	}
	if want := "The main path alone, without the other channels: precision 0.000, recall 0.000,"; !strings.Contains(table, want) {
		t.Errorf("want %q in\n%s", want, table)
	}
	if got := get(t, out, "leak.csv"); !strings.HasSuffix(got, ",1,1\n") {
		t.Error("no alert stands at the end")
	}
}

func TestASeriesWithoutLabelsIsScoredAndNotJudged(t *testing.T) {
	data := t.TempDir()
	put(t, data, "x.csv", "timestamp,value\n"+
		"2024-01-01 00:00:00,1\n"+
		"2024-01-01 00:00:00,2\n"+ // repeats the time
		"2024-01-01 00:01:00,\n"+ // has no value
		"2024-01-01 09:00:00,3\n") // comes after a long gap
	out, table := measureAll(t, options{data: data})
	want := "timestamp,value,score,alert\n2024-01-01 00:00:00,1,0,0\n2024-01-01 00:00:00,2,0,0\n2024-01-01 00:01:00,NaN,0,0\n2024-01-01 09:00:00,3,0,0\n"
	if got := get(t, out, "x.csv"); got != want {
		t.Errorf("scores\n%s", got)
	}
	if s := summaryOf(t, out); s.Events != nil || s.VUSPR != nil || s.Points != 4 || s.Series != 1 {
		t.Errorf("summary %s", get(t, out, "summary.json"))
	}
	if !strings.Contains(table, " - ") {
		t.Errorf("the table gives a VUS-PR:\n%s", table)
	}
}

func TestWhatTheHarnessRefuses(t *testing.T) {
	good := "timestamp,value,label\n1,1,0\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		o     options
		want  string
	}{
		{"an unknown tier", nil, options{tier: "medium"}, "-tier medium: want lean or deep"},
		{"no series", map[string]string{"a.txt": "", "b.csv": "x,y\n1,2\n"}, options{}, "no *.csv"},
		{"another label", map[string]string{"a.csv": "timestamp,value,label\n1,1,2\n"}, options{}, `line 2: label "2": want 0 or 1`},
		{"another time", map[string]string{"a.csv": "timestamp,value\n1,1\nnoon,1\n"}, options{}, `line 3: time "noon"`},
		{"no number", map[string]string{"a.csv": "timestamp,value\n1,one\n"}, options{}, `parsing "one"`},
		{"a row that is short", map[string]string{"a.csv": "timestamp,value\n1\n"}, options{}, "wrong number of fields"},
		{"NAB without its labels", map[string]string{"a.csv": good}, options{nab: true}, "labels/combined_windows.json"},
	} {
		data := t.TempDir()
		for name, text := range c.files {
			put(t, data, name, text)
		}
		c.o.data, c.o.out = data, t.TempDir()
		if c.o.tier == "" {
			c.o.tier = tierLean
		}
		if err := run(c.o, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
	data := t.TempDir()
	put(t, data, "a.csv", good)
	if err := run(options{data: data, out: filepath.Join(data, "."), tier: tierLean}, io.Discard); err == nil {
		t.Error("the scores may replace the series")
	}
	if got := get(t, data, "a.csv"); got != good {
		t.Errorf("the series is now %q", got)
	}
}
