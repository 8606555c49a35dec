package wire

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/homeostat/homeostat/engine"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// WhatIfToProto is what another threshold would have done.
func WhatIfToProto(w *engine.WhatIf) *homeostatv1.WhatIf {
	if w == nil {
		return nil
	}
	m := &homeostatv1.WhatIf{
		FromTime: stamp(w.From), ToTime: stamp(w.To), Series: uint32(w.Series), Points: uint64(w.Points),
		Base: tallyToProto(w.Base), Candidate: tallyToProto(w.Candidate),
		MoreGained: uint32(w.MoreGained), MoreLost: uint32(w.MoreLost),
		Kept: uint32(w.Kept), Later: uint32(w.Later), Earlier: uint32(w.Earlier),
		MeanDelay: spanOrNone(w.DelayMean), MaxDelay: spanOrNone(w.DelayMax), Differ: uint32(w.Differ),
		HitsKept: uint32(w.HitsKept), FalseGone: uint32(w.FalseGone), FalseRemains: uint32(w.FalseRemains),
	}
	for i := range w.Gained {
		m.Gained = append(m.Gained, alertToProto(&w.Gained[i]))
	}
	for i := range w.Lost {
		m.Lost = append(m.Lost, alertToProto(&w.Lost[i]))
	}
	for i := range w.HitsLost {
		m.HitsLost = append(m.HitsLost, judgedToProto(&w.HitsLost[i]))
	}
	return m
}

func tallyToProto(t engine.Tally) *homeostatv1.AlertTally {
	if t == (engine.Tally{}) {
		return nil
	}
	return &homeostatv1.AlertTally{Alerts: uint32(t.Alerts), Incidents: uint32(t.Incidents), IncidentsPerWeek: t.IncidentsPerWeek}
}

// channels are the contract's numbers of the engine's channels.
var channels = map[engine.Channel]homeostatv1.Channel{
	engine.ChannelMain: homeostatv1.Channel_CHANNEL_MAIN,
	engine.ChannelSlow: homeostatv1.Channel_CHANNEL_SLOW,
	engine.ChannelDeep: homeostatv1.Channel_CHANNEL_DEEP,
}

func alertToProto(a *engine.Alert) *homeostatv1.Alert {
	return &homeostatv1.Alert{
		Series: SeriesToProto(a.Series), Channel: channels[a.Channel], OpenTime: stamp(a.OpenedAt), LastTime: stamp(a.LastAt),
		Peak: a.Peak.Float(), Interval: spanOrNone(1000 * int64(a.Interval)),
	}
}

func judgedToProto(j *engine.Judged) *homeostatv1.JudgedAnomaly {
	return &homeostatv1.JudgedAnomaly{
		AnomalyId: id(uint64(j.Anomaly)), SeriesId: id(uint64(j.Series)), Channel: channels[j.Channel],
		OpenTime: stamp(j.OpenedAt), LastTime: stamp(j.LastAt), Judgement: homeostatv1.Judgement(j.Judgement), LabelRequestId: text(j.Request),
	}
}

// TailGapsToProto are the gaps of a report.
func TailGapsToProto(gaps []engine.TailGap) []*homeostatv1.TailGap {
	var out []*homeostatv1.TailGap
	for _, g := range gaps {
		out = append(out, &homeostatv1.TailGap{AfterTime: stamp(g.After), BeforeTime: stamp(g.Before), Points: g.Points, Why: text(g.Why)})
	}
	return out
}

func spanOrNone(ms int64) *durationpb.Duration {
	if ms == 0 {
		return nil
	}
	return span(ms)
}

// WhatIfFromProto reads what WhatIfToProto wrote.
func WhatIfFromProto(m *homeostatv1.WhatIf) (*engine.WhatIf, error) {
	var d decoder
	w := d.whatIf(m)
	return w, d.err
}

