package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/engine"
)

// formats are what -o takes.
var formats = []string{"table", "json", "jsonl"}

func checkFormat(format string, allowed ...string) error {
	if !slices.Contains(allowed, format) {
		return fmt.Errorf("%w: -o %s: want one of %s", errUsage, format, strings.Join(allowed, ", "))
	}
	return nil
}

// eventLine is one event as a line of JSON. Times are RFC 3339 in UTC with
// milliseconds; scores are −log10 of a probability.
type eventLine struct {
	Sequence uint64 `json:"seq"`
	Type     string `json:"type"`
	Epoch    string `json:"epoch,omitempty"`
	At       string `json:"at,omitempty"`

	ID       string            `json:"id,omitempty"`
	Revision string            `json:"revision,omitempty"`
	State    string            `json:"state,omitempty"`
	Kind     string            `json:"kind,omitempty"`
	SeriesID string            `json:"series_id,omitempty"`
	Series   map[string]string `json:"series,omitempty"`
	Workload string            `json:"workload,omitempty"`
	OpenedAt string            `json:"opened_at,omitempty"`

	Value     *number        `json:"value,omitempty"`
	Expected  *number        `json:"expected,omitempty"`
	Lower     *number        `json:"lower,omitempty"`
	Upper     *number        `json:"upper,omitempty"`
	Direction int8           `json:"direction,omitempty"`
	Score     *number        `json:"score,omitempty"`
	Peak      *number        `json:"peak,omitempty"`
	Threshold *thresholdLine `json:"threshold,omitempty"`
	Before    *thresholdLine `json:"before,omitempty"`
	Tier      string         `json:"tier,omitempty"`
	Factors   []factorLine   `json:"factors,omitempty"`

	DataFault bool         `json:"data_fault,omitempty"`
	Members   []memberLine `json:"members,omitempty"`
	Dropped   int          `json:"members_dropped,omitempty"`

	Incident  string `json:"incident,omitempty"`
	Anomaly   string `json:"anomaly,omitempty"`
	Action    string `json:"action,omitempty"`
	Verb      string `json:"verb,omitempty"`
	Target    string `json:"target,omitempty"`
	Text      string `json:"text,omitempty"`
	Result    string `json:"result,omitempty"`
	Verdict   string `json:"verdict,omitempty"`
	Judgement string `json:"judgement,omitempty"`
	Label     string `json:"label,omitempty"`
	By        string `json:"by,omitempty"`
	Why       string `json:"why,omitempty"`
	From      string `json:"from,omitempty"`
	Steps     *int   `json:"steps,omitempty"`
}

type thresholdLine struct {
	Open    number `json:"open"`
	Close   number `json:"close"`
	Version uint32 `json:"version"`
	Cause   string `json:"cause"`
}

type factorLine struct {
	Name  string `json:"name"`
	Score number `json:"score"`
	Text  string `json:"text"`
}

type memberLine struct {
	Anomaly  string `json:"anomaly"`
	SeriesID string `json:"series_id"`
	Kind     string `json:"kind"`
	OpenedAt string `json:"opened_at"`
	ClosedAt string `json:"closed_at,omitempty"`
	Peak     number `json:"peak"`
}

// number is a float that JSON can hold: infinities are texts.
type number float64

// MarshalJSON writes the shortest text that reads back the same.
func (n number) MarshalJSON() ([]byte, error) {
	switch f := float64(n); {
	case math.IsNaN(f):
		return []byte(`"NaN"`), nil
	case math.IsInf(f, 1):
		return []byte(`"+Inf"`), nil
	case math.IsInf(f, -1):
		return []byte(`"-Inf"`), nil
	default:
		return json.Marshal(f)
	}
}

func num(v float64) *number { n := number(v); return &n }

