package serve

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/grpc/codes"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/wire"
	"github.com/homeostat/homeostat/models"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// question is what a what-if asks.
type question struct {
	rule  engine.Rule
	words string // the rule, for people
	last  int64  // ms; 0 for all of it
	match []*labels.Matcher
}

const (
	maxAskedDays = 3650
	maxAskedLast = 10 * 365 * 24 * time.Hour
)

// ruleOf is a rule by one of two numbers; the other one is 0.
func ruleOf(days, threshold float64) (engine.Rule, string, error) {
	switch {
	case (days != 0) == (threshold != 0):
		return nil, "", refuse(codes.InvalidArgument, "RULE_INVALID", nil, "want one of false_alarm_days and threshold")
	case days != 0 && !(days > 0 && days <= maxAskedDays):
		return nil, "", refuse(codes.InvalidArgument, "RULE_INVALID", nil, "false_alarm_days %v: want a number above 0, up to %d", days, maxAskedDays)
	case threshold != 0 && !(threshold > 0 && threshold <= models.MaxScore.Float()):
		return nil, "", refuse(codes.InvalidArgument, "RULE_INVALID", nil, "threshold %v: want a score above 0, up to %v", threshold, models.MaxScore.Float())
	case days != 0:
		return engine.DaysRule(days), fmt.Sprintf("one false alarm a series in %v days", days), nil
	}
	open := models.ScoreOf(threshold)
	return engine.OpenRule(open), fmt.Sprintf("open at %.2f", open.Float()), nil
}

// WhatIf says what another threshold would have done.
func (s *Service) WhatIf(ctx context.Context, req *homeostatv1.WhatIfRequest) (*homeostatv1.WhatIfResponse, error) {
	c, err := compile(&homeostatv1.Filter{Matchers: req.GetMatchers()}, s.board)
	if err != nil {
		return nil, err
	}
	q := question{match: c.matchers}
	if q.rule, q.words, err = ruleOf(req.GetFalseAlarmDays(), req.GetThreshold()); err != nil {
		return nil, err
	}
	if last := req.GetLast(); last != nil {
		d := last.AsDuration()
		if err := last.CheckValid(); err != nil || d <= 0 || d > maxAskedLast {
			return nil, refuse(codes.InvalidArgument, "LAST_INVALID", nil, "last: want a duration above 0, up to %v", maxAskedLast)
		}
		q.last = d.Milliseconds()
	}
	w, rep, err := s.whatIf(ctx, q)
	if err != nil {
		return nil, err
	}
	return &homeostatv1.WhatIfResponse{
		WhatIf: wire.WhatIfToProto(w), LostPoints: rep.Lost, Gaps: wire.TailGapsToProto(rep.Gaps), MoreGaps: uint32(rep.MoreGaps),
	}, nil
}

// whatIf looks at what was kept. One at a time: it reads as much as there is.
func (s *Service) whatIf(ctx context.Context, q question) (*engine.WhatIf, engine.TailReport, error) {
	var none engine.TailReport
	if s.cfg.Tail == nil {
		return nil, none, refuse(codes.FailedPrecondition, "NO_TAIL", nil, "this server keeps no scores: storage.tail_bytes is negative")
	}
	if !s.trying.TryLock() {
		return nil, none, refuse(codes.ResourceExhausted, "BUSY", nil, "another what-if is being worked out: ask again when it is done")
	}
	defer s.trying.Unlock()
	wanted := func(series *engine.Series) bool { return matchAll(q.match, series.Labels) }
	w, rep, err := engine.Try(s.heeding(ctx), wanted, q.last, engine.TrialConfig{
		Rule: q.rule, Gap: s.cfg.IncidentGap.Milliseconds(), Judged: s.board.judged(),
	})
	switch {
	case errors.Is(err, engine.ErrUnderFloor):
		return nil, none, refuse(codes.FailedPrecondition, "UNDER_FLOOR", nil, "%v", err)
	case ctx.Err() != nil:
		return nil, none, unavailable(ctx.Err())
	case err != nil:
		return nil, none, refuse(codes.Internal, "TAIL", nil, "reading what was kept: %v", err)
	}
	return w, rep, nil
}

// heeding is the tail's scan, which ends when ctx does.
func (s *Service) heeding(ctx context.Context) engine.TailScan {
	return func(from, to int64, wanted func(*engine.Series) bool, fn func(*engine.TailPoint) error) (engine.TailReport, error) {
		if fn == nil {
			return s.cfg.Tail.Scan(from, to, wanted, nil)
		}
		n := 0
		return s.cfg.Tail.Scan(from, to, wanted, func(p *engine.TailPoint) error {
			if n++; n%4096 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			return fn(p)
		})
	}
}

func matchAll(ms []*labels.Matcher, ls labels.Labels) bool {
	for _, m := range ms {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}

// judged are the anomalies that people judged, as far as the board remembers.
func (b *Board) judged() []engine.Judged {
	b.mu.RLock()
	defer b.mu.RUnlock()
	d := engine.NewDocket()
	for _, s := range b.order {
		if len(s.labels) == 0 {
			continue
		}
		d.Take(s.revisions[0])
		d.Take(s.latest())
		for _, request := range s.labels {
			if _, undone := b.undone[request]; !undone {
				d.Take(b.labels[request])
			}
		}
	}
	return d.Judged()
}

// restWhatIf is the same over HTTP.
func (s *Service) restWhatIf() http.Handler {
	return rest(http.MethodGet, func(r *http.Request) (any, error) {
		p := paramsOf(r, "false_alarm_days", "threshold", "last", "match[]")
		c := &chooser{board: s.board}
		p.selector(c)
		q := question{match: c.matchers, last: p.duration("last").Milliseconds()}
		days, threshold := p.number("false_alarm_days"), p.number("threshold")
		if p.err != nil {
			return nil, p.err
		}
		var err error
		if q.rule, q.words, err = ruleOf(days, threshold); err != nil {
			return nil, err
		}
		w, rep, err := s.whatIf(r.Context(), q)
		if err != nil {
			return nil, err
		}
		return wire.WhatIfLine(q.words, w, &rep), nil
	})
}

// number is the value of a parameter; 0 when it is not given.
func (p *params) number(name string) float64 {
	v := p.text(name)
	if v == "" {
		return 0
	}
	n, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) || n == 0 {
		p.fail("%s %q: want a number that is not 0", name, clip(v))
	}
	return n
}

// duration is the value of a parameter as Prometheus writes it, such as 14d; 0
// when it is not given.
func (p *params) duration(name string) time.Duration {
	v := p.text(name)
	if v == "" {
		return 0
	}
	d, err := model.ParseDuration(v)
	if err != nil || d <= 0 || time.Duration(d) > maxAskedLast {
		p.fail("%s %q: want a duration such as 14d, up to %v", name, clip(v), maxAskedLast)
	}
	return time.Duration(d)
}
