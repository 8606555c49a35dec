package loop

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/homeostat/homeostat/engine"
)

// crew runs the shards at the same time: the first in the caller's goroutine,
// each of the others in a goroutine of its own that lives as long as the crew.
type crew struct {
	shards []*engine.Shard
	parts  []*engine.Effects // what each shard made of its last job
	busy   []atomic.Int64    // ns that each shard worked
	now    func() time.Time

	jobs    []chan job // of the shards from the second on
	pending sync.WaitGroup
	workers sync.WaitGroup
}

// job is a run of batches to step, or a tick at which to close.
type job struct {
	batches []*engine.Batch
	tick    engine.Tick
	closes  bool
}

func newCrew(shards []*engine.Shard, now func() time.Time) *crew {
	c := &crew{shards: shards, now: now, busy: make([]atomic.Int64, len(shards))}
	for range shards {
		c.parts = append(c.parts, new(engine.Effects))
	}
	return c
}

// start makes the goroutines; stop ends and waits for them.
func (c *crew) start() {
	for i := range c.shards[1:] {
		jobs := make(chan job)
		c.jobs = append(c.jobs, jobs)
		c.workers.Go(func() {
			for j := range jobs {
				c.work(i+1, j)
				c.pending.Done()
			}
		})
	}
}

func (c *crew) stop() {
	for _, jobs := range c.jobs {
		close(jobs)
	}
	c.workers.Wait()
	c.jobs = nil
}

// do has every shard do the job and returns when all have.
func (c *crew) do(j job) {
	c.pending.Add(len(c.jobs))
	for _, jobs := range c.jobs {
		jobs <- j
	}
	c.work(0, j)
	c.pending.Wait()
}

func (c *crew) work(i int, j job) {
	begin := c.now()
	fx := c.parts[i]
	fx.Reset()
	if j.closes {
		c.shards[i].Close(j.tick, fx)
	} else {
		c.shards[i].Step(j.batches, fx)
	}
	c.busy[i].Add(int64(c.now().Sub(begin)))
}
