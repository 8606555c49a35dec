package loop

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/homeostat/homeostat/engine"
)

// entry is one thing that waits for the loop.
type entry struct {
	event    engine.Event
	query    func(*engine.Engine)
	samples  int
	received time.Time // by Config.Now; batches only

	receipt engine.Receipt
	err     error
	done    chan struct{} // gets one value when the entry is answered; nil when nobody waits
}

func (en *entry) answer(r engine.Receipt, err error) {
	if en.done == nil {
		return
	}
	en.receipt, en.err = r, err
	en.done <- struct{}{}
}

// queue is what waits, in order, within bounds.
type queue struct {
	cfg    Config
	counts *counts
	wake   chan struct{} // holds a value when something came since the loop last looked
	free   sync.Pool     // of entries

	mu      sync.Mutex
	waiting []*entry // batches and events
	queries []*entry
	batches int
	samples int
	events  int
	closed  error // why nothing more comes in; nil while the loop takes
}

func newQueue(cfg Config, c *counts) *queue {
	q := &queue{cfg: cfg, counts: c, wake: make(chan struct{}, 1)}
	q.free.New = func() any { return &entry{done: make(chan struct{}, 1)} }
	return q
}

// blank is an entry that somebody is going to wait for.
func (q *queue) blank() *entry { return q.free.Get().(*entry) }

// release gives an entry back that was answered, refused or withdrawn.
func (q *queue) release(en *entry) {
	*en = entry{done: en.done}
	q.free.Put(en)
}

// push puts an entry at the end, or says why not and keeps nothing of it.
func (q *queue) push(en *entry) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return q.closed
	}
	if field := q.full(en); field != nil {
		q.counts.add(field, 1)
		return ErrBusy
	}
	q.put(en)
	return nil
}

// bound changes how many batches, and samples in them, may wait.
func (q *queue) bound(batches, samples int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.cfg.QueueBatches, q.cfg.QueueSamples = batches, samples
}

// force puts an entry at the end whatever waits and although senders are
// refused already. It is for the answers of actuators, which are bounded by
// the actions.
func (q *queue) force(en *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.put(en)
}

// full says which counter a refusal belongs to, nil when there is room.
func (q *queue) full(en *entry) *uint64 {
	s := &q.counts.stats
	_, batch := en.event.(*engine.Batch)
	switch {
	case en.query != nil && len(q.queries) >= q.cfg.QueueEvents, en.query == nil && !batch && q.events >= q.cfg.QueueEvents:
		return &s.BusyEvents
	case batch && q.batches >= q.cfg.QueueBatches:
		return &s.BusyBatches
	case batch && q.batches > 0 && q.samples+en.samples > q.cfg.QueueSamples:
		return &s.BusySamples
	}
	return nil
}

func (q *queue) put(en *entry) {
	if en.query != nil {
		q.queries = append(q.queries, en)
	} else {
		q.waiting = append(q.waiting, en)
		q.weigh(en, 1)
	}
	q.nudge()
}

// nudge has the loop look again.
func (q *queue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// weigh adds an entry to what waits, or takes it away with sign −1.
func (q *queue) weigh(en *entry, sign int) {
	if _, batch := en.event.(*engine.Batch); batch {
		q.batches += sign
		q.samples += sign * en.samples
	} else {
		q.events += sign
	}
}

// withdraw takes an entry back out and reports whether it still waited. One
// that is in a round already will be answered.
func (q *queue) withdraw(en *entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := &q.waiting
	if en.query != nil {
		list = &q.queries
	}
	i := slices.Index(*list, en)
	if i < 0 {
		return false
	}
	*list = slices.Delete(*list, i, i+1)
	if en.query == nil {
		q.weigh(en, -1)
	}
	q.counts.add(&q.counts.stats.Withdrawn, 1)
	return true
}

// cut appends the entries of the next round to to: what waits from the front,
// as far as the bounds of a round go.
func (q *queue) cut(to []*entry) []*entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, batches, samples := 0, 0, 0
	for _, en := range q.waiting {
		if _, batch := en.event.(*engine.Batch); batch {
			if batches == q.cfg.RoundBatches || batches > 0 && samples+en.samples > q.cfg.RoundSamples {
				break
			}
			batches++
			samples += en.samples
		}
		n++
		q.weigh(en, -1)
	}
	to = append(to, q.waiting[:n]...)
	q.waiting = slices.Delete(q.waiting, 0, n)
	return to
}

// asked appends the queries that wait to to.
func (q *queue) asked(to []*entry) []*entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	to = append(to, q.queries...)
	clear(q.queries)
	q.queries = q.queries[:0]
	return to
}

// close refuses senders from now on. What waits stays.
func (q *queue) close(cause error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return
	}
	q.closed = stopped(cause)
}

// fail answers everything that waits with the cause for which the loop ended.
func (q *queue) fail(cause error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, list := range []*[]*entry{&q.waiting, &q.queries} {
		for _, en := range *list {
			en.answer(engine.Receipt{}, stopped(cause))
		}
		*list = nil
	}
	q.batches, q.samples, q.events = 0, 0, 0
	q.closed = stopped(cause)
}

// fill adds what waits to the figures.
func (q *queue) fill(s *Stats) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.Queued, s.QueuedSamples, s.QueuedEvents, s.QueuedQueries = q.batches, q.samples, q.events, len(q.queries)
}

func stopped(cause error) error {
	if cause == nil {
		return ErrStopped
	}
	return fmt.Errorf("%w: %w", ErrStopped, cause)
}
