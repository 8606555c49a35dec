package loop

import (
	"fmt"
	"time"

	"github.com/homeostat/homeostat/engine"
)

// round is the synchronous part of the loop, which Loop and Driver share. It
// keeps its buffers from one round to the next.
type round struct {
	cfg     Config
	engine  *engine.Engine
	journal Journal
	crew    *crew
	counts  *counts

	tick   int64 // in force, ms; 0 before the first
	ticked int64 // the last one that this round's owner put in the log

	batches  []*engine.Batch // of the run at hand
	fx       engine.Effects  // of the input at hand
	records  []engine.Record // of the round, in order, with the journaled inputs
	first    uint64          // the sequence of the first of them
	receipts []engine.Receipt
	closed   engine.Receipt // of the closed epochs
	actions  []engine.Action
	scored   []engine.Scored
	tail     []engine.TailPoint
	opened   []openings
}

// openings says that a run of batches opened anomalies.
type openings struct {
	batch int // the first batch of the run, counted within the round
	count int
}

func newRound(cfg Config, e *engine.Engine, j Journal, c *counts) *round {
	_, tick := e.Open()
	r := &round{cfg: cfg, engine: e, journal: j, counts: c, tick: tick}
	r.crew = newCrew(e.Shards(), cfg.Now)
	return r
}

// take takes the inputs in, in order, and returns when what they caused is
// durable. Until the next take, receipts holds one receipt for each batch and
// actions what is to be performed. An error is final.
func (r *round) take(events []engine.Event) error {
	r.reset()
	if err := r.record(events); err != nil {
		return err
	}
	for len(events) > 0 {
		switch ev := events[0].(type) {
		case *engine.Batch:
			n := r.step(events)
			events = events[n:]
			continue
		case engine.Tick:
			r.settle(ev)
		default:
			r.apply(ev)
		}
		events = events[1:]
	}
	if err := r.commit(); err != nil {
		return err
	}
	r.count()
	return nil
}

// reset forgets the last round and keeps the room. The records are let go of,
// because a sink may be the only one that still needs them.
func (r *round) reset() {
	clear(r.records)
	r.records = r.records[:0]
	r.receipts = r.receipts[:0]
	r.closed = engine.Receipt{}
	r.actions = r.actions[:0]
	r.scored = r.scored[:0]
	clear(r.tail)
	r.tail = r.tail[:0]
	r.opened = r.opened[:0]
}

func (r *round) record(events []engine.Event) error {
	if r.cfg.Recorder == nil {
		return nil
	}
	for _, ev := range events {
		if err := r.cfg.Recorder.Record(ev); err != nil {
			return fmt.Errorf("loop: record an input: %w", err)
		}
	}
	return nil
}

// step has the shards step over the batches at the head of events and returns
// how many there are.
func (r *round) step(events []engine.Event) int {
	r.batches = r.batches[:0]
	for _, ev := range events {
		b, ok := ev.(*engine.Batch)
		if !ok {
			break
		}
		r.batches = append(r.batches, b)
	}
	r.crew.do(job{batches: r.batches})
	r.fx.Reset()
	r.engine.Merge(r.crew.parts, &r.fx)
	if n := countOpened(r.fx.Records); n > 0 {
		r.opened = append(r.opened, openings{batch: len(r.receipts), count: n})
	}
	r.receipts = append(r.receipts, r.fx.Receipts...)
	r.collect(nil)
	n := len(r.batches)
	clear(r.batches)
	return n
}

// settle closes the epochs that the tick ends. A tick that does not move the
// time forward changes nothing.
func (r *round) settle(t engine.Tick) {
	if t.Now <= r.tick {
		return
	}
	r.tick = t.Now
	r.crew.do(job{tick: t, closes: true})
	r.fx.Reset()
	r.engine.Merge(r.crew.parts, &r.fx)
	r.engine.Settle(t, &r.fx)
	for i := range r.fx.Receipts {
		r.closed.Add(&r.fx.Receipts[i]) // of the closing: what was derived
	}
	r.collect(nil)
}

// apply takes in what is journaled itself: a label, an undo, an answer.
func (r *round) apply(ev engine.Event) {
	r.fx.Reset()
	r.engine.Take(ev, &r.fx)
	r.collect(ev.(engine.Record))
}

// collect moves the effects of one input to the round's. The tick in force goes
// before the first record made under it; that is decided for each input and not
// for each round, so that the numbering does not depend on how rounds are cut.
func (r *round) collect(input engine.Record) {
	if (input != nil || len(r.fx.Records) > 0) && r.tick != r.ticked {
		r.records = append(r.records, engine.Tick{Now: r.tick})
		r.ticked = r.tick
	}
	if input != nil {
		r.records = append(r.records, input)
	}
	r.records = append(r.records, r.fx.Records...)
	r.actions = append(r.actions, r.fx.Actions...)
	r.scored = append(r.scored, r.fx.Scored...)
	if r.cfg.Tail != nil {
		r.tail = append(r.tail, r.fx.Tail...)
	}
}

// commit makes the records durable.
func (r *round) commit() error {
	if len(r.records) == 0 {
		return nil
	}
	begin := r.cfg.Now()
	first, err := r.journal.Append(r.records)
	if err != nil {
		return fmt.Errorf("loop: journal %d records after sequence %d: %w", len(r.records), r.journal.Last(), err)
	}
	r.first = first
	r.counts.journaled(len(r.records), r.cfg.Now().Sub(begin))
	return nil
}

// deliver hands the durable records to the sinks. It follows take, after the
// senders are answered.
func (r *round) deliver() {
	if len(r.scored) > 0 && r.cfg.Trace != nil {
		r.cfg.Trace(r.scored)
	}
	if r.cfg.Tail != nil {
		r.cfg.Tail.Keep(r.tick, r.tail)
	}
	if len(r.records) == 0 || len(r.cfg.Sinks) == 0 {
		return
	}
	begin := r.cfg.Now()
	for _, s := range r.cfg.Sinks {
		s.Deliver(r.first, r.records)
	}
	r.counts.delivered(r.cfg.Now().Sub(begin))
}

// count adds the round to the figures.
func (r *round) count() {
	epoch, _ := r.engine.Open()
	c := r.counts
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Rounds++
	c.stats.Batches += uint64(len(r.receipts))
	for i := range r.receipts {
		c.stats.Receipts.Add(&r.receipts[i])
	}
	c.stats.Receipts.Add(&r.closed)
	c.stats.Tick, c.stats.Epoch = r.tick, epoch
	c.stats.Series, c.stats.Measurements = r.engine.Size()
	c.stats.Deep, c.stats.DeepRefused, c.stats.DeepBytes = r.engine.DeepSize()
	for i := range r.crew.busy {
		c.stats.ShardBusy[i] = time.Duration(r.crew.busy[i].Load())
	}
}

func countOpened(records []engine.Record) int {
	n := 0
	for _, rec := range records {
		if a, ok := rec.(*engine.Anomaly); ok && a.Revision == engine.Opened {
			n++
		}
	}
	return n
}