func timeText(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

func thresholdOf(t engine.Threshold) *thresholdLine {
	return &thresholdLine{number(t.Open.Float()), number(t.Close.Float()), t.Version, t.Cause}
}

// lineOf is the line of a record; ok is false for what is of no interest to a
// reader of events, such as a tick.
func lineOf(seq uint64, rec engine.Record) (l eventLine, ok bool) {
	switch r := rec.(type) {
	case *engine.Anomaly:
		l = anomalyLine(r)
	case *engine.Incident:
		l = incidentLine(r)
	case engine.Decision:
		l = eventLine{
			Type: "decision", Epoch: timeText(r.Epoch), At: timeText(r.At), Incident: r.Incident.String(), Verb: r.Verb.String(), Why: r.Why,
		}
		if r.Verb != engine.Hold {
			l.Action, l.Kind, l.Target, l.Text = r.Action.ID.String(), r.Action.Kind.String(), r.Action.Target, r.Action.Text
		}
	case engine.Outcome:
		l = eventLine{
			Type: "outcome", Epoch: timeText(r.Epoch), At: timeText(r.At), Verdict: r.Verdict.String(), By: r.By, Why: r.Why,
			Incident: nonZero(uint64(r.Incident), r.Incident.String()), Anomaly: nonZero(uint64(r.Anomaly), r.Anomaly.String()),
			Action: nonZero(uint64(r.Action), r.Action.String()),
		}
	case engine.ThresholdMove:
		l = eventLine{
			Type: "threshold", Epoch: timeText(r.Epoch), At: timeText(r.At), SeriesID: r.Series.String(),
			Before: thresholdOf(r.Before), Threshold: thresholdOf(r.After), From: timeText(r.From), Steps: &r.Steps,
		}
	case engine.Label:
		l = eventLine{
			Type: "label", At: timeText(r.At), ID: r.RequestID, Anomaly: r.Anomaly.String(), SeriesID: r.Series.String(),
			Judgement: r.Judgement.String(), By: r.By, Text: r.Note,
		}
	case engine.Undo:
		l = eventLine{Type: "undo", At: timeText(r.At), ID: r.RequestID, Label: r.Label, By: r.By}
	case engine.Performed:
		l = eventLine{Type: "performed", At: timeText(r.At), Action: r.Action.String(), Result: r.Result.String(), Text: r.Detail}
	default:
		return l, false
	}
	l.Sequence = seq
	return l, true
}

func nonZero(v uint64, text string) string {
	if v == 0 {
		return ""
	}
	return text
}

func anomalyLine(a *engine.Anomaly) eventLine {
	l := eventLine{
		Type: "anomaly", Epoch: timeText(a.Epoch), At: timeText(a.At), ID: a.ID.String(), Revision: a.Revision.String(),
		Kind: a.Kind.String(), SeriesID: a.Series.ID.String(), Series: map[string]string{}, Workload: string(a.Series.Workload),
		OpenedAt: timeText(a.OpenedAt), Value: num(a.Value), Expected: num(a.Expected), Lower: num(a.Lower), Upper: num(a.Upper),
		Direction: a.Direction, Score: num(a.Score.Float()), Peak: num(a.Peak.Float()), Threshold: thresholdOf(a.Threshold),
		Tier: a.Tier, Text: a.Why(),
	}
	a.Series.Labels.Range(func(lb labels.Label) { l.Series[lb.Name] = lb.Value })
	for _, f := range a.Factors {
		l.Factors = append(l.Factors, factorLine{f.Name, number(f.Score.Float()), f.Text})
	}
	return l
}

func incidentLine(i *engine.Incident) eventLine {
	l := eventLine{
		Type: "incident", Epoch: timeText(i.Epoch), At: timeText(i.At), ID: i.ID.String(), Revision: i.Revision.String(),
		State: i.State.String(), Workload: string(i.Workload), OpenedAt: timeText(i.OpenedAt), Peak: num(i.Peak.Float()),
		DataFault: i.DataFault, Dropped: i.Dropped,
	}
	for _, m := range i.Members {
		l.Members = append(l.Members, memberLine{
			m.Anomaly.String(), m.Series.String(), m.Kind.String(), timeText(m.OpenedAt), timeText(m.ClosedAt), number(m.Peak.Float()),
		})
	}
	return l
}

// printer writes events to people or to machines.
type printer struct {
	w      io.Writer
	format string
	err    error // the first one of writing
	count  int   // events written
	all    []eventLine
}

// event writes one record.
func (p *printer) event(seq uint64, rec engine.Record) {
	if p.err != nil {
		return
	}
	l, ok := lineOf(seq, rec)
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
		_, p.err = fmt.Fprintln(p.w, l.forPeople())
	}
}

// end writes what is written at the end, and returns the first error.
func (p *printer) end() error {
	if p.format == "json" && p.err == nil {
		if p.all == nil {
			p.all = []eventLine{}
		}
		enc := json.NewEncoder(p.w)
		enc.SetIndent("", "  ")
		p.err = enc.Encode(p.all)
	}
	return p.err
}

// forPeople is an event as a line of text. What strangers typed is quoted
// already, or is quoted here.
func (l eventLine) forPeople() string {
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
