package engine

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/homeostat/homeostat/models"
)

// groupName names what an open incident gathers: the anomalies of one workload,
// or its data faults, which are a class of their own.
type groupName struct {
	Workload  Workload
	DataFault bool
}

// incident is the state of one open incident.
type incident struct {
	ID       IncidentID
	Name     groupName
	State    IncidentState
	OpenedAt int64
	Members  []Member
	Dropped  int
	Open     int   // members that are open, dropped ones included
	EndedAt  int64 // when the last of them ended
	Peak     models.Score
	Said     int64 // epoch of the last revision; 0 before the first
	Changed  bool  // there is something to say
	Newest   int64 // the newest anomaly's opening, ms
	Unheard  bool  // a member ended because nothing came any more
	Action   ActionID
	Result   Result
	ActedAt  int64
	Judged   bool // its outcome was recorded
}

// due is the epoch at which the incident has something to do.
func (inc *incident) due(e *Engine) int64 {
	due := int64(math.MaxInt64)
	if inc.Said == 0 {
		return min(due, floorEpoch(inc.OpenedAt))
	}
	if inc.Changed {
		due = min(due, inc.Said+e.updateEvery)
	}
	if inc.Open == 0 {
		due = min(due, floorEpoch(inc.EndedAt)+e.incidentGap)
	}
	if !inc.Judged && inc.ActedAt > 0 {
		due = min(due, floorEpoch(inc.ActedAt)+e.watchFor)
	}
	return due
}

func sortedNames(groups map[groupName]*incident) []groupName {
	names := make([]groupName, 0, len(groups))
	for name := range groups {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b groupName) int {
		if c := strings.Compare(string(a.Workload), string(b.Workload)); c != 0 {
			return c
		}
		switch {
		case a.DataFault == b.DataFault:
			return 0
		case a.DataFault:
			return 1
		}
		return -1
	})
	return names
}

// group puts one revision of an anomaly into its workload's incident, which
// opens with it when none is open.
func (e *Engine) group(f fact, epoch int64) {
	name := groupName{f.Workload, f.Kind == KindDataFault}
	inc := e.settle.groups[name]
	if inc == nil {
		if f.Revision != Opened {
			return // its incident is closed already
		}
		inc = &incident{
			ID:    IncidentID(hash64(hashText(string(f.Workload)), uint64(f.OpenedAt), uint64(f.ID))),
			Name:  name,
			State: IncidentOpen, OpenedAt: f.OpenedAt,
		}
		e.settle.groups[name] = inc
	}
	inc.Peak = max(inc.Peak, models.Score(f.Peak))
	at := slices.IndexFunc(inc.Members, func(m Member) bool { return m.Anomaly == f.ID })
	switch {
	case at >= 0:
		inc.revise(&inc.Members[at], f)
	case f.Revision == Closed:
		inc.Open = max(0, inc.Open-1)
		inc.EndedAt = max(inc.EndedAt, f.At)
	case f.Revision == Updated:
		// A dropped member goes on.
	default:
		inc.Open++
		inc.Changed = true
		inc.Newest = max(inc.Newest, f.OpenedAt)
		if len(inc.Members) >= e.cfg.MaxMembers {
			inc.Dropped++
			return
		}
		inc.Members = append(inc.Members, Member{
			Anomaly: f.ID, Series: f.Series, Kind: f.Kind, OpenedAt: f.OpenedAt, Peak: models.Score(f.Peak),
		})
	}
}

// revise takes a later revision of a member in.
func (inc *incident) revise(m *Member, f fact) {
	m.Peak = max(m.Peak, models.Score(f.Peak))
	if m.Kind != f.Kind {
		m.Kind = f.Kind
		inc.Changed = true
	}
	if f.Revision == Closed && m.ClosedAt == 0 {
		m.ClosedAt = f.At
		inc.Open = max(0, inc.Open-1)
		inc.EndedAt = max(inc.EndedAt, f.At)
		inc.Changed = true
		inc.Unheard = inc.Unheard || f.Unheard
	}
}

// advance does what an incident has to do at an epoch: say that it opened and
// decide, say what changed, judge, close.
func (e *Engine) advance(name groupName, inc *incident, epoch int64, t Tick, fx *Effects) {
	if inc.Said == 0 {
		d := e.decide(inc, epoch, t)
		e.sayIncident(inc, Opened, epoch, fx)
		fx.Records = append(fx.Records, d)
		if d.Verb == Act {
			inc.State = IncidentActing
			inc.Action = d.Action.ID
			inc.Changed = true
			e.settle.actions[d.Action.ID] = d.Action
			fx.Actions = append(fx.Actions, d.Action)
		}
		return
	}
	if !inc.Judged && inc.ActedAt > 0 && epoch >= floorEpoch(inc.ActedAt)+e.watchFor {
		e.judge(inc, epoch, fx)
	}
	if inc.Open == 0 && epoch >= floorEpoch(inc.EndedAt)+e.incidentGap {
		if !inc.Judged {
			e.judge(inc, epoch, fx)
		}
		inc.State = IncidentClosed
		e.sayIncident(inc, Closed, epoch, fx)
		delete(e.settle.groups, name)
		return
	}
	if inc.Changed && epoch >= inc.Said+e.updateEvery {
		e.sayIncident(inc, Updated, epoch, fx)
	}
}

