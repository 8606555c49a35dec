package wire

import (
	"errors"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/models"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// ErrUnknown is wrapped by the error about a field, a kind or a number that
// this version does not know, as a newer version may have written it.
var ErrUnknown = errors.New("unknown to this version")

// maxText is the longest label name or value that labels.Labels holds, in bytes.
const maxText = 1<<24 - 1

// UnmarshalRecord reads what MarshalRecord appended.
func UnmarshalRecord(b []byte) (engine.Record, error) {
	var m homeostatv1.Record
	if err := unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("wire: decoding a record: %w", err)
	}
	r, err := RecordFromProto(&m)
	if err != nil {
		return nil, fmt.Errorf("wire: decoding a record: %w", err)
	}
	return r, nil
}

// RecordFromProto reads an entry of the log.
func RecordFromProto(m *homeostatv1.Record) (engine.Record, error) {
	var d decoder
	var r engine.Record
	switch k := m.GetKind().(type) {
	case *homeostatv1.Record_Anomaly:
		r = d.anomaly(k.Anomaly)
	case *homeostatv1.Record_Incident:
		r = d.incident(k.Incident)
	case *homeostatv1.Record_Decision:
		r = d.decision(k.Decision)
	case *homeostatv1.Record_Outcome:
		r = d.outcome(k.Outcome)
	case *homeostatv1.Record_ThresholdMove:
		r = d.thresholdMove(k.ThresholdMove)
	case *homeostatv1.Record_Label:
		r = d.label(k.Label)
	case *homeostatv1.Record_Undo:
		r = d.undo(k.Undo)
	case *homeostatv1.Record_Performed:
		r = d.performed(k.Performed)
	case *homeostatv1.Record_Tick:
		r = d.tick(k.Tick)
	default:
		return nil, errors.New("it is of no kind")
	}
	if d.err != nil {
		return nil, d.err
	}
	return r, nil
}

func unmarshal(b []byte, m proto.Message) error {
	if err := proto.Unmarshal(b, m); err != nil {
		return err
	}
	return known(m.ProtoReflect())
}

// known says which field of m or of what is in it this version does not know.
func known(m protoreflect.Message) error {
	if u := m.GetUnknown(); len(u) > 0 {
		n, _, _ := protowire.ConsumeTag(u)
		return fmt.Errorf("field %d of %s: %w", n, m.Descriptor().FullName(), ErrUnknown)
	}
	var err error
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil:
		case f.IsList():
			for l, i := v.List(), 0; i < l.Len() && err == nil; i++ {
				err = known(l.Get(i).Message())
			}
		default:
			err = known(v.Message())
		}
		return err == nil
	})
	return err
}

// decoder reads messages. It keeps the first thing that is wrong and carries on
// with zeros, so that the readers below are as plain as the writers.
type decoder struct{ err error }

func (d *decoder) fail(field, format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%s: %w", field, fmt.Errorf(format, args...))
	}
}

func (d *decoder) anomaly(m *homeostatv1.Anomaly) *engine.Anomaly {
	a := &engine.Anomaly{
		ID:        engine.AnomalyID(d.id("anomaly.id", m.GetId())),
		Revision:  enum[engine.Revision](d, "anomaly.revision", m.GetRevision(), homeostatv1.Revision_name),
		Series:    d.series(m.GetSeries()),
		Kind:      enum[engine.Kind](d, "anomaly.kind", m.GetKind(), homeostatv1.Kind_name),
		Epoch:     d.stamp("anomaly.epoch_time", m.GetEpochTime()),
		At:        d.stamp("anomaly.point_time", m.GetPointTime()),
		OpenedAt:  d.stamp("anomaly.open_time", m.GetOpenTime()),
		Value:     m.GetValue(),
		Expected:  m.GetExpected(),
		Lower:     m.GetLower(),
		Upper:     m.GetUpper(),
		Score:     d.score("anomaly.score", m.GetScore()),
		Peak:      d.score("anomaly.peak", m.GetPeak()),
		Threshold: d.threshold(m.GetThreshold()),
		Tier:      m.GetTier(),
		Limit:     m.GetLimit(),
		LimitAt:   d.stamp("anomaly.limit_time", m.GetLimitTime()),
		Quiet:     engine.Counterfactual{Text: m.GetCounterfactual(), Value: m.GetQuietValue(), Named: m.QuietValue != nil},
	}
	switch dir := m.GetDirection(); dir {
	case -1, 0, 1:
		a.Direction = int8(dir)
	default:
		d.fail("anomaly.direction", "%d: want -1, 0 or 1", dir)
	}
	for _, f := range m.GetFactors() {
		a.Factors = append(a.Factors, engine.Factor{Name: f.GetName(), Score: d.score("factor.score", f.GetScore()), Text: f.GetText()})
	}
	return a
}

