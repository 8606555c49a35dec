package wire

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/homeostat/homeostat/engine"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

var deterministic = proto.MarshalOptions{Deterministic: true}

// MarshalRecord appends the bytes of r to b.
func MarshalRecord(b []byte, r engine.Record) ([]byte, error) {
	m, err := RecordToProto(r)
	if err != nil {
		return b, err
	}
	out, err := deterministic.MarshalAppend(b, m)
	if err != nil {
		return b, fmt.Errorf("wire: encoding a record: %w", err)
	}
	return out, nil
}

// RecordToProto is r as an entry of the log.
func RecordToProto(r engine.Record) (*homeostatv1.Record, error) {
	switch r := r.(type) {
	case *engine.Anomaly:
		if r != nil {
			return &homeostatv1.Record{Kind: &homeostatv1.Record_Anomaly{Anomaly: AnomalyToProto(r)}}, nil
		}
	case *engine.Incident:
		if r != nil {
			return &homeostatv1.Record{Kind: &homeostatv1.Record_Incident{Incident: IncidentToProto(r)}}, nil
		}
	case engine.Decision:
		return &homeostatv1.Record{Kind: &homeostatv1.Record_Decision{Decision: DecisionToProto(r)}}, nil
	case engine.Outcome:
		return &homeostatv1.Record{Kind: &homeostatv1.Record_Outcome{Outcome: OutcomeToProto(r)}}, nil
	case engine.ThresholdMove:
		return &homeostatv1.Record{Kind: &homeostatv1.Record_ThresholdMove{ThresholdMove: ThresholdMoveToProto(r)}}, nil
	case engine.Label:
		return &homeostatv1.Record{Kind: &homeostatv1.Record_Label{Label: LabelToProto(r)}}, nil
	case engine.Undo:
		return &homeostatv1.Record{Kind: &homeostatv1.Record_Undo{Undo: UndoToProto(r)}}, nil
	case engine.Performed:
		return &homeostatv1.Record{Kind: &homeostatv1.Record_Performed{Performed: PerformedToProto(r)}}, nil
	case engine.Tick:
		return &homeostatv1.Record{Kind: &homeostatv1.Record_Tick{Tick: TickToProto(r)}}, nil
	case nil:
		return nil, errors.New("wire: encoding a record: it is nil")
	default:
		return nil, fmt.Errorf("wire: encoding a record: the kind %T has no message", r)
	}
	return nil, fmt.Errorf("wire: encoding a record: the %T is nil", r)
}

// SeriesToProto is s, or nil when there is none.
func SeriesToProto(s *engine.Series) *homeostatv1.Series {
	if s == nil {
		return nil
	}
	return &homeostatv1.Series{
		Id:        id(uint64(s.ID)),
		Labels:    labelsToProto(s.Labels),
		Workload:  text(string(s.Workload)),
		Partition: uint32(s.Partition),
		Type:      homeostatv1.SeriesType(s.Type),
	}
}

func labelsToProto(ls labels.Labels) []*homeostatv1.LabelPair {
	if ls.IsEmpty() {
		return nil
	}
	pairs := make([]*homeostatv1.LabelPair, 0, ls.Len())
	ls.Range(func(l labels.Label) {
		pairs = append(pairs, &homeostatv1.LabelPair{Name: text(l.Name), Value: text(l.Value)})
	})
	return pairs
}

// AnomalyToProto is one revision of an anomaly.
func AnomalyToProto(a *engine.Anomaly) *homeostatv1.Anomaly {
	m := &homeostatv1.Anomaly{
		Id:        id(uint64(a.ID)),
		Revision:  homeostatv1.Revision(a.Revision),
		Series:    SeriesToProto(a.Series),
		Kind:      homeostatv1.Kind(a.Kind),
		EpochTime: stamp(a.Epoch),
		PointTime: stamp(a.At),
		OpenTime:  stamp(a.OpenedAt),
		Value:     a.Value,
		Expected:  a.Expected,
		Lower:     a.Lower,
		Upper:     a.Upper,
		Direction: int32(a.Direction),
		Score:     a.Score.Float(),
		Peak:      a.Peak.Float(),
		Threshold: ThresholdToProto(a.Threshold),
		Tier:      text(a.Tier),
	}
	m.Limit, m.LimitTime = a.Limit, stamp(a.LimitAt)
	m.Counterfactual = text(a.Quiet.Text)
	if a.Quiet.Named {
		m.QuietValue = proto.Float64(a.Quiet.Value)
	}
	for _, f := range a.Factors {
		m.Factors = append(m.Factors, &homeostatv1.Factor{Name: text(f.Name), Score: f.Score.Float(), Text: text(f.Text)})
	}
	return m
}

// ThresholdToProto is a threshold; the zero one is nil.
func ThresholdToProto(t engine.Threshold) *homeostatv1.Threshold {
	if t == (engine.Threshold{}) {
		return nil
	}
	return &homeostatv1.Threshold{
		Open:    t.Open.Float(),
		Close:   t.Close.Float(),
		Version: t.Version,
		Cause:   text(t.Cause),
	}
}

// IncidentToProto is one revision of an incident.
func IncidentToProto(i *engine.Incident) *homeostatv1.Incident {
	m := &homeostatv1.Incident{
		Id:             id(uint64(i.ID)),
		Revision:       homeostatv1.Revision(i.Revision),
		State:          homeostatv1.IncidentState(i.State),
		Workload:       text(string(i.Workload)),
		DataFault:      i.DataFault,
		EpochTime:      stamp(i.Epoch),
		ReviseTime:     stamp(i.At),
		OpenTime:       stamp(i.OpenedAt),
		DroppedMembers: uint32(min(max(i.Dropped, 0), math.MaxInt32)),
		Peak:           i.Peak.Float(),
	}
	for _, mem := range i.Members {
		m.Members = append(m.Members, &homeostatv1.Member{
			AnomalyId: id(uint64(mem.Anomaly)),
			SeriesId:  id(uint64(mem.Series)),
			Kind:      homeostatv1.Kind(mem.Kind),
			OpenTime:  stamp(mem.OpenedAt),
			CloseTime: stamp(mem.ClosedAt),
			Peak:      mem.Peak.Float(),
		})
	}
	return m
}

