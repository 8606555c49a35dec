package enginetest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones of the scenarios, on a machine without them

	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/golden anew")

const (
	scenarioFolder = "../../testdata/scenarios"
	goldenFolder   = "../../testdata/golden"
)

// TestScenarios runs every scenario, and then again as nothing may change what
// comes of it: with other numbers of shards, requests cut at random, and a
// restart in the middle.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(scenarioFolder, "*.txt"))
	if err != nil || len(files) < 12 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Parse(filepath.Base(file), src)
			if err != nil {
				t.Fatal(err)
			}
			plain := mustRun(t, s, Options{})
			if report := plain.Report(s.Name); report != "" {
				t.Errorf("%s", report)
			}
			want := plain.Text()
			golden(t, name, want)
			for i, o := range []Options{
				{Shards: 2},
				{Shards: 7, SplitSeed: 1},
				{SplitSeed: 2, RestartAt: middle(plain)},
			} {
				t.Run(fmt.Sprintf("again=%d", i), func(t *testing.T) {
					if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(mustRun(t, s, o).Text(), "\n")); diff != "" {
						t.Errorf("%+v changes what comes of it (- plain, + again):\n%.4000s", o, diff)
					}
				})
			}
		})
	}
}

func mustRun(t *testing.T, s *Scenario, o Options) *Result {
	t.Helper()
	r, err := s.Run(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// middle is the time of the middle record, which is where most is going on.
func middle(r *Result) time.Duration {
	if len(r.Records) == 0 {
		return 30 * time.Minute
	}
	_, at, _ := r.describe(r.Records[len(r.Records)/2])
	return time.Duration(at-r.start) * time.Millisecond
}

// golden compares with the recorded text, for those scenarios that have one.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join(goldenFolder, name+".txt")
	want, err := os.ReadFile(file)
	if err != nil {
		return
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("what came of it is not what %s holds; -rewrite writes it anew:\n%.4000s", file, diff)
	}
}
