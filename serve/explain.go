package serve

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/wire"
	"github.com/homeostat/homeostat/models"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// Explain says why an anomaly was one, and what became of it.
func (s *Service) Explain(_ context.Context, req *homeostatv1.ExplainRequest) (*homeostatv1.ExplainResponse, error) {
	id, err := engine.ParseAnomalyID(req.GetAnomalyId())
	if err != nil {
		return nil, refuse(codes.InvalidArgument, "ANOMALY_INVALID", nil, "%v", err)
	}
	s.board.mu.RLock()
	defer s.board.mu.RUnlock()
	st := s.board.stories[id]
	if st == nil {
		return nil, refuse(codes.NotFound, "ANOMALY_NOT_FOUND", nil, "the anomaly %v is not known", id)
	}
	a := st.revisions[0]
	out := &homeostatv1.ExplainResponse{
		Anomaly: wire.AnomalyToProto(st.latest()), DroppedRevisions: uint32(st.dropped), Counterfactual: a.Quiet.Text,
	}
	for _, r := range st.revisions {
		out.Revisions = append(out.Revisions, wire.AnomalyToProto(r))
	}
	out.Sentences = sentences(a, st)
	if mv, ok := s.board.moves[a.Series.ID]; ok {
		out.LastMove = wire.ThresholdMoveToProto(mv)
		out.Sentences = append(out.Sentences, fmt.Sprintf("The threshold of its series stands at %.2f since %q moved it from %.2f.",
			mv.After.Open.Float(), mv.After.Cause, mv.Before.Open.Float()))
	}
	for _, request := range st.labels {
		l := s.board.labels[request]
		out.Labels = append(out.Labels, wire.LabelToProto(l))
		out.Sentences = append(out.Sentences, fmt.Sprintf("%q said %s (label %q).", l.By, l.Judgement, l.RequestID))
		if u, ok := s.board.undone[request]; ok {
			out.Undos = append(out.Undos, wire.UndoToProto(u))
			out.Sentences = append(out.Sentences, fmt.Sprintf("%q took label %q back.", u.By, u.Label))
		}
	}
	for _, o := range st.outcomes {
		out.Outcomes = append(out.Outcomes, wire.OutcomeToProto(o))
	}
	for _, i := range st.incidents {
		out.IncidentIds = append(out.IncidentIds, i.String())
	}
	return out, nil
}

func sentences(a *engine.Anomaly, st *story) []string {
	out := []string{
		fmt.Sprintf("%s: %s.", a.Kind, a.Why()),
		fmt.Sprintf("It scored %.2f where %.2f opens an anomaly (threshold set by %q).", a.Score.Float(), a.Threshold.Open.Float(), a.Threshold.Cause),
	}
	if a.Quiet.Text != "" {
		out = append(out, a.Quiet.Text+".")
	}
	for _, f := range a.Factors {
		if f.Name == engine.FloorFactor {
			out = append(out, "A person set a floor: deviations are "+f.Text+".")
			continue
		}
		if f.Score >= telling && !strings.Contains(out[0], f.Text) {
			out = append(out, fmt.Sprintf("%s scored %.2f: %s.", f.Name, f.Score.Float(), f.Text))
		}
	}
	if last := st.latest(); last.Kind != a.Kind {
		out = append(out, fmt.Sprintf("It turned out to be %s: %s.", last.Kind, last.Why()))
	}
	if last := st.latest(); last.Revision == engine.Closed {
		out = append(out, "It has ended.")
	}
	return out
}

// telling is the score from which on what a detector saw is worth a sentence:
// one ordinary point in ten has as much.
const telling = models.ScoreUnit
