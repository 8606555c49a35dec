package engine

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/homeostat/homeostat/models"
)

// settleVersion is the version of the settle record. A reader refuses a newer
// one: unlike a baseline, what people said cannot be learnt anew.
const settleVersion = 1

// settleRecord is the settle state as it is stored: JSON, since it is small and
// its shape will grow. It holds no number that is not finite.
type settleRecord struct {
	Version int
	Open    int64
	Tick    int64
	Deaf    int64
	Facts   []fact
	Hushes  []hush
	Groups  []*incident
	Faults  []*fault
	Senders map[uint32]string
	Actions []Action
	Book    labelBook
}

// AppendSettle appends the record of what crosses series.
func (e *Engine) AppendSettle(b []byte) ([]byte, error) {
	st := &e.settle
	rec := settleRecord{
		Version: settleVersion, Open: st.open, Tick: st.tick, Deaf: st.deaf, Facts: st.facts, Hushes: st.hushes,
		Senders: st.senders, Actions: e.Unresolved(), Book: st.book,
	}
	for _, name := range sortedNames(st.groups) {
		rec.Groups = append(rec.Groups, st.groups[name])
	}
	for _, key := range e.sortedFaults() {
		rec.Faults = append(rec.Faults, st.faults[key])
	}
	out, err := json.Marshal(rec)
	if err != nil {
		return b, fmt.Errorf("engine: settle record: %w", err)
	}
	return append(b, out...), nil
}

// LoadSettle takes in a settle record, after the pages.
func (e *Engine) LoadSettle(b []byte) error {
	var rec settleRecord
	if err := json.Unmarshal(b, &rec); err != nil {
		return fmt.Errorf("engine: settle record: %w", err)
	}
	if rec.Version != settleVersion {
		return fmt.Errorf("engine: settle record: version %d, known is %d", rec.Version, settleVersion)
	}
	st := newSettle()
	st.open, st.tick, st.deaf, st.facts, st.hushes, st.book = rec.Open, rec.Tick, rec.Deaf, rec.Facts, rec.Hushes, rec.Book
	if rec.Senders != nil {
		st.senders = rec.Senders
	}
	for _, inc := range rec.Groups {
		st.groups[inc.Name] = inc
	}
	for _, f := range rec.Faults {
		st.faults[f.key()] = f
	}
	for _, a := range rec.Actions {
		st.actions[a.ID] = a
	}
	st.hushes = slices.DeleteFunc(st.hushes, func(h hush) bool { return !e.holds(h) })
	e.settle = st
	e.loaded = true
	e.countSeries()
	e.expelDeep()
	e.deepLoaded = false
	for _, s := range e.shards {
		for _, p := range s.parts {
			p.heard = st.open / minuteMillis
		}
	}
	return nil
}

// holds says whether the slot of a hush was loaded; the page that held it may
// be lost.
func (e *Engine) holds(h hush) bool {
	p := e.partition(h.Partition)
	i, ok := p.index[h.Series]
	return ok && i == h.Slot
}

// Redo applies a logged record to a state that may not contain it yet. Records
// are redone in the order of the log, after the pages and the settle record are
// loaded; one that the state contains already changes nothing.
func (e *Engine) Redo(r Record) error {
	e.loaded, e.redone = true, true
	for _, s := range e.shards {
		if s.loaded {
			s.mend()
		}
	}
	switch r := r.(type) {
	case Tick:
		e.settle.tick = max(e.settle.tick, r.Now)
		e.settle.open = e.openAt(r)
	case *Anomaly:
		e.redoAnomaly(r)
	case *Incident:
		e.redoIncident(r)
	case Decision:
		e.redoDecision(r)
	case Performed:
		e.performed(r)
	case Outcome:
		e.redoOutcome(r)
	case ThresholdMove:
		e.redoMove(r)
	case Label:
		e.settle.book.take(r, e.cfg.MaxLabels)
	case Undo:
		if !slices.Contains(e.settle.book.Undone, r.RequestID) && e.settle.book.known(r.Label) {
			e.settle.book.Undos = append(e.settle.book.Undos, r)
		}
	default:
		return fmt.Errorf("engine: cannot redo a %T", r)
	}
	return nil
}

