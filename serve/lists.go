package serve

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/grpc/codes"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/wire"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// chooser is a filter, compiled.
type chooser struct {
	board    *Board
	filter   *homeostatv1.Filter
	events   []homeostatv1.EventKind
	matchers []*labels.Matcher
}

func newChooser(req *homeostatv1.WatchRequest, b *Board) (*chooser, error) {
	c, err := compile(req.GetFilter(), b)
	if err == nil {
		c.events = req.GetEventKinds()
	}
	return c, err
}

func compile(f *homeostatv1.Filter, b *Board) (*chooser, error) {
	c := &chooser{board: b, filter: f}
	for _, m := range f.GetMatchers() {
		op := labels.MatchEqual
		switch m.GetOp() {
		case homeostatv1.MatchOp_MATCH_OP_NOT_EQUAL:
			op = labels.MatchNotEqual
		case homeostatv1.MatchOp_MATCH_OP_REGEXP:
			op = labels.MatchRegexp
		case homeostatv1.MatchOp_MATCH_OP_NOT_REGEXP:
			op = labels.MatchNotRegexp
		}
		lm, err := labels.NewMatcher(op, m.GetName(), m.GetValue())
		if err != nil {
			return nil, refuse(codes.InvalidArgument, "FILTER_INVALID", nil, "matcher on %q: %v", m.GetName(), err)
		}
		c.matchers = append(c.matchers, lm)
	}
	return c, nil
}

// wants says whether a record is selected. What cannot be judged is.
func (c *chooser) wants(r engine.Record) bool {
	kind := homeostatv1.EventKind_EVENT_KIND_ANOMALY
	judged := func() bool { return true }
	switch r := r.(type) {
	case *engine.Anomaly:
		judged = func() bool { return c.anomaly(r) }
	case *engine.Incident:
		kind, judged = homeostatv1.EventKind_EVENT_KIND_INCIDENT, func() bool { return c.incident(r) }
	case engine.Decision:
		kind, judged = homeostatv1.EventKind_EVENT_KIND_DECISION, func() bool { return c.about(0, r.Incident) }
	case engine.Performed:
		kind = homeostatv1.EventKind_EVENT_KIND_PERFORMED
	case engine.Outcome:
		kind, judged = homeostatv1.EventKind_EVENT_KIND_OUTCOME, func() bool { return c.about(r.Anomaly, r.Incident) }
	case engine.ThresholdMove:
		kind = homeostatv1.EventKind_EVENT_KIND_THRESHOLD_MOVE
	case engine.Label:
		kind, judged = homeostatv1.EventKind_EVENT_KIND_LABEL, func() bool { return c.about(r.Anomaly, 0) }
	case engine.Undo:
		kind, judged = homeostatv1.EventKind_EVENT_KIND_UNDO, func() bool { return c.about(c.board.labelled(r.Label), 0) }
	}
	return (len(c.events) == 0 || slices.Contains(c.events, kind)) && judged()
}

// about judges an event by the anomaly that it speaks of, or else by the
// incident. One that is not known is selected.
func (c *chooser) about(anomaly engine.AnomalyID, incident engine.IncidentID) bool {
	a, i := c.board.known(anomaly, incident)
	switch {
	case a != nil:
		return c.anomaly(a)
	case i != nil:
		return c.incident(i)
	}
	return true
}

func (c *chooser) anomaly(a *engine.Anomaly) bool {
	f := c.filter
	switch {
	case len(f.GetKinds()) > 0 && !slices.Contains(f.GetKinds(), homeostatv1.Kind(a.Kind)),
		f.GetWorkload() != "" && f.GetWorkload() != string(a.Series.Workload),
		a.Peak.Float() < f.GetMinScore(),
		f.GetOpenOnly() && a.Revision == engine.Closed:
		return false
	}
	for _, m := range c.matchers {
		if !m.Matches(a.Series.Labels.Get(m.Name)) {
			return false
		}
	}
	return true
}