func (d *decoder) series(m *homeostatv1.Series) *engine.Series {
	if m == nil {
		return nil
	}
	return &engine.Series{
		ID:        engine.SeriesID(d.id("series.id", m.GetId())),
		Labels:    d.labels(m.GetLabels()),
		Workload:  engine.Workload(m.GetWorkload()),
		Partition: d.partition("series.partition", m.GetPartition()),
		Type:      enum[engine.Type](d, "series.type", m.GetType(), homeostatv1.SeriesType_name),
	}
}

func (d *decoder) labels(pairs []*homeostatv1.LabelPair) labels.Labels {
	ls := make([]labels.Label, 0, len(pairs))
	for i, p := range pairs {
		l := labels.Label{Name: p.GetName(), Value: p.GetValue()}
		switch {
		case i > 0 && l.Name <= ls[i-1].Name:
			d.fail("series.labels", "%.64q does not come after %.64q", l.Name, ls[i-1].Name)
			return labels.EmptyLabels()
		case len(l.Name) > maxText || len(l.Value) > maxText:
			d.fail("series.labels", "%.64q: longer than %d bytes", l.Name, maxText)
			return labels.EmptyLabels()
		}
		ls = append(ls, l)
	}
	return labels.New(ls...)
}

// LabelsFromProto reads a label set in any order. A name that stands twice, an
// empty one or one that is too long is an error.
func LabelsFromProto(pairs []*homeostatv1.LabelPair) (labels.Labels, error) {
	b := labels.NewScratchBuilder(len(pairs))
	for _, p := range pairs {
		if p.GetName() == "" || len(p.GetName()) > maxText || len(p.GetValue()) > maxText {
			return labels.EmptyLabels(), fmt.Errorf("labels: the name %.64q: want 1 to %d bytes, and no more in its value", p.GetName(), maxText)
		}
		b.Add(p.GetName(), p.GetValue())
	}
	b.Sort()
	ls := b.Labels()
	if name, twice := ls.HasDuplicateLabelNames(); twice {
		return labels.EmptyLabels(), fmt.Errorf("labels: %.64q stands twice", name)
	}
	return ls, nil
}

func (d *decoder) threshold(m *homeostatv1.Threshold) engine.Threshold {
	return engine.Threshold{
		Open:    d.score("threshold.open", m.GetOpen()),
		Close:   d.score("threshold.close", m.GetClose()),
		Version: m.GetVersion(),
		Cause:   m.GetCause(),
	}
}

