package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

// clockOf is the time of a row of a corpus' series, one in five minutes.
func clockOf(row int) string {
	return time.Date(2014, 2, 1, 0, 5*row, 0, 0, time.UTC).Format(time.DateTime)
}

// putCorpus writes a corpus of two series in NAB's own layout: one has a spike in
// a window of 50 rows, at its middle, and a smaller one long before it; the other
// is quiet and without a window.
func putCorpus(t *testing.T, dir string) {
	t.Helper()
	spiky, quiet := noise(2000, 1525), noise(2000)
	spiky[900] = 200
	for name, values := range map[string][]float64{"data/a/spiky.csv": spiky, "data/b/quiet.csv": quiet} {
		var b strings.Builder
		b.WriteString("timestamp,value\n")
		for i, v := range values {
			fmt.Fprintf(&b, "%s,%g\n", clockOf(i), v)
		}
		put(t, dir, name, b.String())
	}
	put(t, dir, "labels/combined_windows.json", fmt.Sprintf(`{"a/spiky.csv": [["%s.000000", "%s.000000"]], "b/quiet.csv": []}`,
		clockOf(1500), clockOf(1549)))
}

func TestTheNABScoreOfACorpus(t *testing.T) {
	data := t.TempDir()
	putCorpus(t, data)
	out, table := measureAll(t, options{data: data, nab: true})
	if !strings.HasSuffix(strings.Split(get(t, out, "data", "a", "spiky.csv"), "\n")[1501], ",1") {
		t.Error("the first row of the window is not labelled")
	}
	s := summaryOf(t, out)
	if s.NAB == nil {
		t.Fatalf("no NAB score in\n%s", table)
	}
	// The spike in the middle of the window has the highest score of all, so the
	// best threshold finds it alone; the shipped one finds the false one too.
	worth := math.Tanh(2.5*0.5) / math.Tanh(2.5)
	for _, c := range []struct {
		name   string
		got    nabScores
		fp, fn float64
	}{{"standard", s.NAB.Standard, 0.11, 1}, {"low_fp", s.NAB.LowFP, 0.22, 1}, {"low_fn", s.NAB.LowFN, 0.11, 2}} {
		if want := 100 * (worth + c.fn) / (1 + c.fn); math.Abs(c.got.Optimised-want) > 1e-9 {
			t.Errorf("%s: optimised %v, want %v", c.name, c.got.Optimised, want)
		}
		if most := 100 * (worth - c.fp + c.fn) / (1 + c.fn); c.got.Shipped > most+1e-9 || c.got.Shipped < most-30 {
			t.Errorf("%s: shipped %v, want %v or a little less", c.name, c.got.Shipped, most)
		}
	}
	if s.Events.Recall != 1 || s.Events.Precision != 0.5 {
		t.Errorf("events %+v, want one hit and one false alarm", s.Events)
	}
}

func TestANABScoreWantsTheWholeCorpus(t *testing.T) {
	for name, c := range map[string]struct{ json, want string }{
		"a series is missing":       {`{"a/spiky.csv": [], "b/quiet.csv": [], "b/lost.csv": []}`, "there is no b/lost.csv"},
		"a series is not named":     {`{"a/spiky.csv": []}`, "does not name b/quiet.csv"},
		"a window between the rows": {`{"a/spiky.csv": [["2014-02-01 00:01:00", "2014-02-01 00:10:00"]], "b/quiet.csv": []}`, "no row has that time"},
		"a window that ends first":  {`{"a/spiky.csv": [["2014-02-01 00:10:00", "2014-02-01 00:05:00"]], "b/quiet.csv": []}`, "in order and apart"},
		"no labels at all":          {`[]`, "cannot unmarshal"},
	} {
		data := t.TempDir()
		putCorpus(t, data)
		put(t, data, "labels/combined_windows.json", c.json)
		err := run(options{data: data, out: t.TempDir(), tier: tierLean, nab: true}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestPublishedResultsAreCheckedToAHundredth(t *testing.T) {
	for _, c := range []struct {
		name, official, want string
	}{
		{"as published", "perfect,100,100,100\nnull,0,0,0\n", ""},
		{"within the tolerance", "perfect,99.991,100,100.009\n", ""},
		{"one is off", "perfect,100,99.98,100\n", "1 of 3 figures differ"},
		{"not published", "other,1,2,3\n", "does not name perfect"},
		{"not a number", "perfect,1,2,x\n", "line 2"},
	} {
		data := t.TempDir()
		putCorpus(t, data)
		for series, detected := range map[string]int{"a/spiky.csv": 1500, "b/quiet.csv": -1} {
			var b strings.Builder
			b.WriteString("timestamp,anomaly_score\n")
			for i := range 2000 {
				score := 0.25
				if i == detected {
					score = 0.75
				}
				fmt.Fprintf(&b, "%s,%v\n", clockOf(i), score)
			}
			put(t, data, "results/perfect/"+series, b.String())
		}
		put(t, data, "results/final_results.csv", "detector,standard,low_fp,low_fn\n"+c.official)
		var table strings.Builder
		err := run(options{data: data, tier: tierLean, nabResults: true}, &table)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q\n%s", c.name, err, c.want, table.String())
		}
	}
	if err := run(options{data: t.TempDir(), tier: tierLean, nabResults: true}, io.Discard); err == nil {
		t.Error("a folder without a corpus passes")
	}
}
