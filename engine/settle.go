package engine

import (
	"math"
	"slices"
)

// settle is what crosses series. Its fields are the settle record: whatever is
// here survives a restart.
type settle struct {
	open    int64 // start of the open epoch, ms; 0 before the first tick
	tick    int64 // time of the last tick, ms
	deaf    int64 // until this time homeostat itself was not there to hear: nobody was silent before it, ms
	facts   []fact
	hushes  []hush
	groups  map[groupName]*incident // open incidents
	faults  map[string]*fault       // open data faults that are no series' own
	senders map[uint32]string
	actions map[ActionID]Action // decided, without an answer yet
	book    labelBook
}

// fact is one revision of an anomaly on its way to the incidents: it waits for
// the close of its epoch.
type fact struct {
	ID       AnomalyID
	Series   SeriesID
	Workload Workload
	Kind     Kind
	Revision Revision
	Epoch    int64
	At       int64
	OpenedAt int64
	Peak     int16
	Unheard  bool // it ended because nothing came any more
}

func newSettle() settle {
	return settle{
		groups:  map[groupName]*incident{},
		faults:  map[string]*fault{},
		senders: map[uint32]string{},
		actions: map[ActionID]Action{},
	}
}

func (f fact) compare(o fact) int {
	return mark{epoch: f.Epoch, at: f.At, series: f.Series, kind: uint8(f.Kind), rev: f.Revision}.compare(
		mark{epoch: o.Epoch, at: o.At, series: o.Series, kind: uint8(o.Kind), rev: o.Revision})
}

func factOf(a *Anomaly) fact {
	return fact{
		ID: a.ID, Series: a.Series.ID, Workload: a.Series.Workload, Kind: a.Kind, Revision: a.Revision, Epoch: a.Epoch,
		At: a.At, OpenedAt: a.OpenedAt, Peak: int16(a.Peak),
		Unheard: a.Revision == Closed && a.Kind != KindSilence && len(a.Factors) == 1 && a.Factors[0].Name == "silence",
	}
}

// openAt is the start of the epoch that is open after a tick.
func (e *Engine) openAt(t Tick) int64 {
	return max(e.settle.open, floorEpoch(max(0, t.Now-e.grace)))
}

// Merge puts the records of all shards into fx in canonical order and adds
// their receipts up. It follows each parallel Step and Close.
func (e *Engine) Merge(parts []*Effects, fx *Effects) {
	from := len(fx.Records)
	for _, part := range parts {
		fx.Records = append(fx.Records, part.Records...)
		fx.marks = append(fx.marks, part.marks...)
		fx.Scored = append(fx.Scored, part.Scored...)
		fx.Tail = append(fx.Tail, part.Tail...)
		e.settle.hushes = append(e.settle.hushes, part.hushes...)
		for len(fx.Receipts) < len(part.Receipts) {
			fx.Receipts = append(fx.Receipts, Receipt{})
		}
		for i := range part.Receipts {
			fx.Receipts[i].Add(&part.Receipts[i])
		}
	}
	fx.sortRecords(from)
	for _, r := range fx.Records[from:] {
		if a, ok := r.(*Anomaly); ok {
			e.settle.facts = append(e.settle.facts, factOf(a))
		}
	}
}

// Settle does, alone, what crosses series at the close of the epochs that the
// tick ends. It follows Close of every shard and Merge. Everything that is due
// happens in the order of event time, so that one tick over an hour and 3,600
// ticks come to the same.
func (e *Engine) Settle(t Tick, fx *Effects) {
	st := &e.settle
	was, open := st.open, e.openAt(t)
	st.deaf = e.deafUntil(t)
	e.loaded, e.redone = false, false
	st.tick = max(st.tick, t.Now)
	st.open = open
	e.countSeries()
	if open/hourMillis != was/hourMillis {
		e.forgetSenders(open)
	}
	e.admitDeep()
	e.noteSenders()
	slices.SortStableFunc(st.facts, fact.compare)
	slices.SortStableFunc(st.hushes, hush.compare)
	for {
		due := e.nextDue()
		if due >= open {
			break
		}
		e.settleEpoch(due, t, fx)
	}
	e.settleFaults(open-EpochMillis, fx)
	e.learn(t, fx)
}

// nextDue is the earliest epoch at which something waits to be settled.
func (e *Engine) nextDue() int64 {
	st := &e.settle
	due := int64(math.MaxInt64)
	if len(st.facts) > 0 {
		due = min(due, st.facts[0].Epoch)
	}
	if len(st.hushes) > 0 {
		due = min(due, st.hushes[0].JudgeAt)
	}
	for _, inc := range st.groups {
		due = min(due, inc.due(e))
	}
	return due
}

// settleEpoch settles what is due at one epoch: silences first, since they make
// anomalies, then anomalies into incidents, then what the incidents wait for.
func (e *Engine) settleEpoch(epoch int64, t Tick, fx *Effects) {
	st := &e.settle
	n := 0
	for n < len(st.hushes) && st.hushes[n].JudgeAt <= epoch {
		n++
	}
	if n > 0 {
		judged := slices.Clone(st.hushes[:n])
		st.hushes = append(st.hushes[:0], st.hushes[n:]...)
		e.judgeHushes(judged, epoch, fx)
	}
	n = 0
	for n < len(st.facts) && st.facts[n].Epoch <= epoch {
		n++
	}
	due := slices.Clone(st.facts[:n])
	st.facts = append(st.facts[:0], st.facts[n:]...)
	for _, f := range due {
		e.group(f, epoch)
	}
	for _, name := range sortedNames(st.groups) {
		e.advance(name, st.groups[name], epoch, t, fx)
	}
}

// keep takes the records that Settle itself made of anomalies in as facts.
func (e *Engine) keep(from int, fx *Effects) {
	for _, r := range fx.Records[from:] {
		if a, ok := r.(*Anomaly); ok {
			e.settle.facts = append(e.settle.facts, factOf(a))
		}
	}
	slices.SortStableFunc(e.settle.facts, fact.compare)
}

// Take takes in a Label, an Undo or a Performed. What it changes holds from the
// next epoch.
func (e *Engine) Take(ev Event, fx *Effects) {
	st := &e.settle
	switch ev := ev.(type) {
	case Label:
		st.book.take(ev, e.cfg.MaxLabels)
	case Undo:
		if !slices.Contains(st.book.Undone, ev.RequestID) {
			st.book.Undos = append(st.book.Undos, ev)
		}
	case Performed:
		e.performed(ev)
	}
}

// Unresolved lists the actions that were decided and never answered, in order
// of ID. After a crash nobody knows whether they were done: they are told to be
// unknown, never tried again blindly.
func (e *Engine) Unresolved() []Action {
	out := make([]Action, 0, len(e.settle.actions))
	for _, a := range e.settle.actions {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b Action) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out
}