func (d *decoder) incident(m *homeostatv1.Incident) *engine.Incident {
	i := &engine.Incident{
		ID:        engine.IncidentID(d.id("incident.id", m.GetId())),
		Revision:  enum[engine.Revision](d, "incident.revision", m.GetRevision(), homeostatv1.Revision_name),
		State:     enum[engine.IncidentState](d, "incident.state", m.GetState(), homeostatv1.IncidentState_name),
		Workload:  engine.Workload(m.GetWorkload()),
		DataFault: m.GetDataFault(),
		Epoch:     d.stamp("incident.epoch_time", m.GetEpochTime()),
		At:        d.stamp("incident.revise_time", m.GetReviseTime()),
		OpenedAt:  d.stamp("incident.open_time", m.GetOpenTime()),
		Peak:      d.score("incident.peak", m.GetPeak()),
	}
	if n := m.GetDroppedMembers(); n > math.MaxInt32 {
		d.fail("incident.dropped_members", "%d: want at most %d", n, math.MaxInt32)
	} else {
		i.Dropped = int(n)
	}
	for _, mem := range m.GetMembers() {
		i.Members = append(i.Members, engine.Member{
			Anomaly:  engine.AnomalyID(d.id("member.anomaly_id", mem.GetAnomalyId())),
			Series:   engine.SeriesID(d.id("member.series_id", mem.GetSeriesId())),
			Kind:     enum[engine.Kind](d, "member.kind", mem.GetKind(), homeostatv1.Kind_name),
			OpenedAt: d.stamp("member.open_time", mem.GetOpenTime()),
			ClosedAt: d.stamp("member.close_time", mem.GetCloseTime()),
			Peak:     d.score("member.peak", mem.GetPeak()),
		})
	}
	return i
}

func (d *decoder) decision(m *homeostatv1.Decision) engine.Decision {
	return engine.Decision{
		Incident: engine.IncidentID(d.id("decision.incident_id", m.GetIncidentId())),
		Verb:     enum[engine.Verb](d, "decision.verb", m.GetVerb(), homeostatv1.Verb_name),
		Action:   d.action(m.GetAction()),
		Why:      m.GetWhy(),
		Epoch:    d.stamp("decision.epoch_time", m.GetEpochTime()),
		At:       d.stamp("decision.decide_time", m.GetDecideTime()),
	}
}

func (d *decoder) action(m *homeostatv1.Action) engine.Action {
	return engine.Action{
		ID:       engine.ActionID(d.id("action.id", m.GetId())),
		Incident: engine.IncidentID(d.id("action.incident_id", m.GetIncidentId())),
		Kind:     enum[engine.ActionKind](d, "action.kind", m.GetKind(), homeostatv1.ActionKind_name),
		Target:   m.GetTarget(),
		Text:     m.GetText(),
		Deadline: d.stamp("action.deadline_time", m.GetDeadlineTime()),
	}
}

func (d *decoder) outcome(m *homeostatv1.Outcome) engine.Outcome {
	return engine.Outcome{
		Incident: engine.IncidentID(d.id("outcome.incident_id", m.GetIncidentId())),
		Anomaly:  engine.AnomalyID(d.id("outcome.anomaly_id", m.GetAnomalyId())),
		Action:   engine.ActionID(d.id("outcome.action_id", m.GetActionId())),
		Verdict:  enum[engine.Verdict](d, "outcome.verdict", m.GetVerdict(), homeostatv1.Verdict_name),
		By:       m.GetBy(),
		Why:      m.GetWhy(),
		Epoch:    d.stamp("outcome.epoch_time", m.GetEpochTime()),
		At:       d.stamp("outcome.judge_time", m.GetJudgeTime()),
	}
}

func (d *decoder) thresholdMove(m *homeostatv1.ThresholdMove) engine.ThresholdMove {
	return engine.ThresholdMove{
		Series:    engine.SeriesID(d.id("threshold_move.series_id", m.GetSeriesId())),
		Partition: d.partition("threshold_move.partition", m.GetPartition()),
		Before:    d.threshold(m.GetBefore()),
		After:     d.threshold(m.GetAfter()),
		Steps:     int(m.GetSteps()),
		From:      d.stamp("threshold_move.from_time", m.GetFromTime()),
		Epoch:     d.stamp("threshold_move.epoch_time", m.GetEpochTime()),
		At:        d.stamp("threshold_move.move_time", m.GetMoveTime()),
	}
}

