package serve

import (
	"context"
	"sync"

	"github.com/homeostat/homeostat/engine"
)

// Log is what serve reads of the durable log.
type Log interface {
	First() uint64
	Last() uint64
	Scan(from uint64, fn func(seq uint64, r engine.Record) error) error
}

// maxStories bounds the anomalies, and the incidents, that the board remembers,
// the oldest going first.
const maxStories = 100_000

// maxRevisions bounds the revisions of one anomaly that are remembered.
const maxRevisions = 64

// Board is the read model: the latest of what the log says. It fits loop.Sink.
type Board struct {
	most      int // entries of each list
	mu        sync.RWMutex
	stories   map[engine.AnomalyID]*story
	order     []*story // by opening
	incidents map[engine.IncidentID]*group
	incOrder  []*group // by opening
	acts      []*act
	byAction  map[engine.ActionID]*act
	verdicts  []*verdict
	labels    map[string]engine.Label // by request
	undone    map[string]engine.Undo  // by the label's request
	moves     map[engine.SeriesID]engine.ThresholdMove
	ring      ring
	last      uint64
	news      chan struct{} // closed, and made anew, when records come
	counts    Counts
}

// Counts are what the board has seen, for metrics.
type Counts struct {
	Anomalies map[string]uint64    // opened, by kind
	Outcomes  map[[2]string]uint64 // by verdict and by
	Decisions map[string]uint64    // by verb
	Moves     uint64
	Open      int // incidents
}

// story is what is known of one anomaly.
type story struct {
	first, last uint64 // sequences of the opening and of the latest revision
	revisions   []*engine.Anomaly
	dropped     int
	labels      []string
	outcomes    []engine.Outcome
	incidents   []engine.IncidentID
}

// group is the latest of one incident.
type group struct {
	first, last uint64
	incident    *engine.Incident
}

// act is one decision, and what became of its action.
type act struct {
	seq      uint64
	decision engine.Decision
	result   engine.Result // 0 while there is no answer
}

// verdict is one outcome.
type verdict struct {
	seq     uint64
	outcome engine.Outcome
}

// NewBoard makes an empty board; Load fills it from the log.
func NewBoard() *Board {
	return &Board{
		most:    maxStories,
		stories: map[engine.AnomalyID]*story{}, incidents: map[engine.IncidentID]*group{}, byAction: map[engine.ActionID]*act{},
		labels: map[string]engine.Label{}, undone: map[string]engine.Undo{}, moves: map[engine.SeriesID]engine.ThresholdMove{},
		news:   make(chan struct{}),
		counts: Counts{Anomalies: map[string]uint64{}, Outcomes: map[[2]string]uint64{}, Decisions: map[string]uint64{}},
	}
}

// Load takes in everything that a log holds.
func (b *Board) Load(log Log) error {
	return log.Scan(log.First(), func(seq uint64, r engine.Record) error {
		b.Deliver(seq, []engine.Record{r})
		return nil
	})
}

// Deliver takes durable records in and wakes the subscribers.
func (b *Board) Deliver(first uint64, records []engine.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, r := range records {
		b.take(first+uint64(i), r)
		b.ring.push(first+uint64(i), r)
	}
	b.last = first + uint64(len(records)) - 1
	close(b.news)
	b.news = make(chan struct{})
}

// state is the newest sequence, and a channel that closes when there is a newer.
func (b *Board) state() (last uint64, news <-chan struct{}) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.last, b.news
}

// after appends up to most of the records after a sequence to to; ok is false
// when the board no longer has them.
func (b *Board) after(seq uint64, to []*told, most int) (_ []*told, ok bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.ring.after(seq, to, most)
}

// await waits until something is so, or ctx ends. is is asked with the lock held.
func (b *Board) await(ctx context.Context, is func() bool) error {
	for {
		b.mu.RLock()
		done, news := is(), b.news
		b.mu.RUnlock()
		if done {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *Board) take(seq uint64, r engine.Record) {
	switch r := r.(type) {
	case *engine.Anomaly:
		b.takeAnomaly(seq, r)
	case *engine.Incident:
		b.takeIncident(seq, r)
	case engine.Decision:
		b.takeDecision(seq, r)
	case engine.Performed:
		if a := b.byAction[r.Action]; a != nil {
			a.result = r.Result
		}
	case engine.Outcome:
		b.takeOutcome(seq, r)
	case engine.ThresholdMove:
		b.counts.Moves++
		b.moves[r.Series] = r
	case engine.Label:
		b.labels[r.RequestID] = r
		if s := b.stories[r.Anomaly]; s != nil {
			s.labels = append(s.labels, r.RequestID)
		}
	case engine.Undo:
		b.undone[r.Label] = r
	}
}

func (b *Board) takeDecision(seq uint64, d engine.Decision) {
	b.counts.Decisions[d.Verb.String()]++
	a := &act{seq: seq, decision: d}
	b.acts = append(b.acts, a)
	if d.Verb != engine.Hold {
		b.byAction[d.Action.ID] = a
	}
	if len(b.acts) > b.most {
		if old := b.acts[0]; b.byAction[old.decision.Action.ID] == old {
			delete(b.byAction, old.decision.Action.ID)
		}
		b.acts = b.acts[1:]
	}
}

func (b *Board) takeOutcome(seq uint64, o engine.Outcome) {
	by := "person"
	if o.By == engine.ByMeasurement {
		by = o.By
	}
	b.counts.Outcomes[[2]string{o.Verdict.String(), by}]++
	b.verdicts = append(b.verdicts, &verdict{seq, o})
	if len(b.verdicts) > b.most {
		b.verdicts = b.verdicts[1:]
	}
	if s := b.stories[o.Anomaly]; s != nil {
		s.outcomes = append(s.outcomes, o)
	}
}

func (b *Board) takeAnomaly(seq uint64, a *engine.Anomaly) {
	s := b.stories[a.ID]
	if s == nil {
		s = &story{first: seq}
		b.stories[a.ID] = s
		b.order = append(b.order, s)
		if len(b.order) > b.most {
			delete(b.stories, b.order[0].revisions[0].ID)
			b.order = b.order[1:]
		}
	}
	if a.Revision == engine.Opened {
		b.counts.Anomalies[a.Kind.String()]++
	}
	s.last = seq
	s.revisions = append(s.revisions, a)
	if len(s.revisions) > maxRevisions {
		s.revisions = append(s.revisions[:1], s.revisions[2:]...)
		s.dropped++
	}
}

func (b *Board) takeIncident(seq uint64, i *engine.Incident) {
	g := b.incidents[i.ID]
	if g == nil {
		g = &group{first: seq}
		b.incidents[i.ID] = g
		b.incOrder = append(b.incOrder, g)
		if len(b.incOrder) > b.most {
			delete(b.incidents, b.incOrder[0].incident.ID)
			b.incOrder = b.incOrder[1:]
		}
		b.counts.Open++
	}
	if i.Revision == engine.Closed {
		b.counts.Open = max(0, b.counts.Open-1)
	}
	g.last, g.incident = seq, i
	for _, m := range i.Members {
		if s := b.stories[m.Anomaly]; s != nil && (len(s.incidents) == 0 || s.incidents[len(s.incidents)-1] != i.ID) {
			s.incidents = append(s.incidents, i.ID)
		}
	}
}

func (s *story) latest() *engine.Anomaly { return s.revisions[len(s.revisions)-1] }
