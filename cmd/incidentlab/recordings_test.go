package main

import (
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/ingest/history"
)

const incidents = "../../testdata/incidents"

// The sets of recordings, each a folder of testdata/incidents.
const (
	mainSet   = "."
	laterSet  = "later"
	tuningSet = "tuning"
)

// recording is one that is committed.
type recording struct {
	set   string
	truth scorecard.Truth
}

func (r recording) path() string { return filepath.Join(incidents, r.set, r.truth.Name+".om.zst") }

// recordings reads the truth of all, in the order of their paths.
func recordings(t *testing.T) (all []recording) {
	t.Helper()
	for _, set := range []string{mainSet, laterSet, tuningSet} {
		paths, err := filepath.Glob(filepath.Join(incidents, set, "*.truth.json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			truth, err := scorecard.Parse(b)
			if err != nil {
				t.Errorf("%s: %v", path, err)
			}
			if want := truth.Name + ".truth.json"; filepath.Base(path) != want {
				t.Errorf("%s is the truth of %s: want it in %s", path, truth.Name, want)
			}
			all = append(all, recording{set, truth})
		}
	}
	return all
}

// TestTheSetsAreWhole counts: the table of results says which sets it is over.
func TestTheSetsAreWhole(t *testing.T) {
	count, quiet, planted, names := map[string]int{}, 0, map[scorecard.Kind]bool{}, map[string]bool{}
	for _, r := range recordings(t) {
		count[r.set]++
		if names[r.truth.Name] {
			t.Errorf("two recordings are called %s", r.truth.Name)
		}
		names[r.truth.Name] = true
		if r.set != mainSet {
			continue
		}
		if len(r.truth.Faults) == 0 {
			quiet++
		}
		for _, f := range r.truth.Faults {
			planted[f.Kind] = true
		}
	}
	for _, kind := range scorecard.Kinds {
		if !planted[kind] {
			t.Errorf("no recording of the main set has a fault of the kind %s", kind)
		}
	}
	if quiet < 2 || count[laterSet] < 4 {
		t.Errorf("%d recordings of the main set are without faults and %d are later: want at least 2 and 4", quiet, count[laterSet])
	}
}

// mostBytes bounds what a clone must fetch for the recordings.
const mostBytes = 20_000_000

// TestTheFolderHoldsRecordingsAndLittleElse pairs the files, and weighs them.
func TestTheFolderHoldsRecordingsAndLittleElse(t *testing.T) {
	size := int64(0)
	err := filepath.WalkDir(incidents, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		size += info.Size()
		if name, is := strings.CutSuffix(path, ".om.zst"); is {
			if _, err := os.Stat(name + ".truth.json"); err != nil {
				t.Errorf("%s has no truth: %v", path, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if size > mostBytes {
		t.Errorf("%s has %d bytes: want at most %d", incidents, size, mostBytes)
	}
}

// TestATruthIsWhatItsCommandPlants makes each schedule again.
func TestATruthIsWhatItsCommandPlants(t *testing.T) {
	for _, r := range recordings(t) {
		var want scorecard.Truth
		if r.truth.Generated {
			want, _ = slowLeak(r.truth.Seed)
		} else {
			scenario := strings.TrimSuffix(r.truth.Name, fmt.Sprintf("_%d", r.truth.Seed))
			p, err := schedule(scenario, r.truth.Seed)
			if err != nil {
				t.Errorf("%s: %v", r.truth.Name, err)
				continue
			}
			made := recorder{
				scenario: scenario, name: r.truth.Name, out: filepath.ToSlash(filepath.Join("testdata/incidents", r.set)),
				seed: r.truth.Seed, compression: r.truth.Compression, scrape: usualScrape,
			}
			want = made.truth(p)
			if got := r.truth.Command; got != want.Command {
				t.Errorf("%s was made by\n%s\nwant\n%s", r.truth.Name, got, want.Command)
			}
		}
		got := r.truth
		for _, pair := range [][2]any{
			{got.Start, want.Start},
			{got.ScoredFrom, want.ScoredFrom},
			{got.End, want.End},
			{got.ScrapeSeconds, want.ScrapeSeconds},
			{got.Faults, want.Faults},
			{got.Nuisances, want.Nuisances},
		} {
			if a, b := fmt.Sprint(pair[0]), fmt.Sprint(pair[1]); a != b {
				t.Errorf("%s says\n%s\nits command makes\n%s", r.truth.Name, a, b)
			}
		}
	}
}

// TestRecordingsAreReplayed reads each as a replay would: the services are there
// as long as the truth says, none but the planted scrapes are lost for long, and
// counters fall only where a process began anew.
func TestRecordingsAreReplayed(t *testing.T) {
	for _, r := range recordings(t) {
		t.Run(r.truth.Name, func(t *testing.T) {
			t.Parallel()
			checkRecording(t, r)
		})
	}
}

func checkRecording(t *testing.T, r recording) {
	src, err := history.Open(history.Config{}, r.path())
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var first, last time.Time
	seen, before := map[string]bool{}, map[*engine.Series]float64{}
	for {
		ev, err := src.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, is := ev.(*engine.Batch)
		if !is {
			continue
		}
		for _, s := range b.Samples {
			at := time.UnixMilli(s.At)
			if first.IsZero() {
				first = at
			}
			last = at
			seen[workloadOf(s.Series.Labels.Get("deployment"))] = true
			name := s.Series.Labels.Get(labels.MetricName)
			if s.Value < before[s.Series] && familyOf(name) != name && !r.restarted(s.Series, at) {
				t.Errorf("%s falls from %v to %v at %v, when nothing began anew", s.Series.Labels, before[s.Series], s.Value, at)
			}
			before[s.Series] = s.Value
		}
	}
	if first.Before(r.truth.Start) || first.After(r.truth.Start.Add(30*time.Minute)) || last.Before(r.truth.End.Add(-5*time.Minute)) || last.After(r.truth.End.Add(5*time.Minute)) {
		t.Errorf("the data is from %v to %v: the truth says %v to %v", first, last, r.truth.Start, r.truth.End)
	}
	for _, f := range slices.Concat(r.truth.Faults, r.truth.Nuisances) {
		if !seen[f.Workload] {
			t.Errorf("nothing was recorded of %s, which has a %s", f.Workload, f.Kind)
		}
	}
}

// restarted says whether a process of the series' service began anew shortly
// before a time.
func (r recording) restarted(s *engine.Series, at time.Time) bool {
	return slices.ContainsFunc(slices.Concat(r.truth.Faults, r.truth.Nuisances), func(f scorecard.Fault) bool {
		begins := slices.Contains([]scorecard.Kind{scorecard.Silence, scorecard.Leak, scorecard.Deploy, restart}, f.Kind)
		late := at.Sub(f.End)
		return begins && f.Workload == workloadOf(s.Labels.Get("deployment")) && late >= -time.Minute && late < 15*time.Minute
	})
}

var rewrite = flag.Bool("rewrite", false, "rewrite the table in testdata/incidents/README.md")

// TestTheTableOfRecordingsIsCurrent holds the README's table against the truths.
func TestTheTableOfRecordingsIsCurrent(t *testing.T) {
	path := filepath.Join(incidents, "README.md")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- table -->\n", "<!-- end -->\n"
	head, rest, found := strings.Cut(string(b), begin)
	_, tail, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the table", path)
	}
	want := head + begin + table(recordings(t)) + end + tail
	if *rewrite {
		if err := os.WriteFile(path, []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(b) != want {
		t.Errorf("%s is not current: run go test ./cmd/incidentlab -run Table -rewrite", path)
	}
}

// excused is the part of the scored time in which an alarm is not counted because
// the machine stood still, or had shortly before. Stalls are in order of time.
func excused(truth *scorecard.Truth) float64 {
	sum, until := time.Duration(0), truth.ScoredFrom
	for _, s := range truth.Stalls {
		from, to := s.Start, s.End.Add(scorecard.Recovery)
		if from.Before(until) {
			from = until
		}
		if to.After(truth.End) {
			to = truth.End
		}
		if to.After(from) {
			sum, until = sum+to.Sub(from), to
		}
	}
	return sum.Seconds() / truth.End.Sub(truth.ScoredFrom).Seconds()
}

func TestStallsThatOverlapAreExcusedOnce(t *testing.T) {
	at := func(minute int) time.Time { return start.Add(time.Duration(minute) * time.Minute) }
	truth := scorecard.Truth{ScoredFrom: at(100), End: at(200), Stalls: []scorecard.Stall{
		{Start: at(10), End: at(95)}, {Start: at(120), End: at(125)}, {Start: at(130), End: at(131)}, {Start: at(198), End: at(199)},
	}}
	if got := excused(&truth); got < 0.279 || got > 0.281 {
		t.Errorf("%v of the time is excused: want 5 + 21 + 2 of 100 minutes", got)
	}
}

// table lists recordings, a row for each fault.
func table(all []recording) string {
	var b strings.Builder
	b.WriteString("| set | recording | seed | fault | from | to | culprit | nuisances | not counted |\n|---|---|---|---|---|---|---|---|---|\n")
	sets := map[string]string{mainSet: "main", laterSet: "later", tuningSet: "tuning"}
	for _, r := range all {
		var nuisances []string
		for _, n := range r.truth.Nuisances {
			nuisances = append(nuisances, string(n.Kind))
		}
		row := func(fault, from, to, culprit string) {
			fmt.Fprintf(&b, "| %s | %s | %d | %s | %s | %s | %s | %s | %.1f %% |\n", sets[r.set], r.truth.Name, r.truth.Seed, fault, from, to, culprit,
				strings.Join(nuisances, ", "), 100*excused(&r.truth))
		}
		for _, f := range r.truth.Faults {
			const minute = "Mon 15:04"
			_, deployment, _ := strings.Cut(f.Workload, "deployment=")
			row(f.Words, f.Start.Format(minute), f.End.Format(minute), strings.Trim(deployment, `"`))
		}
		if len(r.truth.Faults) == 0 {
			row("none", "", "", "")
		}
	}
	return b.String()
}
