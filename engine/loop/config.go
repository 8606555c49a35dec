package loop

import (
	"fmt"
	"time"

	"github.com/homeostat/homeostat/engine"
)

// Config says how a loop takes in, stores and performs. Its zero value is
// usable: every field that is zero takes the default named beside it.
type Config struct {
	// QueueBatches bounds the batches that wait. Default 256.
	QueueBatches int
	// QueueSamples bounds the samples in the batches that wait; one batch that
	// is larger is let in when no other waits. Default 1,000,000, some 32 MB.
	QueueSamples int
	// QueueEvents bounds the ticks, labels and undos that wait, and the queries
	// likewise. They have room of their own, so that samples never keep out a
	// person's word. Default 1,024.
	QueueEvents int
	// RoundBatches bounds the batches of one round. Default 64.
	RoundBatches int
	// RoundSamples bounds the samples of one round beyond its first batch, so
	// that the first writer need not wait for the last. Default 262,144.
	RoundSamples int
	// SweepEvery is how long a sweep over the dirty pages takes, in the time of
	// the ticks. Default 20 min.
	SweepEvery time.Duration
	// SweepBytes bounds the bytes stored between two rounds, but for the last
	// page. Default 8 MiB.
	SweepBytes int
	// ActionWorkers is how many actions are performed at a time. Default 4.
	ActionWorkers int
	// ActionQueue bounds the actions that wait for a worker; one more is
	// answered as failed. Default 1,024.
	ActionQueue int
	// ActionTimeout is given to an action that has no deadline. Default 1 min.
	ActionTimeout time.Duration
	// ActionTries is how often an action is tried while its actuator says
	// ErrRetryable. Between two tries the loop waits 1 s, 2 s, 4 s and so on.
	// Default 3.
	ActionTries int
	// ActionDrain is how long running actions are waited for when the loop
	// ends. Default 10 s.
	ActionDrain time.Duration

	// Sinks take the durable records.
	Sinks []Sink
	// Actuator performs the actions. Without one they are left unanswered,
	// which is right for a recording: it holds the answers.
	Actuator Actuator
	// Recorder keeps the inputs.
	Recorder Recorder
	// Admit says why no batch may be taken in and no page stored for now, such
	// as a disk that is nearly full. It is asked for every batch, by many
	// goroutines.
	Admit func() error
	// Tail keeps what scored in the tail, after each round. Default nothing.
	Tail Tail
	// Trace takes the scored measurements of a round when engine.Config.Trace
	// makes the engine report them. The slice is the loop's again when it
	// returns.
	Trace func([]engine.Scored)
	// Now is the clock for deadlines of actions and for figures; no result of
	// the engine depends on it. Default time.Now.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	for _, n := range []struct {
		field *int
		value int
	}{
		{&c.QueueBatches, 256},
		{&c.QueueSamples, 1_000_000},
		{&c.QueueEvents, 1024},
		{&c.RoundBatches, 64},
		{&c.RoundSamples, 1 << 18},
		{&c.SweepBytes, 8 << 20},
		{&c.ActionWorkers, 4},
		{&c.ActionQueue, 1024},
		{&c.ActionTries, 3},
	} {
		if *n.field == 0 {
			*n.field = n.value
		}
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.SweepEvery, 20 * time.Minute},
		{&c.ActionTimeout, time.Minute},
		{&c.ActionDrain, 10 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Validate says which field is out of its bounds. It changes nothing.
func (c Config) Validate() error {
	for _, n := range []struct {
		name       string
		value, max int
	}{
		{"queue_batches", c.QueueBatches, 1 << 20},
		{"queue_samples", c.QueueSamples, 1 << 30},
		{"queue_events", c.QueueEvents, 1 << 20},
		{"round_batches", c.RoundBatches, 1 << 20},
		{"round_samples", c.RoundSamples, 1 << 30},
		{"sweep_bytes", c.SweepBytes, 1 << 30},
		{"action_workers", c.ActionWorkers, 1024},
		{"action_queue", c.ActionQueue, 1 << 20},
		{"action_tries", c.ActionTries, 10},
	} {
		if n.value < 0 || n.value > n.max {
			return fmt.Errorf("%s %d: want a number from 0 to %d", n.name, n.value, n.max)
		}
	}
	for _, d := range []struct {
		name       string
		value, max time.Duration
	}{
		{"sweep_every", c.SweepEvery, 24 * time.Hour},
		{"action_timeout", c.ActionTimeout, time.Hour},
		{"action_drain", c.ActionDrain, time.Hour},
	} {
		if d.value < 0 || d.value > d.max {
			return fmt.Errorf("%s %v: want a duration from 0 to %v", d.name, d.value, d.max)
		}
	}
	return nil
}
