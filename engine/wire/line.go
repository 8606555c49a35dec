package wire

import (
	"encoding/json"
	"math"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/engine"
)

// This chapter is the text form of a record: a line of JSON. The commands write
// it and the lists over HTTP answer with it, so that whoever reads one reads
// the other.

// Line is one event as a line of JSON. Times are RFC 3339 in UTC with
// milliseconds; scores are −log10 of a probability.
type Line struct {
	Sequence uint64 `json:"seq,omitempty"`
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

	Value     *Number        `json:"value,omitempty"`
	Expected  *Number        `json:"expected,omitempty"`
	Lower     *Number        `json:"lower,omitempty"`
	Upper     *Number        `json:"upper,omitempty"`
	Direction int8           `json:"direction,omitempty"`
	Score     *Number        `json:"score,omitempty"`
	Peak      *Number        `json:"peak,omitempty"`
	Threshold *LineThreshold `json:"threshold,omitempty"`
	Before    *LineThreshold `json:"before,omitempty"`
	Tier      string         `json:"tier,omitempty"`
	Factors   []LineFactor   `json:"factors,omitempty"`

	Counterfactual string  `json:"counterfactual,omitempty"` // of the revision OPENED
	QuietValue     *Number `json:"quiet_value,omitempty"`
	Limit          *Number `json:"limit,omitempty"`    // of what leaks or is saturated
	LimitAt        string  `json:"limit_at,omitempty"` // when a leak will be there

	DataFault bool         `json:"data_fault,omitempty"`
	Members   []LineMember `json:"members,omitempty"`
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

// LineThreshold is a threshold within a Line.
type LineThreshold struct {
	Open    Number `json:"open"`
	Close   Number `json:"close"`
	Version uint32 `json:"version"`
	Cause   string `json:"cause"`
}

// LineFactor is one named reason of a score within a Line.
type LineFactor struct {
	Name  string `json:"name"`
	Score Number `json:"score"`
	Text  string `json:"text"`
}

// LineMember is one anomaly of an incident within a Line.
type LineMember struct {
	Anomaly  string `json:"anomaly"`
	SeriesID string `json:"series_id"`
	Kind     string `json:"kind"`
	OpenedAt string `json:"opened_at"`
	ClosedAt string `json:"closed_at,omitempty"`
	Peak     Number `json:"peak"`
}

// Number is a float that JSON can hold: infinities are texts.
type Number float64

// MarshalJSON writes the shortest text that reads back the same.
func (n Number) MarshalJSON() ([]byte, error) {
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

func num(v float64) *Number { n := Number(v); return &n }

func timeText(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

func thresholdOf(t engine.Threshold) *LineThreshold {
	return &LineThreshold{Number(t.Open.Float()), Number(t.Close.Float()), t.Version, t.Cause}
}

// LineOf is the line of a record; ok is false for what is of no interest to a
// reader of events, such as a tick.
func LineOf(seq uint64, rec engine.Record) (l Line, ok bool) {
	switch r := rec.(type) {
	case *engine.Anomaly:
		l = lineOfAnomaly(r)
	case *engine.Incident:
		l = lineOfIncident(r)
	case engine.Decision:
		l = Line{
			Type: "decision", Epoch: timeText(r.Epoch), At: timeText(r.At), Incident: r.Incident.String(), Verb: r.Verb.String(), Why: r.Why,
		}
		if r.Verb != engine.Hold {
			l.Action, l.Kind, l.Target, l.Text = r.Action.ID.String(), r.Action.Kind.String(), r.Action.Target, r.Action.Text
		}
	case engine.Outcome:
		l = Line{
			Type: "outcome", Epoch: timeText(r.Epoch), At: timeText(r.At), Verdict: r.Verdict.String(), By: r.By, Why: r.Why,
			Incident: nonZero(uint64(r.Incident), r.Incident.String()), Anomaly: nonZero(uint64(r.Anomaly), r.Anomaly.String()),
			Action: nonZero(uint64(r.Action), r.Action.String()),
		}
	case engine.ThresholdMove:
		l = Line{
			Type: "threshold", Epoch: timeText(r.Epoch), At: timeText(r.At), SeriesID: r.Series.String(),
			Before: thresholdOf(r.Before), Threshold: thresholdOf(r.After), From: timeText(r.From), Steps: &r.Steps,
		}
	case engine.Label:
		l = Line{
			Type: "label", At: timeText(r.At), ID: r.RequestID, Anomaly: r.Anomaly.String(), SeriesID: r.Series.String(),
			Judgement: r.Judgement.String(), By: r.By, Text: r.Note,
		}
	case engine.Undo:
		l = Line{Type: "undo", At: timeText(r.At), ID: r.RequestID, Label: r.Label, By: r.By}
	case engine.Performed:
		l = Line{Type: "performed", At: timeText(r.At), Action: r.Action.String(), Result: r.Result.String(), Text: r.Detail}
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

func lineOfAnomaly(a *engine.Anomaly) Line {
	l := Line{
		Type: "anomaly", Epoch: timeText(a.Epoch), At: timeText(a.At), ID: a.ID.String(), Revision: a.Revision.String(),
		Kind: a.Kind.String(), SeriesID: a.Series.ID.String(), Series: labelMap(a.Series.Labels), Workload: string(a.Series.Workload),
		OpenedAt: timeText(a.OpenedAt), Value: num(a.Value), Expected: num(a.Expected), Lower: num(a.Lower), Upper: num(a.Upper),
		Direction: a.Direction, Score: num(a.Score.Float()), Peak: num(a.Peak.Float()), Threshold: thresholdOf(a.Threshold),
		Tier: a.Tier, Text: a.Why(), Counterfactual: a.Quiet.Text,
	}
	if a.Quiet.Named {
		l.QuietValue = num(a.Quiet.Value)
	}
	if a.Limit != 0 {
		l.Limit, l.LimitAt = num(a.Limit), timeText(a.LimitAt)
	}
	for _, f := range a.Factors {
		l.Factors = append(l.Factors, LineFactor{f.Name, Number(f.Score.Float()), f.Text})
	}
	return l
}

func lineOfIncident(i *engine.Incident) Line {
	l := Line{
		Type: "incident", Epoch: timeText(i.Epoch), At: timeText(i.At), ID: i.ID.String(), Revision: i.Revision.String(),
		State: i.State.String(), Workload: string(i.Workload), OpenedAt: timeText(i.OpenedAt), Peak: num(i.Peak.Float()),
		DataFault: i.DataFault, Dropped: i.Dropped,
	}
	for _, m := range i.Members {
		l.Members = append(l.Members, LineMember{
			m.Anomaly.String(), m.Series.String(), m.Kind.String(), timeText(m.OpenedAt), timeText(m.ClosedAt), Number(m.Peak.Float()),
		})
	}
	return l
}

// LineBaseline is what is normal for one measurement at a time, with the names
// of a Line.
type LineBaseline struct {
	SeriesID string            `json:"series_id"`
	Series   map[string]string `json:"series"`
	Workload string            `json:"workload"`
	At       string            `json:"at,omitempty"` // of the last point
	Value    Number            `json:"value"`
	Expected Number            `json:"expected"` // for the next point
	Lower    Number            `json:"lower"`    // quiet within
	Upper    Number            `json:"upper"`
	Ignored  *Number           `json:"ignored,omitempty"` // smaller deviations never alarm, by a floor that a person set

	Threshold  *LineThreshold `json:"threshold"`
	Points     uint64         `json:"points"` // learnt so far
	Warm       bool           `json:"warm"`
	Season     bool           `json:"season"`
	Alarm      bool           `json:"alarm"`
	IntervalMS int64          `json:"interval_ms"`
}

// BaselineLine is the text form of a baseline.
func BaselineLine(b *engine.Baseline) LineBaseline {
	l := LineBaseline{
		SeriesID: b.Series.ID.String(), Series: labelMap(b.Series.Labels), Workload: string(b.Series.Workload), At: timeText(b.At),
		Value: Number(b.Value), Expected: Number(b.Expected), Lower: Number(b.Lower), Upper: Number(b.Upper),
		Threshold: thresholdOf(b.Threshold), Points: b.Points, Warm: b.Warm, Season: b.Season, Alarm: b.Alarm, IntervalMS: b.IntervalMS,
	}
	if b.Ignored > 0 {
		l.Ignored = num(b.Ignored)
	}
	return l
}

func labelMap(ls labels.Labels) map[string]string {
	m := make(map[string]string, ls.Len())
	ls.Range(func(l labels.Label) { m[l.Name] = l.Value })
	return m
}