// RedoPage is Redo for a record that the settle record contains and a page may
// not: only what belongs to a series is redone.
func (e *Engine) RedoPage(r Record) error {
	e.loaded, e.redone = true, true
	for _, s := range e.shards {
		if s.loaded {
			s.mend()
		}
	}
	switch r := r.(type) {
	case *Anomaly:
		e.redoEpisode(r)
	case ThresholdMove:
		e.redoStanding(r)
	}
	return nil
}

// redoAnomaly brings an episode to where the log left it, and hands the
// revision to the incidents again: redoIncident takes away what they knew.
func (e *Engine) redoAnomaly(a *Anomaly) {
	if f := factOf(a); !slices.Contains(e.settle.facts, f) && a.Epoch >= e.settle.open-e.grace-EpochMillis {
		e.settle.facts = append(e.settle.facts, f)
	}
	if isFault(a) {
		e.redoFault(a)
		return
	}
	e.redoEpisode(a)
}

// isFault says that an anomaly is of a sender, workload or target, and so of no
// series that was received.
func isFault(a *Anomaly) bool {
	return a.Kind == KindDataFault && a.Series.Labels.Get("__name__") != "up"
}

func (e *Engine) redoEpisode(a *Anomaly) {
	if isFault(a) {
		return
	}
	p := e.partition(a.Series.Partition)
	i, ok := p.index[a.Series.ID]
	if !ok {
		i = p.addSlot(a.Series, roleOf(a.Series), a.OpenedAt-1)
		e.shardOf(p.number).activate(p)
		p.join(i)
	}
	ch := p.channelOf(i, a)
	key := episodeKey{i, ch}
	ep := p.episodes[key]
	if ep != nil && a.At <= ep.EventAt {
		return
	}
	if ep == nil || ep.ID != a.ID {
		ep = &episode{ID: a.ID, OpenedAt: a.OpenedAt, Side: a.Direction, From: a.Expected, To: a.Value, Points: 1, Onside: 1}
		p.episodes[key] = ep
	}
	ep.Kind, ep.Open, ep.Peak = a.Kind, a.Revision != Closed, max(ep.Peak, a.Peak)
	ep.UpdatedAt, ep.EventAt = a.At, a.At
	p.touch(i)
	if ch == silentEpisode {
		if ep.Open {
			p.slots[i].flags |= flagSilent
		} else {
			p.slots[i].flags &^= flagSilent
		}
		return
	}
	if p.slots[i].feeds {
		return // it was scored when that was said, and is not any more
	}
	m := p.measureOf(i)
	m.alarm[ch] = models.Alarm{Open: ep.Open}
}

// channelOf finds the channel of an anomaly: the one that has its episode, or
// else the one that opens such.
func (p *partition) channelOf(i uint32, a *Anomaly) uint8 {
	for ch := range uint8(numChannels) {
		if ep := p.episodes[episodeKey{i, ch}]; ep != nil && ep.ID == a.ID {
			return ch
		}
	}
	switch {
	case opensSlow(a):
		return channelSlow
	case a.Kind == KindSilence:
		return silentEpisode
	case tierOf(a.Kind) == tierDeep:
		return channelDeep
	case a.Kind == KindVarianceChange:
		return channelSpread
	case a.Kind == KindSaturation && firstName(a.Factors) == limitFactor:
		return channelLimit
	}
	return channelMain
}

