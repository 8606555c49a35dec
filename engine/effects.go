package engine

import "github.com/homeostat/homeostat/models"

// Record is one entry of the event log: either something that went in (Tick,
// Label, Undo, Performed) or something that came out (*Anomaly, *Incident,
// Decision, Outcome, ThresholdMove).
type Record interface{ record() }

func (*Anomaly) record()      {}
func (*Incident) record()     {}
func (Decision) record()      {}
func (Outcome) record()       {}
func (ThresholdMove) record() {}
func (Label) record()         {}
func (Undo) record()          {}
func (Performed) record()     {}
func (Tick) record()          {}

// Scored is one measurement as it was scored, for whoever keeps or plots
// scores.
type Scored struct {
	Series  *Series
	At      int64
	Value   float64
	Reading models.Reading
	Alarm   bool // an episode is open after this point
	Opened  bool // it opened at this point

	// Deep is what the deep tier said, and DeepOpen its configured threshold; both
	// are zero for a series that it does not look at.
	Deep     models.Reading
	DeepOpen models.Score
}

// Effects is what came out of the engine. The zero value is ready; Reset keeps
// the room.
type Effects struct {
	Records  []Record    // to journal, in order, and then to deliver
	Actions  []Action    // to perform once the records are durable
	Receipts []Receipt   // one for each batch given to Step, in order
	Scored   []Scored    // with Config.Trace only
	Tail     []TailPoint // what scored at the tail's floor or above, those of a series in order
	marks    []mark      // where each record of a Step or Close belongs in the canonical order
	hushes   []hush      // series that fell silent
}

// mark is the place of a record in the canonical order.
type mark struct {
	batch  int
	epoch  int64
	at     int64
	series SeriesID
	kind   uint8
	rev    Revision
}