func (d *decoder) whatIf(m *homeostatv1.WhatIf) *engine.WhatIf {
	if m == nil {
		return nil
	}
	w := &engine.WhatIf{
		From: d.stamp("what_if.from_time", m.GetFromTime()), To: d.stamp("what_if.to_time", m.GetToTime()),
		Series: int(m.GetSeries()), Points: int(m.GetPoints()), Base: tally(m.GetBase()), Candidate: tally(m.GetCandidate()),
		MoreGained: int(m.GetMoreGained()), MoreLost: int(m.GetMoreLost()),
		Kept: int(m.GetKept()), Later: int(m.GetLater()), Earlier: int(m.GetEarlier()),
		DelayMean: d.span("what_if.mean_delay", m.GetMeanDelay()), DelayMax: d.span("what_if.max_delay", m.GetMaxDelay()),
		Differ: int(m.GetDiffer()), HitsKept: int(m.GetHitsKept()), FalseGone: int(m.GetFalseGone()), FalseRemains: int(m.GetFalseRemains()),
	}
	for _, a := range m.GetGained() {
		w.Gained = append(w.Gained, d.alert(a))
	}
	for _, a := range m.GetLost() {
		w.Lost = append(w.Lost, d.alert(a))
	}
	for _, j := range m.GetHitsLost() {
		w.HitsLost = append(w.HitsLost, d.judged(j))
	}
	return w
}

func tally(m *homeostatv1.AlertTally) engine.Tally {
	return engine.Tally{Alerts: int(m.GetAlerts()), Incidents: int(m.GetIncidents()), IncidentsPerWeek: m.GetIncidentsPerWeek()}
}

func (d *decoder) alert(m *homeostatv1.Alert) engine.Alert {
	a := engine.Alert{
		Series: d.series(m.GetSeries()), Channel: d.channel("alert.channel", m.GetChannel()),
		OpenedAt: d.stamp("alert.open_time", m.GetOpenTime()), LastAt: d.stamp("alert.last_time", m.GetLastTime()),
		Peak: d.score("alert.peak", m.GetPeak()),
	}
	ms := d.span("alert.interval", m.GetInterval())
	if ms < 0 || ms%1000 != 0 || ms/1000 > 1<<32-1 {
		d.fail("alert.interval", "%d ms: want whole seconds", ms)
		return a
	}
	a.Interval = uint32(ms / 1000)
	if a.Series == nil {
		d.fail("alert.series", "it is missing")
	}
	return a
}

func (d *decoder) judged(m *homeostatv1.JudgedAnomaly) engine.Judged {
	return engine.Judged{
		Anomaly: engine.AnomalyID(d.id("judged_anomaly.anomaly_id", m.GetAnomalyId())),
		Series:  engine.SeriesID(d.id("judged_anomaly.series_id", m.GetSeriesId())),
		Channel: d.channel("judged_anomaly.channel", m.GetChannel()), OpenedAt: d.stamp("judged_anomaly.open_time", m.GetOpenTime()),
		LastAt:    d.stamp("judged_anomaly.last_time", m.GetLastTime()),
		Judgement: enum[engine.Judgement](d, "judged_anomaly.judgement", m.GetJudgement(), homeostatv1.Judgement_name),
		Request:   m.GetLabelRequestId(),
	}
}

func (d *decoder) channel(field string, m homeostatv1.Channel) engine.Channel {
	for c, n := range channels {
		if n == m {
			return c
		}
	}
	d.fail(field, "the number %d: %w", m, ErrUnknown)
	return 0
}

// span reads a duration in whole milliseconds.
func (d *decoder) span(field string, m *durationpb.Duration) int64 {
	if m == nil {
		return 0
	}
	if err := m.CheckValid(); err != nil || m.GetNanos()%1e6 != 0 {
		d.fail(field, "want whole milliseconds")
		return 0
	}
	return m.GetSeconds()*1000 + int64(m.GetNanos())/1e6
}