func (e *Engine) redoFault(a *Anomaly) {
	f := &fault{OpenedAt: a.OpenedAt, LastAt: a.OpenedAt, Series: int(a.Expected), ID: a.ID}
	ls := a.Series.Labels
	switch ls.Get("__name__") {
	case "homeostat_sender":
		f.Of, f.Name = faultSender, ls.Get("sender")
		f.Hash = senderHash(f.Name)
	case "homeostat_workload":
		f.Of, f.Workload = faultWorkload, Workload(ls.Get("workload"))
	default:
		f.Of, f.Workload, f.Instance = faultTarget, Workload(ls.Get("workload")), ls.Get("target")
	}
	if a.Revision == Closed {
		delete(e.settle.faults, f.key())
		return
	}
	if e.settle.faults[f.key()] == nil {
		e.settle.faults[f.key()] = f
	}
}

// redoIncident brings an incident to where the log left it. The revisions of
// its members that it tells of have reached it.
func (e *Engine) redoIncident(r *Incident) {
	name := groupName{r.Workload, r.DataFault}
	if inc := e.settle.groups[name]; inc != nil && inc.ID == r.ID && inc.Said >= r.Epoch {
		return
	}
	e.settle.facts = slices.DeleteFunc(e.settle.facts, func(f fact) bool {
		return slices.ContainsFunc(r.Members, func(m Member) bool {
			return m.Anomaly == f.ID && (f.Revision != Closed || m.ClosedAt != 0)
		})
	})
	if r.Revision == Closed {
		delete(e.settle.groups, name)
		return
	}
	inc := e.settle.groups[name]
	if inc == nil || inc.ID != r.ID {
		inc = &incident{ID: r.ID, Name: name, OpenedAt: r.OpenedAt}
		e.settle.groups[name] = inc
	}
	inc.State, inc.Members, inc.Dropped, inc.Peak = r.State, slices.Clone(r.Members), r.Dropped, r.Peak
	inc.Said, inc.Changed, inc.Open, inc.EndedAt, inc.Newest = r.Epoch, false, 0, 0, 0
	for _, m := range r.Members {
		if m.ClosedAt == 0 {
			inc.Open++
		}
		inc.EndedAt = max(inc.EndedAt, m.ClosedAt)
		inc.Newest = max(inc.Newest, m.OpenedAt)
	}
}

func (e *Engine) redoDecision(d Decision) {
	if d.Verb != Act {
		return
	}
	for _, inc := range e.settle.groups {
		if inc.ID == d.Incident && inc.Action == 0 {
			inc.Action, inc.State, inc.Changed = d.Action.ID, IncidentActing, true
			e.settle.actions[d.Action.ID] = d.Action
		}
	}
}

func (e *Engine) redoOutcome(o Outcome) {
	if o.By == ByMeasurement {
		for _, inc := range e.settle.groups {
			if inc.ID == o.Incident {
				inc.Judged = true
			}
		}
		return
	}
	b := &e.settle.book
	b.Pending = slices.DeleteFunc(b.Pending, func(request string) bool { return o.Why == labelWhy(request) })
}

// redoMove brings a threshold to where the log left it.
func (e *Engine) redoMove(mv ThresholdMove) {
	b := &e.settle.book
	b.Undos = slices.DeleteFunc(b.Undos, func(u Undo) bool {
		if mv.After.Cause != undoCause(u.Label) {
			return false
		}
		b.drop(u)
		return true
	})
	e.redoStanding(mv)
}

func (e *Engine) redoStanding(mv ThresholdMove) {
	p := e.partition(mv.Partition)
	i, ok := p.index[mv.Series]
	if !ok {
		return
	}
	if now := p.moved[i]; now != nil && now.Version >= mv.After.Version {
		return
	}
	var prev int8
	if now := p.moved[i]; now != nil {
		prev = now.Steps
	}
	p.moved[i] = &movedThreshold{Steps: int8(mv.Steps), Prev: prev, From: mv.From, Version: mv.After.Version, Cause: mv.After.Cause}
	p.slots[i].flags |= flagMoved
	p.touch(i)
}