func (c *chooser) incident(i *engine.Incident) bool {
	f := c.filter
	if len(f.GetKinds()) > 0 && !slices.ContainsFunc(i.Members, func(m engine.Member) bool { return slices.Contains(f.GetKinds(), homeostatv1.Kind(m.Kind)) }) {
		return false
	}
	if f.GetWorkload() != "" && f.GetWorkload() != string(i.Workload) || i.Peak.Float() < f.GetMinScore() ||
		f.GetOpenOnly() && i.Revision == engine.Closed {
		return false
	}
	if len(c.matchers) == 0 {
		return true
	}
	c.board.mu.RLock()
	defer c.board.mu.RUnlock()
	return c.memberMatches(i)
}

// memberMatches asks with the board's lock held.
func (c *chooser) memberMatches(i *engine.Incident) bool {
	known := false
	for _, m := range i.Members {
		s := c.board.stories[m.Anomaly]
		if s == nil {
			continue
		}
		known = true
		ls := s.latest().Series.Labels
		if !slices.ContainsFunc(c.matchers, func(m *labels.Matcher) bool { return !m.Matches(ls.Get(m.Name)) }) {
			return true
		}
	}
	return !known
}

// pageOf reads a page token, which is how many entries are passed, and a size.
func pageOf(token string, size int32) (from, most int, err error) {
	most = int(size)
	if most <= 0 {
		most = 100
	}
	most = min(most, 1000)
	if token == "" {
		return 0, most, nil
	}
	from, err = strconv.Atoi(token)
	if err != nil || from < 0 {
		return 0, 0, refuse(codes.InvalidArgument, "PAGE_TOKEN_INVALID", nil, "the page token %q is not one of ours", token)
	}
	return from, most, nil
}

// ListAnomalies lists the latest revision of each anomaly, the newest first.
func (s *Service) ListAnomalies(_ context.Context, req *homeostatv1.ListAnomaliesRequest) (*homeostatv1.ListAnomaliesResponse, error) {
	c, err := compile(req.GetFilter(), s.board)
	if err != nil {
		return nil, err
	}
	from, most, err := pageOf(req.GetPageToken(), req.GetPageSize())
	if err != nil {
		return nil, err
	}
	s.board.mu.RLock()
	defer s.board.mu.RUnlock()
	out := &homeostatv1.ListAnomaliesResponse{}
	passed := 0
	for i := len(s.board.order) - 1; i >= 0; i-- {
		a := s.board.stories[s.board.order[i]].latest()
		if !c.anomaly(a) {
			continue
		}
		if passed++; passed <= from {
			continue
		}
		if len(out.Anomalies) == most {
			out.NextPageToken = strconv.Itoa(from + most)
			break
		}
		out.Anomalies = append(out.Anomalies, wire.AnomalyToProto(a))
	}
	return out, nil
}

// ListIncidents lists the latest revision of each incident, the newest first.
func (s *Service) ListIncidents(_ context.Context, req *homeostatv1.ListIncidentsRequest) (*homeostatv1.ListIncidentsResponse, error) {
	c, err := compile(req.GetFilter(), s.board)
	if err != nil {
		return nil, err
	}
	from, most, err := pageOf(req.GetPageToken(), req.GetPageSize())
	if err != nil {
		return nil, err
	}
	matchers := c.matchers
	c.matchers = nil // the board's lock is held below
	s.board.mu.RLock()
	defer s.board.mu.RUnlock()
	out := &homeostatv1.ListIncidentsResponse{}
	passed := 0
	for k := len(s.board.incOrder) - 1; k >= 0; k-- {
		i := s.board.incidents[s.board.incOrder[k]]
		if !c.incident(i) {
			continue
		}
		if len(matchers) > 0 && !(&chooser{board: s.board, matchers: matchers}).memberMatches(i) {
			continue
		}
		if passed++; passed <= from {
			continue
		}
		if len(out.Incidents) == most {
			out.NextPageToken = strconv.Itoa(from + most)
			break
		}
		out.Incidents = append(out.Incidents, wire.IncidentToProto(i))
	}
	return out, nil
}

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
		Anomaly: wire.AnomalyToProto(st.latest()), DroppedRevisions: uint32(st.dropped), Counterfactual: a.Counterfactual(),
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
		a.Counterfactual() + ".",
	}
	for _, f := range a.Factors {
		out = append(out, fmt.Sprintf("%s scored %.2f: %s.", f.Name, f.Score.Float(), f.Text))
	}
	if last := st.latest(); last.Revision == engine.Closed {
		out = append(out, "It has ended.")
	}
	return out
}
