package enginetest

import (
	"fmt"
	"strings"

	"github.com/homeostat/homeostat/engine"
)

// subjects are the things that came of a run, one for the whole life of an
// anomaly or incident, in order of their first record.
func subjects(records []engine.Record, known map[engine.SeriesID]*engine.Series) []subject {
	var out []subject
	anomalies := map[engine.AnomalyID]int{}
	incidents := map[engine.IncidentID]int{}
	workloads := map[engine.IncidentID]engine.Workload{}
	var first map[engine.SeriesID]engine.Threshold // before any move
	for _, r := range records {
		switch r := r.(type) {
		case *engine.Anomaly:
			i, ok := anomalies[r.ID]
			if !ok {
				i = len(out)
				anomalies[r.ID] = i
				out = append(out, newAnomaly(r))
			}
			out[i].reviseAnomaly(r)
		case *engine.Incident:
			i, ok := incidents[r.ID]
			if !ok {
				i = len(out)
				incidents[r.ID] = i
				workloads[r.ID] = r.Workload
				out = append(out, subject{kind: "incident", at: r.OpenedAt, texts: map[string]string{}, nums: map[string]float64{}})
			}
			out[i].reviseIncident(r)
		case engine.ThresholdMove:
			if first == nil {
				first = map[engine.SeriesID]engine.Threshold{}
			}
			base, ok := first[r.Series]
			if !ok {
				base = r.Before
				first[r.Series] = base
			}
			out = append(out, newMove(r, base, known[r.Series]))
		case engine.Outcome:
			out = append(out, subject{
				kind: "outcome", at: r.At, nums: map[string]float64{},
				texts: map[string]string{"verdict": r.Verdict.String(), "by": r.By, "text": r.Why},
				line:  fmt.Sprintf("outcome %s by %s: %s", r.Verdict, r.By, r.Why),
			})
		case engine.Decision:
			out = append(out, subject{
				kind: "decision", at: r.At, nums: map[string]float64{},
				texts: map[string]string{"verb": r.Verb.String(), "text": r.Why, "workload": string(workloads[r.Incident])},
				line:  fmt.Sprintf("decision %s: %s", r.Verb, r.Why),
			})
		}
	}
	return out
}

func newAnomaly(a *engine.Anomaly) subject {
	direction := "none"
	switch a.Direction {
	case 1:
		direction = "up"
	case -1:
		direction = "down"
	}
	var words []string
	for _, f := range a.Factors {
		words = append(words, f.Text)
	}
	return subject{
		kind: "anomaly", at: a.OpenedAt, what: *a.Series,
		texts: map[string]string{
			"opened_as": a.Kind.String(), "workload": string(a.Series.Workload), "direction": direction, "text": strings.Join(words, "; "), "quiet": a.Quiet.Text,
		},
		nums: map[string]float64{
			"value": a.Value, "expected": a.Expected, "lower": a.Lower, "upper": a.Upper, "score": a.Score.Float(), "updates": 0,
		},
	}
}

func (s *subject) reviseAnomaly(a *engine.Anomaly) {
	s.texts["kind"], s.texts["state"] = a.Kind.String(), "open"
	s.texts["why"] = a.Why() // as the last revision has it
	s.nums["peak"] = a.Peak.Float()
	switch a.Revision {
	case engine.Updated:
		s.nums["updates"]++
	case engine.Closed:
		s.texts["state"] = "closed"
	}
	s.nums["lasting"] = float64(a.At - a.OpenedAt)
	s.line = fmt.Sprintf("anomaly %s %s score %.2f value %.4g expected %.4g, %s after %v s",
		a.Kind, s.what.Text(), s.nums["score"], s.nums["value"], s.nums["expected"], s.texts["state"], s.nums["lasting"]/1000)
}

func (s *subject) reviseIncident(i *engine.Incident) {
	kinds := map[string]bool{}
	var names []string
	for _, m := range i.Members {
		if k := m.Kind.String(); !kinds[k] {
			kinds[k] = true
			names = append(names, k)
		}
	}
	s.texts["workload"], s.texts["kind"] = string(i.Workload), strings.Join(names, " ")
	s.texts["state"] = i.State.String()
	s.nums["members"] = float64(len(i.Members) + i.Dropped)
	s.nums["peak"] = i.Peak.Float()
	s.nums["lasting"] = float64(i.At - i.OpenedAt)
	s.line = fmt.Sprintf("incident %s %s: %s members %v", i.Workload, i.State, s.texts["kind"], s.nums["members"])
}

func newMove(m engine.ThresholdMove, base engine.Threshold, of *engine.Series) subject {
	way := "up"
	switch {
	case m.After.Open == base.Open:
		way = "back"
	case m.After.Open < m.Before.Open:
		way = "down"
	}
	s := subject{
		kind: "threshold", at: m.At,
		texts: map[string]string{"way": way, "cause": m.After.Cause},
		nums:  map[string]float64{"open": m.After.Open.Float()},
		line:  fmt.Sprintf("threshold %s from %.3f to %.3f by %s", way, m.Before.Open.Float(), m.After.Open.Float(), m.After.Cause),
	}
	if of != nil {
		s.what = *of
	}
	return s
}

// samplesSubject is what became of the samples.
func samplesSubject(r *engine.Receipt, end int64) subject {
	s := subject{kind: "samples", at: end, nums: map[string]float64{
		"received": float64(r.Received), "scored": float64(r.Scored), "derived": float64(r.Derived), "held": float64(r.Held), "late": float64(r.Late),
		"absorbed": float64(r.Absorbed()), "rejected": float64(r.Rejected()),
	}}
	s.line = fmt.Sprintf("samples received=%d scored=%d derived=%d", r.Received, r.Scored, r.Derived)
	for reason, n := range r.Reasons {
		s.nums[engine.Reason(reason).String()] = float64(n)
		if n > 0 {
			s.line += fmt.Sprintf(" %s=%d", engine.Reason(reason), n)
		}
	}
	return s
}
