package loop

import (
	"context"

	"github.com/homeostat/homeostat/engine"
)

// Driver takes events in synchronously, with the rounds of Loop: for replay,
// scenarios and tests. It is used by one goroutine at a time.
//
// It has no queue, no clock of its own and no sweep; Sweep stores the pages when
// the caller wants it. With Config.Actuator set it performs the actions of a
// round at once and takes their answers in as the next round, at the time of the
// tick in force; a recording holds the answers, so that its replay sets none.
type Driver struct {
	round  *round
	sweep  *sweep
	counts *counts
	err    error
	one    [1]engine.Event
}

// NewDriver makes a driver over an engine whose state is restored already. It
// panics on a configuration that Validate refuses. Close ends it.
func NewDriver(cfg Config, e *engine.Engine, j Journal) *Driver {
	if err := cfg.Validate(); err != nil {
		panic("loop: " + err.Error())
	}
	cfg = cfg.withDefaults()
	c := newCounts(len(e.Shards()))
	d := &Driver{counts: c, round: newRound(cfg, e, j, c), sweep: newSweep(cfg, e, j, c)}
	d.round.crew.start()
	return d
}

// Close ends the goroutines of the shards.
func (d *Driver) Close() { d.round.crew.stop() }

// Take takes one event in, as a round of its own, and returns when what it
// caused is durable and delivered. The receipt is that of a batch. After an
// error every call returns ErrStopped with it.
func (d *Driver) Take(ev engine.Event) (engine.Receipt, error) {
	d.one[0] = ev
	receipts, err := d.TakeAll(d.one[:])
	if err != nil || len(receipts) == 0 {
		return engine.Receipt{}, err
	}
	return receipts[0], nil
}

// TakeAll takes events in as one round. It returns a receipt for each batch, in
// order; the slice is the driver's again at the next call.
func (d *Driver) TakeAll(events []engine.Event) ([]engine.Receipt, error) {
	if d.err != nil {
		return nil, d.err
	}
	if err := d.take(events); err != nil {
		return nil, err
	}
	if len(d.round.actions) == 0 || d.round.cfg.Actuator == nil {
		return d.round.receipts, nil
	}
	receipts := append([]engine.Receipt(nil), d.round.receipts...)
	for len(d.round.actions) > 0 {
		if err := d.take(d.perform()); err != nil {
			return nil, err
		}
	}
	return receipts, nil
}

func (d *Driver) take(events []engine.Event) error {
	if err := d.round.take(events); err != nil {
		d.err = stopped(err)
		return d.err
	}
	d.round.deliver()
	return nil
}

// perform performs the actions of the last round and returns the answers.
func (d *Driver) perform() []engine.Event {
	var answers []engine.Event
	for _, a := range d.round.actions {
		result, detail := concluded(d.round.cfg.Actuator.Perform(context.Background(), a))
		d.counts.performed(result)
		answers = append(answers, engine.Performed{Action: a.ID, Result: result, Detail: detail, At: d.round.tick})
	}
	return answers
}

// Sweep stores every dirty page and the settle record.
func (d *Driver) Sweep() error {
	if d.err != nil {
		return d.err
	}
	if err := d.sweep.finish(); err != nil {
		d.err = stopped(err)
		return d.err
	}
	return nil
}

// Stats are the figures so far.
func (d *Driver) Stats() Stats { return d.counts.snapshot() }
