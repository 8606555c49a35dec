package serve

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/grpc/codes"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/models"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// tailOf is a tail in memory.
type tailOf struct {
	points []engine.TailPoint
	during func() error // called before the points are given
}

func (k *tailOf) Scan(from, to int64, wanted func(*engine.Series) bool, fn func(*engine.TailPoint) error) (engine.TailReport, error) {
	var rep engine.TailReport
	for i := range k.points {
		p := &k.points[i]
		rep.Points++
		rep.To = max(rep.To, p.At)
	}
	if fn == nil {
		return rep, nil
	}
	if k.during != nil {
		if err := k.during(); err != nil {
			return rep, err
		}
	}
	for i := range k.points {
		p := &k.points[i]
		if p.At < from || to > 0 && p.At > to || !wanted(p.Series) {
			continue
		}
		if err := fn(p); err != nil {
			return rep, err
		}
	}
	return rep, nil
}

// spikes are points of a series that score so high, a minute apart.
func spikes(s *engine.Series, scores ...float64) (out []engine.TailPoint) {
	for i, x := range scores {
		out = append(out, engine.TailPoint{
			Series: s, Interval: 15, At: start + int64(i)*600_000, Score: models.ScoreOf(x), Base: 314, Open: 314, Close: 157,
			Before: engine.ManyBefore, Opened: x >= 5,
		})
	}
	return out
}

func TestAWhatIfLooksAtWhatPeopleSaid(t *testing.T) {
	a, b := trouble(0), trouble(1)
	tail := &tailOf{points: append(spikes(a.Series, 5.5), spikes(b.Series, 9, 9, 5.2)...)}
	for i := range tail.points[1:] {
		tail.points[1+i].At += 60_000
	}
	d := newDesk(t, Config{Tail: tail})
	d.add(a, ended(a), b)
	for _, l := range []engine.Label{
		{RequestID: "right", Anomaly: a.ID, Series: a.Series.ID, Judgement: engine.JudgedTrue},
		{RequestID: "wrong", Anomaly: b.ID, Series: b.Series.ID, Judgement: engine.JudgedTrue},
		{RequestID: "slip", Anomaly: a.ID, Series: a.Series.ID, Judgement: engine.JudgedFalse},
	} {
		d.add(l)
	}
	d.add(engine.Undo{RequestID: "u", Label: "slip"})
	ask := &homeostatv1.WhatIfRequest{Rule: &homeostatv1.WhatIfRequest_Threshold{Threshold: 6}}
	got, err := d.service.WhatIf(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	w := got.GetWhatIf()
	if w.GetBase().GetAlerts() != 4 || w.GetCandidate().GetAlerts() != 2 || len(w.GetLost()) != 2 || w.GetHitsKept() != 1 || len(w.GetHitsLost()) != 1 || w.GetHitsLost()[0].GetLabelRequestId() != "right" {
		t.Errorf("%v", w)
	}
	ask.Matchers = []*homeostatv1.LabelMatcher{{Name: "n", Value: "1"}}
	if got, err = d.service.WhatIf(t.Context(), ask); err != nil || got.GetWhatIf().GetBase().GetAlerts() != 3 || len(got.GetWhatIf().GetHitsLost()) != 0 {
		t.Errorf("of one series: %v, %v", err, got)
	}
}

func TestWhatIfsThatAreRefused(t *testing.T) {
	s := naming.NewSeries(labels.FromStrings("__name__", "load"), engine.TypeGauge)
	tail := &tailOf{points: spikes(s, 9)}
	d := newDesk(t, Config{Tail: tail})
	threshold := func(x float64) *homeostatv1.WhatIfRequest {
		return &homeostatv1.WhatIfRequest{Rule: &homeostatv1.WhatIfRequest_Threshold{Threshold: x}}
	}
	days := func(x float64) *homeostatv1.WhatIfRequest {
		return &homeostatv1.WhatIfRequest{Rule: &homeostatv1.WhatIfRequest_FalseAlarmDays{FalseAlarmDays: x}}
	}
	for name, c := range map[string]struct {
		req  *homeostatv1.WhatIfRequest
		code codes.Code
	}{
		"no rule":         {&homeostatv1.WhatIfRequest{}, codes.InvalidArgument},
		"less than none":  {threshold(-1), codes.InvalidArgument},
		"beyond a score":  {threshold(31), codes.InvalidArgument},
		"days of ages":    {days(1e9), codes.InvalidArgument},
		"under the floor": {threshold(1.5), codes.FailedPrecondition},
		"a bad matcher": {&homeostatv1.WhatIfRequest{
			Rule: threshold(6).Rule, Matchers: []*homeostatv1.LabelMatcher{{Name: "a", Op: homeostatv1.MatchOp_MATCH_OP_REGEXP, Value: "("}},
		}, codes.InvalidArgument},
	} {
		_, err := d.service.WhatIf(t.Context(), c.req)
		refusedWith(t, name, err, c.code)
	}
	// While one is worked out, a second one is refused, and one whose caller goes
	// away ends.
	ctx, leave := context.WithCancel(t.Context())
	tail.during = func() error {
		_, err := d.service.WhatIf(t.Context(), threshold(6))
		refusedWith(t, "a second one", err, codes.ResourceExhausted)
		leave()
		return ctx.Err()
	}
	_, err := d.service.WhatIf(ctx, threshold(6))
	refusedWith(t, "its caller went away", err, codes.Canceled)
	tail.during = func() error { return errors.New("the disk is gone") }
	_, err = d.service.WhatIf(t.Context(), threshold(6))
	refusedWith(t, "a tail that cannot be read", err, codes.Internal)
	_, err = newDesk(t, Config{}).service.WhatIf(t.Context(), threshold(6))
	refusedWith(t, "a server without a tail", err, codes.FailedPrecondition)
	if a := ask(t, d.pages().Handler(), "GET", "/api/v1/what-if?threshold=6&match[]={}", ""); a.code != 400 || !strings.Contains(a.Error, "match[]") {
		t.Errorf("an empty selector: %d %s", a.code, a.Error)
	}
}
