package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A series of noise with three labelled spikes: the harness must count three
// events, find them, and write a row for each point.
func TestTheHarnessFindsPlantedSpikes(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "made"), 0o777); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	var b strings.Builder
	b.WriteString("timestamp,value,label\n")
	const rows = 6000
	for i := range rows {
		v, label := 100+5*rng.NormFloat64(), 0
		if i == 3000 || i == 4000 || i == 5000 {
			v, label = 400, 1
		}
		fmt.Fprintf(&b, "%d,%g,%d\n", 1_700_000_000+60*i, v, label)
	}
	if err := os.WriteFile(filepath.Join(dir, "made", "spikes.csv"), []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	var summary bytes.Buffer
	if err := run(dir, out, &summary); err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(strings.Split(summary.String(), "\n")[1])
	if got := strings.Join(fields[:6], " "); got != "made 1 6000 3 3 0" {
		t.Errorf("set, series, points, events, hit, false = %s", got)
	}
	scores, err := os.ReadFile(filepath.Join(out, "made", "spikes.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(scores), "\n"); got != rows+1 {
		t.Errorf("%d lines of scores, want %d", got, rows+1)
	}
}
