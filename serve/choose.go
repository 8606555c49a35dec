package serve

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/grpc/codes"

	"github.com/homeostat/homeostat/engine"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// chooser is a filter, compiled. Over HTTP there is a time range and a state
// more.
type chooser struct {
	board    *Board
	filter   *homeostatv1.Filter
	events   []homeostatv1.EventKind
	matchers []*labels.Matcher
	from, to int64    // ms, both included; 0 for no bound
	states   []string // of anomalies and incidents; none is all
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

// wants says whether a record is to be streamed.
func (c *chooser) wants(r engine.Record) bool {
	if len(c.events) > 0 && !slices.Contains(c.events, eventKind(r)) {
		return false
	}
	c.board.mu.RLock()
	defer c.board.mu.RUnlock()
	return c.judges(r)
}

func eventKind(r engine.Record) homeostatv1.EventKind {
	switch r.(type) {
	case *engine.Anomaly:
		return homeostatv1.EventKind_EVENT_KIND_ANOMALY
	case *engine.Incident:
		return homeostatv1.EventKind_EVENT_KIND_INCIDENT
	case engine.Decision:
		return homeostatv1.EventKind_EVENT_KIND_DECISION
	case engine.Performed:
		return homeostatv1.EventKind_EVENT_KIND_PERFORMED
	case engine.Outcome:
		return homeostatv1.EventKind_EVENT_KIND_OUTCOME
	case engine.ThresholdMove:
		return homeostatv1.EventKind_EVENT_KIND_THRESHOLD_MOVE
	case engine.Label:
		return homeostatv1.EventKind_EVENT_KIND_LABEL
	case engine.Undo:
		return homeostatv1.EventKind_EVENT_KIND_UNDO
	}
	return homeostatv1.EventKind_EVENT_KIND_UNSPECIFIED
}

// judges says whether a record is selected; the caller holds the board's lock.
// What is neither an anomaly nor an incident is judged by the one it speaks of,
// and what cannot be judged is selected.
func (c *chooser) judges(r engine.Record) bool {
	switch r := r.(type) {
	case *engine.Anomaly:
		return c.during(r.OpenedAt, r.At, r.Revision == engine.Closed) && c.state(anomalyState(r)) && c.anomaly(r)
	case *engine.Incident:
		return c.during(r.OpenedAt, r.At, r.Revision == engine.Closed) && c.state(r.State.String()) && c.incident(r)
	case engine.Decision:
		return c.during(r.At, r.At, true) && c.about(0, r.Incident)
	case engine.Performed:
		a := c.board.byAction[r.Action]
		return a == nil || c.about(0, a.decision.Incident)
	case engine.Outcome:
		return c.during(r.At, r.At, true) && c.about(r.Anomaly, r.Incident)
	case engine.Label:
		return c.about(r.Anomaly, 0)
	case engine.Undo:
		return c.about(c.board.labels[r.Label].Anomaly, 0)
	}
	return true
}

// during says whether what went on from one time to another, or still does,
// overlaps the range.
func (c *chooser) during(from, to int64, ended bool) bool {
	return (c.to == 0 || from <= c.to) && (c.from == 0 || !ended || to >= c.from)
}

func (c *chooser) state(s string) bool { return len(c.states) == 0 || slices.Contains(c.states, s) }

func anomalyState(a *engine.Anomaly) string {
	if a.Revision == engine.Closed {
		return engine.IncidentClosed.String()
	}
	return engine.IncidentOpen.String()
}

// about judges an event by the anomaly that it speaks of, or else by the
// incident. One that is not known is selected.
func (c *chooser) about(anomaly engine.AnomalyID, incident engine.IncidentID) bool {
	if s := c.board.stories[anomaly]; s != nil {
		return c.anomaly(s.latest())
	}
	g := c.board.incidents[incident]
	return g == nil || c.incident(g.incident)
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
	return c.matches(a.Series)
}

func (c *chooser) matches(s *engine.Series) bool {
	return !slices.ContainsFunc(c.matchers, func(m *labels.Matcher) bool { return !m.Matches(s.Labels.Get(m.Name)) })
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
	return len(c.matchers) == 0 || c.memberMatches(i)
}

// memberMatches asks about the series of the members that are still known; when
// none is, the incident cannot be judged.
func (c *chooser) memberMatches(i *engine.Incident) bool {
	known := false
	for _, m := range i.Members {
		s := c.board.stories[m.Anomaly]
		if s == nil {
			continue
		}
		known = true
		if c.matches(s.latest().Series) {
			return true
		}
	}
	return !known
}
