package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/wire"
)

// formats are what -o takes.
var formats = []string{"table", "json", "jsonl"}

func checkFormat(format string, allowed ...string) error {
	if !slices.Contains(allowed, format) {
		return fmt.Errorf("%w: -o %s: want one of %s", errUsage, format, strings.Join(allowed, ", "))
	}
	return nil
}

// printer writes events to people or to machines.
type printer struct {
	w      io.Writer
	format string
	err    error // the first one of writing
	count  int   // events written
	all    []wire.Line
}

// event writes one record.
func (p *printer) event(seq uint64, rec engine.Record) {
	if p.err != nil {
		return
	}
	l, ok := wire.LineOf(seq, rec)
	if !ok {
		return
	}
	p.count++
	switch p.format {
	case "jsonl":
		var b []byte
		if b, p.err = json.Marshal(l); p.err == nil {
			_, p.err = p.w.Write(append(b, '\n'))
		}
	case "json":
		p.all = append(p.all, l)
	default:
		_, p.err = fmt.Fprintln(p.w, forPeople(&l))
	}
}

// end writes what is written at the end, and returns the first error.
func (p *printer) end() error {
	if p.format == "json" && p.err == nil {
		if p.all == nil {
			p.all = []wire.Line{}
		}
		enc := json.NewEncoder(p.w)
		enc.SetIndent("", "  ")
		p.err = enc.Encode(p.all)
	}
	return p.err
}

// forPeople is an event as a line of text. What strangers typed is quoted
// already, or is quoted here.
func forPeople(l *wire.Line) string {
	at := strings.TrimSuffix(strings.Replace(l.At, "T", " ", 1), "Z")
	switch l.Type {
	case "anomaly":
		return fmt.Sprintf("%s  %-8s %-13s %6.2f  %s  [%s]", at, l.Revision, l.Kind, float64(*l.Score), l.Text, l.ID)
	case "incident":
		return fmt.Sprintf("%s  %-8s incident      %6.2f  %s: %d anomalies, %s  [%s]", at, l.Revision, float64(*l.Peak), l.Workload,
			len(l.Members)+l.Dropped, l.State, l.ID)
	case "decision":
		return fmt.Sprintf("%s  %-8s %s: %s", at, strings.ToUpper(l.Verb), l.Kind, l.Why)
	case "threshold":
		return fmt.Sprintf("%s  MOVED    threshold of %s from %.2f to %.2f by %q", at, l.SeriesID, float64(l.Before.Open), float64(l.Threshold.Open), l.Threshold.Cause)
	case "outcome":
		return fmt.Sprintf("%s  OUTCOME  %s by %q: %q", at, l.Verdict, l.By, l.Why)
	case "performed":
		return fmt.Sprintf("%s  %-8s action %s %q", at, strings.ToUpper(l.Result), l.Action, l.Text)
	case "label":
		return fmt.Sprintf("%s  LABEL    %s is %s, by %q [%s]", at, l.Anomaly, l.Judgement, l.By, l.ID)
	}
	return fmt.Sprintf("%s  %-8s %q by %q [%s]", at, strings.ToUpper(l.Type), l.Label, l.By, l.ID)
}
