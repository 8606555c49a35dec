package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/homeostat/homeostat/benchmarks/throughput/load"
)

// summary is what a run came to. A field that is null makes no sense for the
// target or was not measured.
type summary struct {
	Target   string        `json:"target"`
	Series   int           `json:"series"`
	Protocol load.Protocol `json:"protocol"`
	Mix      load.Mix      `json:"mix"`
	// Samples of the steady part, which all the figures but those of new series
	// and latency are of.
	Samples         int64    `json:"samples"`
	CPUPerSample    float64  `json:"cpu_us_per_sample"`
	CPUPerScored    *float64 `json:"cpu_us_per_scored"`
	CPUPerNewSeries float64  `json:"cpu_us_per_new_series"`
	BytesPerSeries  float64  `json:"bytes_per_series"` // anonymous memory at the end of the steady part
	SamplesPerS     float64  `json:"samples_per_s"`
	Latency         latency  `json:"latency_ms"`
}

// latency is from the request on its way to the event at a subscriber, in
// milliseconds.
type latency struct {
	P50 *float64 `json:"p50"`
	P99 *float64 `json:"p99"`
}

const summaryName = "summary.json"

func (s *summary) write(dir string) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, summaryName), append(text, '\n'), 0o666)
}

// table writes the summaries below dir as a Markdown table, those with the same
// load together and homeostat first, with each peer's cost over homeostat's.
func table(dir string, w io.Writer) error {
	all, err := summariesBelow(dir)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("no %s below %s", summaryName, dir)
	}
	slices.SortStableFunc(all, func(a, b summary) int {
		if a.Series != b.Series {
			return a.Series - b.Series
		}
		if d := strings.Compare(string(a.Mix)+string(a.Protocol), string(b.Mix)+string(b.Protocol)); d != 0 {
			return d
		}
		return targetOrder(a.Target) - targetOrder(b.Target)
	})
	fmt.Fprintln(w, "| series | mix | protocol | target | CPU us a sample | us a scored | us a new series | bytes a series | samples/s | p50 / p99 ms | CPU over homeostat's: sample, new series |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|---|")
	var ours *summary
	for i := range all {
		s := &all[i]
		if s.Target == homeostat {
			ours = s
		}
		ratio := "-"
		if ours != nil && ours != s && ours.load() == s.load() {
			ratio = fmt.Sprintf("%.1f, %.1f", s.CPUPerSample/ours.CPUPerSample, s.CPUPerNewSeries/ours.CPUPerNewSeries)
		}
		fmt.Fprintf(w, "| %d | %s | %s | %s | %.2f | %s | %.1f | %.0f | %.0f | %s / %s | %s |\n", s.Series, s.Mix, s.Protocol, s.Target,
			s.CPUPerSample, figure(s.CPUPerScored, 2), s.CPUPerNewSeries, s.BytesPerSeries, s.SamplesPerS,
			figure(s.Latency.P50, 1), figure(s.Latency.P99, 1), ratio)
	}
	return nil
}

// load is what makes two summaries comparable.
func (s *summary) load() string { return fmt.Sprint(s.Series, s.Mix, s.Protocol) }

func targetOrder(target string) int {
	if i := slices.Index([]string{homeostat, prometheus, victoriametrics}, target); i >= 0 {
		return i
	}
	return 3
}

func figure(v *float64, digits int) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.*f", digits, *v)
}

func summariesBelow(dir string) ([]summary, error) {
	var all []summary
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() != summaryName {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var s summary
		if err := json.Unmarshal(text, &s); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, s)
		return nil
	})
	return all, err
}
