package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

// textOf is the text of a generated recording.
func textOf(t *testing.T, seed uint64) (scorecard.Truth, []byte) {
	t.Helper()
	truth, series := slowLeak(seed)
	var text bytes.Buffer
	if err := dump(&text, series, func(at time.Time) time.Time { return at }); err != nil {
		t.Fatal(err)
	}
	return truth, text.Bytes()
}

func TestOneSeedGeneratesOneRecording(t *testing.T) {
	truth, one := textOf(t, 1)
	if sameTruth, same := textOf(t, 1); !bytes.Equal(one, same) || !reflect.DeepEqual(truth, sameTruth) {
		t.Error("one seed made two recordings")
	}
	if _, other := textOf(t, 2); bytes.Equal(one, other) {
		t.Error("two seeds made one recording")
	}
}

func TestGenerateWritesARecordingAndItsTruth(t *testing.T) {
	dir := t.TempDir()
	if err := generate([]string{"-seed", "2", "-out", dir}, io.Discard); err != nil {
		t.Fatal(err)
	}
	want, text := textOf(t, 2)
	if got := unpacked(t, filepath.Join(dir, "leak_days_2.om.zst")); !bytes.Equal(got, text) {
		t.Errorf("%d bytes were written: want the %d of the series", len(got), len(text))
	}
	b, err := os.ReadFile(filepath.Join(dir, "leak_days_2.truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := scorecard.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	want.Name, want.Command = "leak_days_2", "go run ./cmd/incidentlab generate -seed 2 -out "+dir
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the truth is\n%+v\nwant\n%+v", got, want)
	}
}

// TestAGeneratedLeakIsWhereItsTruthSays holds each pod's memory against what it
// was whole days earlier, which takes the season out: it rises by what the words
// say while the truth lasts, in one pod, and is as before when it is over.
func TestAGeneratedLeakIsWhereItsTruthSays(t *testing.T) {
	for seed := range uint64(10) {
		truth, text := textOf(t, seed)
		f := truth.Faults[0]
		var sick int
		var perHour float64
		if _, err := fmt.Sscanf(f.Words, "instance %d of payment keeps %f MiB", &sick, &perHour); err != nil {
			t.Fatalf("%q: %v", f.Words, err)
		}
		for name, s := range read(t, text) {
			if !strings.Contains(name, "working_set") {
				continue
			}
			leaks := strings.Contains(name, fmt.Sprintf(`instance="10.0.0.%d:8080"`, sick+1))
			// As many whole days after a time before the leak as lie behind it.
			before := f.Start.Add(-2 * time.Hour)
			days := math.Ceil((f.End.Sub(before).Hours() + 2) / 24)
			for _, test := range []struct {
				about    string
				from, to time.Time
				rise     float64 // of the pod that leaks, MiB
			}{
				{"before", before.Add(-24 * time.Hour), before, 0},
				{"in its first day", f.Start.Add(-time.Hour), f.Start.Add(23 * time.Hour), 23 * perHour},
				{"afterwards", before, before.Add(time.Duration(days) * 24 * time.Hour), 0},
			} {
				want := 0.0
				if leaks {
					want = test.rise
				}
				// Two places of the walk differ by 6 MiB, rarely by four times that;
				// the slowest leak is 69 in its first day.
				if rise := hourAround(s, test.to) - hourAround(s, test.from); math.Abs(rise-want) > 25 {
					t.Errorf("seed %d: %s %s rises by %.1f MiB: want %.1f", seed, name, test.about, rise, want)
				}
			}
		}
	}
}

// hourAround is the mean of the hour around a time, in MiB.
func hourAround(s *dumped, at time.Time) float64 {
	sum, n := 0.0, 0
	for i, ms := range s.at {
		if d := time.UnixMilli(ms).Sub(at).Abs(); d <= 30*time.Minute {
			sum, n = sum+s.value[i], n+1
		}
	}
	return sum / float64(n) / (1 << 20)
}
