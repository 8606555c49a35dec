package engine

import (
	"fmt"
	"strconv"

	"github.com/homeostat/homeostat/models"
)

// IncidentID is a hash of the workload and the opening time.
type IncidentID uint64

// String gives the ID as 16 hexadecimal digits.
func (id IncidentID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// ParseIncidentID reads what String wrote.
func ParseIncidentID(s string) (IncidentID, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("incident id %q: want 16 hexadecimal digits", s)
	}
	return IncidentID(n), nil
}

// IncidentState is where an incident stands.
type IncidentState uint8

// The states: open -> acting -> watching -> closed.
const (
	IncidentOpen IncidentState = iota + 1
	IncidentActing
	IncidentWatching
	IncidentClosed
)

var incidentStateNames = [...]string{"", "open", "acting", "watching", "closed"}

// String is the state's name in output.
func (s IncidentState) String() string { return incidentStateNames[s] }

// Member is one anomaly of an incident.
type Member struct {
	Anomaly  AnomalyID
	Series   SeriesID
	Kind     Kind
	OpenedAt int64
	ClosedAt int64 // 0 while open
	Peak     models.Score
}

// Incident is one revision of a group of anomalies that belong together: those
// of one workload that overlap or follow each other closely.
type Incident struct {
	ID        IncidentID
	Revision  Revision
	State     IncidentState
	Workload  Workload
	DataFault bool // data faults are a class of their own and never reach an action
	Epoch     int64
	At        int64 // when this revision was made: the end of the epoch, ms
	OpenedAt  int64
	Members   []Member // at most Config.MaxMembers, in order of opening
	Dropped   int      // members beyond that bound
	Peak      models.Score
}

// ActionID is the idempotency key of an action: a hash of incident, kind and
// attempt.
type ActionID uint64

// String gives the ID as 16 hexadecimal digits.
func (id ActionID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// ActionKind says what an action does. Notify is the mildest.
type ActionKind uint8

// The kinds of action. Only notify has an actuator so far.
const (
	ActNotify ActionKind = iota + 1
)

// String is the kind's name in output.
func (k ActionKind) String() string {
	if k == ActNotify {
		return "notify"
	}
	return "action(" + strconv.Itoa(int(k)) + ")"
}

// Action is what an actuator is asked to do.
type Action struct {
	ID       ActionID
	Incident IncidentID
	Kind     ActionKind
	Target   string // the workload
	Text     string // what to tell a person
	Deadline int64  // ms; after it the action is not worth doing
}

// Verb is what a decision came to.
type Verb uint8

// The verbs of a decision.
const (
	Hold Verb = iota + 1
	Ask
	Act
)

var verbNames = [...]string{"", "hold", "ask", "act"}

// String is the verb's name in output.
func (v Verb) String() string { return verbNames[v] }

// Decision is what the policy said of an incident, and why, in words that a
// tired person can check. Action is meaningful for Act and Ask only.
type Decision struct {
	Incident IncidentID
	Verb     Verb
	Action   Action
	Why      string
	Epoch    int64
	At       int64
}

// Result is what became of an action.
type Result uint8

// The results.
const (
	ResultDone Result = iota + 1
	ResultFailed
	ResultUnknown // a crash or a time-out came between: never tried again blindly
)

var resultNames = [...]string{"", "done", "failed", "unknown"}

// String is the result's name in output.
func (r Result) String() string { return resultNames[r] }

// Verdict is what an outcome says of an incident or action.
type Verdict uint8

// The verdicts. Unknown and Error never teach.
const (
	VerdictHelped Verdict = iota + 1
	VerdictNoEffect
	VerdictWorse
	VerdictSelfHealed
	VerdictFalseAlarm
	VerdictTrue
	VerdictUnknown
	VerdictError
)

var verdictNames = [...]string{"", "helped", "no_effect", "worse", "self_healed", "false_alarm", "true", "unknown", "error"}

// String is the verdict's name in output.
func (v Verdict) String() string { return verdictNames[v] }

// ByMeasurement is who says an outcome that was measured. No person may be
// called so.
const ByMeasurement = "measured"

// Outcome is what was learnt of an incident and its action. By is ByMeasurement
// or the person who said so; a person beats a measurement.
type Outcome struct {
	Incident IncidentID
	Anomaly  AnomalyID // set when a label names one anomaly
	Action   ActionID  // 0 when there was none
	Verdict  Verdict
	By       string
	Why      string
	Epoch    int64
	At       int64
}