// LineWhatIf is what another threshold would have done, with the names of a Line.
type LineWhatIf struct {
	Rule         string       `json:"rule"`
	From         string       `json:"from"`
	To           string       `json:"to"`
	Series       int          `json:"series"`
	Points       int          `json:"points"`
	InForce      LineTally    `json:"in_force"`
	Candidate    LineTally    `json:"what_if"`
	Gained       []LineAlert  `json:"gained"`
	Lost         []LineAlert  `json:"lost"`
	MoreGained   int          `json:"more_gained,omitempty"`
	MoreLost     int          `json:"more_lost,omitempty"`
	Kept         int          `json:"kept"`
	Later        int          `json:"later"`
	Earlier      int          `json:"earlier"`
	MeanDelay    Number       `json:"mean_delay_seconds"`
	MaxDelay     Number       `json:"max_delay_seconds"`
	Differ       int          `json:"differ"`
	HitsKept     int          `json:"hits_kept"`
	HitsLost     []LineJudged `json:"hits_lost"`
	FalseGone    int          `json:"false_alarms_gone"`
	FalseRemains int          `json:"false_alarms_remaining"`
	LostPoints   uint64       `json:"points_not_kept"`
	Gaps         []LineGap    `json:"gaps,omitempty"`
	MoreGaps     int          `json:"more_gaps,omitempty"`
}

// LineTally counts what a threshold opens.
type LineTally struct {
	Alerts           int    `json:"alerts"`
	Incidents        int    `json:"incidents"`
	IncidentsPerWeek Number `json:"incidents_per_week"`
}

// LineAlert is an alert of a what-if, by name.
type LineAlert struct {
	SeriesID string            `json:"series_id"`
	Series   map[string]string `json:"series"`
	Text     string            `json:"text"` // the series as Prometheus writes it
	Channel  string            `json:"channel"`
	OpenedAt string            `json:"opened_at"`
	LastAt   string            `json:"last_at"`
	Peak     Number            `json:"peak"`
}

// LineJudged is an anomaly of which a person said something.
type LineJudged struct {
	Anomaly  string `json:"anomaly"`
	SeriesID string `json:"series_id"`
	OpenedAt string `json:"opened_at"`
	Label    string `json:"label"`
}

// LineGap is a stretch in which points are missing.
type LineGap struct {
	After  string `json:"after,omitempty"`
	Before string `json:"before,omitempty"`
	Points uint64 `json:"points,omitempty"`
	Why    string `json:"why"`
}

// WhatIfLine is the text form of a what-if. rule says in words what was asked.
func WhatIfLine(rule string, w *engine.WhatIf, rep *engine.TailReport) LineWhatIf {
	seconds := func(ms int64) Number { return Number((time.Duration(ms) * time.Millisecond).Seconds()) }
	l := LineWhatIf{
		Rule: rule, From: timeText(w.From), To: timeText(w.To), Series: w.Series, Points: w.Points,
		InForce: tallyLine(w.Base), Candidate: tallyLine(w.Candidate), Gained: alertLines(w.Gained), Lost: alertLines(w.Lost),
		MoreGained: w.MoreGained, MoreLost: w.MoreLost, Kept: w.Kept, Later: w.Later, Earlier: w.Earlier,
		MeanDelay: seconds(w.DelayMean), MaxDelay: seconds(w.DelayMax), Differ: w.Differ,
		HitsKept: w.HitsKept, HitsLost: []LineJudged{}, FalseGone: w.FalseGone, FalseRemains: w.FalseRemains,
		LostPoints: rep.Lost, MoreGaps: rep.MoreGaps,
	}
	for _, j := range w.HitsLost {
		l.HitsLost = append(l.HitsLost, LineJudged{j.Anomaly.String(), j.Series.String(), timeText(j.OpenedAt), j.Request})
	}
	for _, g := range rep.Gaps {
		l.Gaps = append(l.Gaps, LineGap{timeText(g.After), timeText(g.Before), g.Points, g.Why})
	}
	return l
}

func tallyLine(t engine.Tally) LineTally {
	return LineTally{t.Alerts, t.Incidents, Number(t.IncidentsPerWeek)}
}

func alertLines(alerts []engine.Alert) []LineAlert {
	out := []LineAlert{}
	for i := range alerts {
		a := &alerts[i]
		out = append(out, LineAlert{
			a.Series.ID.String(), labelMap(a.Series.Labels), a.Series.Text(), a.Channel.String(),
			timeText(a.OpenedAt), timeText(a.LastAt), Number(a.Peak.Float()),
		})
	}
	return out
}
