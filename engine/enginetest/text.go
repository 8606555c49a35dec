package enginetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/homeostat/homeostat/engine"
)

// Text is what came of the run, a line for each record in canonical order
// (epoch, time, series, kind), for a person and for golden files.
func (r *Result) Text() string {
	type entry struct {
		epoch, at int64
		line      string
	}
	var entries []entry
	for _, rec := range r.Records {
		epoch, at, line := r.describe(rec)
		if line != "" {
			entries = append(entries, entry{epoch, at, line})
		}
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		switch {
		case a.epoch != b.epoch:
			return int(min(max(a.epoch-b.epoch, -1), 1))
		case a.at != b.at:
			return int(min(max(a.at-b.at, -1), 1))
		}
		return strings.Compare(a.line, b.line)
	})
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%s  %s\n", since(e.at-r.start), e.line)
	}
	return b.String()
}

func (r *Result) describe(rec engine.Record) (epoch, at int64, line string) {
	switch v := rec.(type) {
	case *engine.Anomaly:
		return v.Epoch, v.At, fmt.Sprintf("%-8s %-13s %s %s score %.3f value %.6g expected %.6g in [%.6g, %.6g] theta %.3f",
			v.Revision, v.Kind, v.Series.Text(), v.ID, v.Score.Float(), v.Value, v.Expected, v.Lower, v.Upper, v.Threshold.Open.Float())
	case *engine.Incident:
		return v.Epoch, v.At, fmt.Sprintf("%-8s incident %s %s %s, %d members, peak %.3f",
			v.Revision, v.State, v.Workload, v.ID, len(v.Members)+v.Dropped, v.Peak.Float())
	case engine.Decision:
		return v.Epoch, v.At, fmt.Sprintf("decision %s %s: %s", v.Verb, v.Incident, v.Why)
	case engine.Performed:
		return v.At, v.At, fmt.Sprintf("performed %s %s", v.Action, v.Result)
	case engine.Outcome:
		return v.Epoch, v.At, fmt.Sprintf("outcome %s of %s by %s: %s", v.Verdict, v.Incident, v.By, v.Why)
	case engine.ThresholdMove:
		return v.Epoch, v.At, fmt.Sprintf("threshold of %s from %.3f to %.3f by %s",
			v.Series, v.Before.Open.Float(), v.After.Open.Float(), v.After.Cause)
	case engine.Label:
		return v.At, v.At, fmt.Sprintf("label %s %s by %s", v.Anomaly, v.Judgement, v.By)
	case engine.Undo:
		return v.At, v.At, fmt.Sprintf("undo %s by %s", v.Label, v.By)
	}
	return 0, 0, ""
}

// Report is the failures, one a line, as compilers tell theirs; empty when the
// scenario holds.
func (r *Result) Report(file string) string {
	var b strings.Builder
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "%s:%d: %s\n", file, f.Line, f.Text)
	}
	return b.String()
}
