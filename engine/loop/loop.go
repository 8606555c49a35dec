package loop

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/homeostat/homeostat/engine"
)

// Loop owns an engine and takes events in from many goroutines.
type Loop struct {
	cfg     Config
	engine  *engine.Engine
	counts  *counts
	queue   *queue
	round   *round
	sweep   *sweep
	actions *performers
	started atomic.Bool
	told    atomic.Int64 // see Told

	taken  []*entry // of the round at hand
	asked  []*entry
	events []engine.Event
}

// New makes a loop over an engine whose state is restored already. Nothing
// happens before Run, but what is sent waits for it. It panics on a
// configuration that Validate refuses.
func New(cfg Config, e *engine.Engine, j Journal) *Loop {
	if err := cfg.Validate(); err != nil {
		panic("loop: " + err.Error())
	}
	cfg = cfg.withDefaults()
	c := newCounts(len(e.Shards()))
	l := &Loop{cfg: cfg, engine: e, counts: c, queue: newQueue(cfg, c)}
	l.round = newRound(cfg, e, j, c)
	l.sweep = newSweep(cfg, e, j, c)
	l.actions = newPerformers(cfg, l.queue, c)
	return l
}

// Submit has the batch scored and returns its receipt when every record that it
// caused is durable. ErrBusy says that nothing was taken. When ctx ends first,
// a batch that still waits is withdrawn and nothing of it was taken; one that
// is in a round already is answered all the same, at the round's end. Either
// way the batch is the caller's again when Submit returns.
func (l *Loop) Submit(ctx context.Context, b *engine.Batch) (engine.Receipt, error) {
	if l.cfg.Admit != nil {
		if err := l.cfg.Admit(); err != nil {
			l.counts.add(&l.counts.stats.NotAdmitted, 1)
			return engine.Receipt{}, fmt.Errorf("%w: %w", ErrBusy, err)
		}
	}
	en := l.queue.blank()
	en.event, en.samples, en.received = b, len(b.Samples)+len(b.Histograms), l.cfg.Now()
	return l.wait(ctx, en)
}

// Send has a tick, a label or an undo taken in and returns when it and what it
// caused are durable; a tick that causes nothing writes nothing. It fails as
// Submit does.
func (l *Loop) Send(ctx context.Context, ev engine.Event) error {
	if b, ok := ev.(*engine.Batch); ok {
		_, err := l.Submit(ctx, b)
		return err
	}
	en := l.queue.blank()
	en.event = ev
	_, err := l.wait(ctx, en)
	return err
}

// Query calls f with the engine between two rounds and returns when f has. f
// must change nothing and be quick: nothing is scored meanwhile. When ctx ends
// before f is called, it is not called.
func (l *Loop) Query(ctx context.Context, f func(*engine.Engine)) error {
	en := l.queue.blank()
	en.query = f
	_, err := l.wait(ctx, en)
	return err
}

// SetQueue puts other bounds on what may wait, as Config.QueueBatches and
// Config.QueueSamples, 0 being the default. What waits already stays.
func (l *Loop) SetQueue(batches, samples int) error {
	cfg := Config{QueueBatches: batches, QueueSamples: samples}
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("loop: %w", err)
	}
	cfg = cfg.withDefaults()
	l.queue.bound(cfg.QueueBatches, cfg.QueueSamples)
	return nil
}

// Reconcile says of actions that were decided in an earlier life, and whose
// answer is not in the log, that their result is unknown: they may have been
// performed, and are never tried again blindly. It is called between New and
// Run with engine.Engine.Unresolved, so that the answers are the first inputs.
func (l *Loop) Reconcile(actions []engine.Action) {
	for _, a := range actions {
		l.actions.tell(a, engine.ResultUnknown, "restart: the answer was not recorded")
	}
}

// Stats are the figures so far.
func (l *Loop) Stats() Stats {
	s := l.counts.snapshot()
	l.queue.fill(&s)
	s.ActionsWaiting = int(l.actions.outstanding.Load())
	return s
}

// Told is the start of the open epoch, in milliseconds, as of the last round
// whose records were delivered: the sinks have every record of the epochs before
// it. It is 0 before the first tick of this life.
func (l *Loop) Told() int64 { return l.told.Load() }

// wait queues an entry and returns its answer.
func (l *Loop) wait(ctx context.Context, en *entry) (engine.Receipt, error) {
	defer l.queue.release(en)
	if err := ctx.Err(); err != nil {
		return engine.Receipt{}, err
	}
	if err := l.queue.push(en); err != nil {
		return engine.Receipt{}, err
	}
	select {
	case <-en.done:
	case <-ctx.Done():
		if l.queue.withdraw(en) {
			return engine.Receipt{}, ctx.Err()
		}
		<-en.done
	}
	return en.receipt, en.err
}

