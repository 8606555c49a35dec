package loop

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/homeostat/homeostat/engine"
)

// heed is how long an actuator has to return after its ctx is cancelled because
// the loop ends. One that takes longer is left behind.
const heed = time.Second

// performers has the actuator perform actions outside the loop's goroutine, so
// many at a time. Each answer comes back through the queue. An action that is
// still running when the loop gives up on it leaves a decision without an
// answer in the log, which Loop.Reconcile answers in the next life.
type performers struct {
	cfg    Config
	queue  *queue
	counts *counts

	ctx     context.Context
	cancel  context.CancelFunc
	actions chan engine.Action
	workers sync.WaitGroup

	outstanding atomic.Int64 // actions not answered yet
}

func newPerformers(cfg Config, q *queue, c *counts) *performers {
	p := &performers{cfg: cfg, queue: q, counts: c}
	p.actions = make(chan engine.Action, cfg.ActionQueue)
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

func (p *performers) start() {
	if p.cfg.Actuator == nil {
		return
	}
	for range p.cfg.ActionWorkers {
		p.workers.Go(func() {
			for a := range p.actions {
				result, detail := p.attempt(a)
				p.tell(a, result, detail)
				p.outstanding.Add(-1)
				p.queue.nudge()
			}
		})
	}
}

// stop cancels what still runs and waits for the workers, so long as they heed
// that.
func (p *performers) stop() {
	p.cancel()
	close(p.actions)
	ended := make(chan struct{})
	go func() {
		p.workers.Wait()
		close(ended)
	}()
	t := time.NewTimer(heed)
	defer t.Stop()
	select {
	case <-ended:
	case <-t.C:
	}
}

// perform has a worker perform the action. It does not wait.
func (p *performers) perform(a engine.Action) {
	if p.cfg.Actuator == nil {
		return
	}
	p.outstanding.Add(1)
	select {
	case p.actions <- a:
	default:
		p.counts.add(&p.counts.stats.ActionsRefused, 1)
		p.tell(a, engine.ResultFailed, "not performed: too many actions wait")
		p.outstanding.Add(-1)
	}
}

// tell puts the answer into the queue.
func (p *performers) tell(a engine.Action, result engine.Result, detail string) {
	p.counts.performed(result)
	p.queue.force(&entry{event: engine.Performed{
		Action: a.ID, Result: result, Detail: detail, At: p.cfg.Now().UnixMilli(),
	}})
}

// attempt performs the action within its deadline, again while the actuator
// says that nothing was done.
func (p *performers) attempt(a engine.Action) (engine.Result, string) {
	left := p.cfg.ActionTimeout
	if a.Deadline != 0 {
		left = time.UnixMilli(a.Deadline).Sub(p.cfg.Now())
	}
	if left <= 0 {
		return engine.ResultFailed, "not performed: its deadline had passed"
	}
	if p.ctx.Err() != nil {
		return engine.ResultFailed, "not performed: shutting down"
	}
	ctx, cancel := context.WithTimeout(p.ctx, left)
	defer cancel()
	pause := time.Second
	for try := 1; ; try++ {
		result, detail, err := p.cfg.Actuator.Perform(ctx, a)
		if !errors.Is(err, ErrRetryable) {
			return concluded(result, detail, err)
		}
		if try >= p.cfg.ActionTries || !wait(ctx, pause) {
			return engine.ResultFailed, err.Error()
		}
		pause *= 2
	}
}

// concluded reads what an actuator said, in the way of Actuator.
func concluded(result engine.Result, detail string, err error) (engine.Result, string) {
	switch {
	case err != nil && result == engine.ResultFailed:
		return engine.ResultFailed, err.Error()
	case err != nil:
		return engine.ResultUnknown, err.Error()
	case result == 0:
		return engine.ResultUnknown, detail
	}
	return result, detail
}

// wait waits and reports whether ctx still holds.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