func (d *decoder) label(m *homeostatv1.Label) engine.Label {
	return engine.Label{
		RequestID: m.GetRequestId(),
		Anomaly:   engine.AnomalyID(d.id("label.anomaly_id", m.GetAnomalyId())),
		Series:    engine.SeriesID(d.id("label.series_id", m.GetSeriesId())),
		Partition: d.partition("label.partition", m.GetPartition()),
		Judgement: enum[engine.Judgement](d, "label.judgement", m.GetJudgement(), homeostatv1.Judgement_name),
		By:        m.GetBy(),
		Note:      m.GetNote(),
		At:        d.stamp("label.label_time", m.GetLabelTime()),
	}
}

func (d *decoder) undo(m *homeostatv1.Undo) engine.Undo {
	return engine.Undo{
		RequestID: m.GetRequestId(),
		Label:     m.GetLabelRequestId(),
		By:        m.GetBy(),
		At:        d.stamp("undo.undo_time", m.GetUndoTime()),
	}
}

func (d *decoder) performed(m *homeostatv1.Performed) engine.Performed {
	return engine.Performed{
		Action: engine.ActionID(d.id("performed.action_id", m.GetActionId())),
		Result: enum[engine.Result](d, "performed.result", m.GetResult(), homeostatv1.Result_name),
		Detail: m.GetDetail(),
		At:     d.stamp("performed.perform_time", m.GetPerformTime()),
	}
}

func (d *decoder) tick(m *homeostatv1.Tick) engine.Tick {
	return engine.Tick{Now: d.stamp("tick.now_time", m.GetNowTime())}
}

// enum takes a number that the contract names.
func enum[T ~uint8, M ~int32](d *decoder, field string, n M, names map[int32]string) T {
	if _, ok := names[int32(n)]; !ok {
		d.fail(field, "the number %d: %w", n, ErrUnknown)
		return 0
	}
	return T(n)
}

func (d *decoder) id(field, s string) uint64 {
	if s == "" {
		return 0
	}
	n, err := engine.ParseAnomalyID(s)
	if err != nil || n == 0 || n.String() != s {
		d.fail(field, "%.32q: want 16 hexadecimal digits, not all of them 0, or nothing", s)
		return 0
	}
	return uint64(n)
}

func (d *decoder) partition(field string, n uint32) uint8 {
	if n >= engine.Partitions {
		d.fail(field, "%d: want less than %d", n, engine.Partitions)
		return 0
	}
	return uint8(n)
}

// score takes a whole multiple of 1/64.
func (d *decoder) score(field string, x float64) models.Score {
	n := x * models.ScoreUnit
	if n != math.Trunc(n) || n < math.MinInt16 || n > math.MaxInt16 {
		d.fail(field, "%v: want a multiple of 1/%d from %v to %v", x, models.ScoreUnit,
			models.Score(math.MinInt16).Float(), models.Score(math.MaxInt16).Float())
		return 0
	}
	return models.Score(n)
}

func (d *decoder) stamp(field string, t *timestamppb.Timestamp) int64 {
	if t == nil {
		return 0
	}
	sec, nanos := t.GetSeconds(), int64(t.GetNanos())
	const last = math.MaxInt64 / 1000
	switch {
	case nanos < 0 || nanos >= 1e9 || nanos%1e6 != 0:
		d.fail(field, "%d nanoseconds: want whole milliseconds of one second", nanos)
	case sec > last || sec < -last-1:
		d.fail(field, "%d seconds: beyond what milliseconds can hold", sec)
	default:
		rest := nanos / 1e6
		// The first and the last second that milliseconds reach are not whole.
		if sec == last && rest > math.MaxInt64%1000 || sec == -last-1 && rest < 1000+math.MinInt64%1000 {
			d.fail(field, "%d seconds and %d ms: beyond what milliseconds can hold", sec, rest)
			return 0
		}
		if sec < 0 {
			return (sec+1)*1000 - (1000 - rest)
		}
		return sec*1000 + rest
	}
	return 0
}