// DecisionToProto is a decision; one with no action has none.
func DecisionToProto(d engine.Decision) *homeostatv1.Decision {
	return &homeostatv1.Decision{
		IncidentId: id(uint64(d.Incident)),
		Verb:       homeostatv1.Verb(d.Verb),
		Action:     actionToProto(d.Action),
		Why:        text(d.Why),
		EpochTime:  stamp(d.Epoch),
		DecideTime: stamp(d.At),
	}
}

func actionToProto(a engine.Action) *homeostatv1.Action {
	if a == (engine.Action{}) {
		return nil
	}
	return &homeostatv1.Action{
		Id:           id(uint64(a.ID)),
		IncidentId:   id(uint64(a.Incident)),
		Kind:         homeostatv1.ActionKind(a.Kind),
		Target:       text(a.Target),
		Text:         text(a.Text),
		DeadlineTime: stamp(a.Deadline),
	}
}

// OutcomeToProto is what was learnt of an incident.
func OutcomeToProto(o engine.Outcome) *homeostatv1.Outcome {
	return &homeostatv1.Outcome{
		IncidentId: id(uint64(o.Incident)),
		AnomalyId:  id(uint64(o.Anomaly)),
		ActionId:   id(uint64(o.Action)),
		Verdict:    homeostatv1.Verdict(o.Verdict),
		By:         text(o.By),
		Why:        text(o.Why),
		EpochTime:  stamp(o.Epoch),
		JudgeTime:  stamp(o.At),
	}
}

// ThresholdMoveToProto is one change of a threshold.
func ThresholdMoveToProto(t engine.ThresholdMove) *homeostatv1.ThresholdMove {
	return &homeostatv1.ThresholdMove{
		SeriesId:  id(uint64(t.Series)),
		Partition: uint32(t.Partition),
		Before:    ThresholdToProto(t.Before),
		After:     ThresholdToProto(t.After),
		FromTime:  stamp(t.From),
		EpochTime: stamp(t.Epoch),
		MoveTime:  stamp(t.At),
		Steps:     int32(t.Steps),
	}
}

// LabelToProto is a person's word.
func LabelToProto(l engine.Label) *homeostatv1.Label {
	return &homeostatv1.Label{
		RequestId: text(l.RequestID),
		AnomalyId: id(uint64(l.Anomaly)),
		SeriesId:  id(uint64(l.Series)),
		Partition: uint32(l.Partition),
		Judgement: homeostatv1.Judgement(l.Judgement),
		By:        text(l.By),
		Note:      text(l.Note),
		LabelTime: stamp(l.At),
	}
}

// UndoToProto is the taking back of a label.
func UndoToProto(u engine.Undo) *homeostatv1.Undo {
	return &homeostatv1.Undo{
		RequestId:      text(u.RequestID),
		LabelRequestId: text(u.Label),
		By:             text(u.By),
		UndoTime:       stamp(u.At),
	}
}

// PerformedToProto is an actuator's answer.
func PerformedToProto(p engine.Performed) *homeostatv1.Performed {
	return &homeostatv1.Performed{
		ActionId:    id(uint64(p.Action)),
		Result:      homeostatv1.Result(p.Result),
		Detail:      text(p.Detail),
		PerformTime: stamp(p.At),
	}
}

// TickToProto is a tick.
func TickToProto(t engine.Tick) *homeostatv1.Tick {
	return &homeostatv1.Tick{NowTime: stamp(t.Now)}
}

// BaselineToProto is what is normal for a measurement.
func BaselineToProto(b engine.Baseline) *homeostatv1.Baseline {
	m := &homeostatv1.Baseline{
		Series:      SeriesToProto(b.Series),
		PointTime:   stamp(b.At),
		Value:       b.Value,
		Expected:    b.Expected,
		Lower:       b.Lower,
		Upper:       b.Upper,
		Threshold:   ThresholdToProto(b.Threshold),
		Points:      b.Points,
		Warm:        b.Warm,
		Season:      b.Season,
		Alarm:       b.Alarm,
		Ignored:     b.Ignored,
		RecordBytes: uint32(min(max(b.Bytes, 0), math.MaxInt32)),
	}
	if b.IntervalMS != 0 {
		m.Interval = span(b.IntervalMS)
	}
	return m
}

// id is an id as people see it; 0 is none.
func id(n uint64) string {
	if n == 0 {
		return ""
	}
	return engine.AnomalyID(n).String()
}

// text is s as proto3 takes it.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// stamp is a time in milliseconds; 0 is none. Every int64 has a stamp of its
// own, if not one that JSON knows.
func stamp(ms int64) *timestamppb.Timestamp {
	if ms == 0 {
		return nil
	}
	sec, rest := ms/1000, ms%1000
	if rest < 0 {
		sec, rest = sec-1, rest+1000
	}
	return &timestamppb.Timestamp{Seconds: sec, Nanos: int32(rest) * 1e6}
}

// span is a duration in milliseconds.
func span(ms int64) *durationpb.Duration {
	return &durationpb.Duration{Seconds: ms / 1000, Nanos: int32(ms%1000) * 1e6}
}