func (e *Engine) sayIncident(inc *incident, rev Revision, epoch int64, fx *Effects) {
	inc.Said, inc.Changed = epoch, false
	fx.Records = append(fx.Records, &Incident{
		ID: inc.ID, Revision: rev, State: inc.State, Workload: inc.Name.Workload, DataFault: inc.Name.DataFault,
		Epoch: epoch, At: epoch + EpochMillis, OpenedAt: inc.OpenedAt, Members: slices.Clone(inc.Members),
		Dropped: inc.Dropped, Peak: inc.Peak,
	})
}

// decide says what to do about an incident that opens. So far the mildest
// action is the only one: to notify.
func (e *Engine) decide(inc *incident, epoch int64, t Tick) Decision {
	d := Decision{Incident: inc.ID, Verb: Hold, Epoch: epoch, At: epoch + EpochMillis}
	behind := time.Duration(t.Now-inc.Newest) * time.Millisecond
	switch {
	case inc.Name.DataFault:
		d.Why = "a data fault: nothing is known of the workload itself, so nothing is done to it"
	case behind > e.cfg.StaleAction:
		d.Why = fmt.Sprintf("it opened %v before the clock, more than %v: too old to act on", behind, e.cfg.StaleAction)
	default:
		d.Verb = Act
		d.Why = "notifying harms nothing, so that every incident is told of"
		d.Action = Action{
			ID:       ActionID(hash64(uint64(inc.ID), uint64(ActNotify), 1)),
			Incident: inc.ID, Kind: ActNotify, Target: string(inc.Name.Workload),
			Text:     inc.text(e),
			Deadline: t.Now + int64(e.cfg.StaleAction/time.Millisecond),
		}
	}
	return d
}

// text is the incident in a line.
func (inc *incident) text(e *Engine) string {
	kinds := map[Kind]int{}
	for _, m := range inc.Members {
		kinds[m.Kind]++
	}
	var parts []string
	for k := KindSpike; k < numKinds; k++ {
		if kinds[k] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", kinds[k], k))
		}
	}
	return fmt.Sprintf("%s: %s since %s", inc.Name.Workload, strings.Join(parts, ", "), e.clock(inc.OpenedAt))
}

// judge records what became of an incident. A notification treats nothing, so
// that an incident which ended healed by itself or by a person's hand; one that
// still lasts, or of which nothing is heard, is unknown, which teaches nothing.
func (e *Engine) judge(inc *incident, epoch int64, fx *Effects) {
	inc.Judged = true
	o := Outcome{Incident: inc.ID, Action: inc.Action, Verdict: VerdictUnknown, By: ByMeasurement, Epoch: epoch, At: epoch + EpochMillis}
	switch {
	case inc.Name.DataFault:
		o.Why = "a data fault says nothing of the workload"
	case inc.Unheard:
		o.Why = "its series stopped sending, so nobody can say that it recovered"
	case inc.Open > 0:
		o.Why = fmt.Sprintf("it still lasts %v after the action", e.cfg.WatchFor)
	case inc.Result == ResultFailed || inc.Result == ResultUnknown:
		o.Verdict = VerdictError
		o.Why = "the action was not known to be done"
	default:
		o.Verdict = VerdictSelfHealed
		o.Why = fmt.Sprintf("every member ended within %v of the opening, and nothing was done but to notify",
			time.Duration(inc.EndedAt-inc.OpenedAt)*time.Millisecond)
	}
	fx.Records = append(fx.Records, o)
}

// performed takes an actuator's answer in: the incident is watched from now on.
func (e *Engine) performed(p Performed) {
	a, ok := e.settle.actions[p.Action]
	if !ok {
		return
	}
	delete(e.settle.actions, p.Action)
	for _, inc := range e.settle.groups {
		if inc.ID == a.Incident {
			inc.State = IncidentWatching
			inc.Result = p.Result
			inc.ActedAt = p.At
			inc.Changed = true
		}
	}
}

// incidentOf finds the open incident that an anomaly belongs to; 0 when there
// is none.
func (st *settle) incidentOf(id AnomalyID) IncidentID {
	for _, name := range sortedNames(st.groups) {
		inc := st.groups[name]
		for _, m := range inc.Members {
			if m.Anomaly == id {
				return inc.ID
			}
		}
	}
	return 0
}

func hashText(s string) uint64 {
	words := make([]uint64, len(s))
	for i := range s {
		words[i] = uint64(s[i])
	}
	return hash64(words...)
}