// Run takes in what is sent until ctx ends. Then it refuses what still comes,
// answers what waits, waits for running actions up to Config.ActionDrain,
// stores every dirty page and returns nil. After an error of the journal or
// the recorder it returns the error, and everybody who waits gets ErrStopped
// with it. It runs once.
//
// Goroutines that Run starts have ended when it returns, but for an actuator
// that does not heed its ctx.
func (l *Loop) Run(ctx context.Context) error {
	if !l.started.CompareAndSwap(false, true) {
		return errors.New("loop: run a second time")
	}
	l.round.crew.start()
	l.actions.start()
	err := l.serve(ctx)
	l.queue.close(err)
	if err == nil {
		err = l.drain()
	} else {
		l.actions.cancel()
	}
	if err == nil {
		err = l.sweep.finish()
	}
	l.queue.fail(err)
	l.actions.stop()
	l.round.crew.stop()
	return err
}

// serve turns until ctx ends.
func (l *Loop) serve(ctx context.Context) error {
	for ctx.Err() == nil {
		more, err := l.turn()
		if err != nil {
			return err
		}
		if more {
			continue
		}
		select {
		case <-l.queue.wake:
		case <-ctx.Done():
		}
	}
	return nil
}

// turn does one round, the queries that wait and a step of the sweep, and
// reports whether there may be more to do at once.
func (l *Loop) turn() (more bool, err error) {
	worked, err := l.roundtrip()
	if err != nil {
		return false, err
	}
	swept, err := l.sweep.step(l.round.tick)
	return worked || swept, err
}

// roundtrip takes in what waits, answers, delivers and starts the actions.
func (l *Loop) roundtrip() (worked bool, err error) {
	l.taken = l.queue.cut(l.taken[:0])
	if len(l.taken) > 0 {
		for _, en := range l.taken {
			l.events = append(l.events, en.event)
		}
		err = l.round.take(l.events)
		clear(l.events)
		l.events = l.events[:0]
		l.answer(err)
		if err != nil {
			return false, err
		}
		l.round.deliver()
		epoch, _ := l.engine.Open()
		l.told.Store(epoch)
		for _, a := range l.round.actions {
			l.actions.perform(a)
		}
	}
	l.asked = l.queue.asked(l.asked[:0])
	for i, en := range l.asked {
		en.query(l.engine)
		en.answer(engine.Receipt{}, nil)
		l.asked[i] = nil
	}
	return len(l.taken) > 0, nil
}

// answer tells everybody in the round what became of what they sent.
func (l *Loop) answer(err error) {
	if err != nil {
		err = stopped(err)
	} else {
		l.observe()
	}
	batch := 0
	for i, en := range l.taken {
		var r engine.Receipt
		if _, ok := en.event.(*engine.Batch); ok {
			if err == nil {
				r = l.round.receipts[batch]
			}
			batch++
		}
		l.taken[i] = nil
		en.answer(r, err)
	}
}

// observe measures how long it took to see what the round's batches opened.
func (l *Loop) observe() {
	if len(l.round.opened) == 0 {
		return
	}
	now := l.cfg.Now()
	l.counts.mu.Lock()
	defer l.counts.mu.Unlock()
	opened, batch := l.round.opened, 0
	for _, en := range l.taken {
		if _, ok := en.event.(*engine.Batch); !ok {
			continue
		}
		if len(opened) > 0 && opened[0].batch == batch {
			l.counts.stats.Detection.observe(now.Sub(en.received), opened[0].count)
			opened = opened[1:]
		}
		batch++
	}
}

// drain takes in what waits and what running actions answer within
// Config.ActionDrain. Then it cancels those that still run and takes in what
// they answer within a second.
func (l *Loop) drain() error {
	if err := l.drainFor(l.cfg.ActionDrain); err != nil {
		return err
	}
	l.actions.cancel()
	return l.drainFor(heed)
}

// drainFor takes in until nothing waits and no action is without an answer, or
// until it has waited for answers so long.
func (l *Loop) drainFor(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		// An answer is in the queue before its action counts as answered, so
		// the count is read before the queue.
		outstanding := l.actions.outstanding.Load()
		worked, err := l.roundtrip()
		switch {
		case err != nil:
			return err
		case worked:
			continue
		case outstanding == 0:
			return nil
		}
		select {
		case <-l.queue.wake:
		case <-t.C:
			return nil
		}
	}
}
