// Package dryrun is the actuator that does nothing: it says what would have been
// done and counts it. Replay uses it, and a server whose policy is not trusted
// yet.
package dryrun

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/homeostat/homeostat/engine"
)

// ErrKind says that an action names no kind.
var ErrKind = errors.New("dryrun: the action has no kind")

// Config says how a dry run tells. Its zero value is usable.
type Config struct {
	// Log takes one line for an action. Default slog.Default().
	Log *slog.Logger
	// Remember bounds the actions whose repeats are recognised, the oldest
	// going first. Default 10,000.
	Remember int
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Remember == 0 {
		c.Remember = 10_000
	}
	return c
}

// Validate says which field is out of its bounds. It changes nothing.
func (c Config) Validate() error {
	if c.Remember < 0 || c.Remember > 10_000_000 {
		return fmt.Errorf("remember %d: want a number from 0 to 10000000", c.Remember)
	}
	return nil
}

// Counts are how many actions a dry run was asked for.
type Counts struct {
	Kinds   map[engine.ActionKind]uint64 // told, by kind
	Repeats uint64                       // asked again by the same ID, and not told again
}

// Actuator fits loop.Actuator. Many goroutines may use it.
type Actuator struct {
	cfg Config

	mu     sync.Mutex
	counts Counts
	seen   map[engine.ActionID]struct{}
	order  []engine.ActionID // of seen, a ring once it is full
	oldest int               // in order
}

// New makes a dry run. It panics on a configuration that Validate refuses.
func New(cfg Config) *Actuator {
	if err := cfg.Validate(); err != nil {
		panic("dryrun: " + err.Error())
	}
	return &Actuator{
		cfg:    cfg.withDefaults(),
		counts: Counts{Kinds: make(map[engine.ActionKind]uint64)},
		seen:   make(map[engine.ActionID]struct{}),
	}
}

// Perform logs the action, once for its ID, and touches nothing. An action
// without a kind and one whose ctx has ended fail.
func (d *Actuator) Perform(ctx context.Context, a engine.Action) (engine.Result, string, error) {
	if err := ctx.Err(); err != nil {
		return engine.ResultFailed, "", fmt.Errorf("dryrun: action %s: %w", a.ID, err)
	}
	if a.Kind == 0 {
		return engine.ResultFailed, "", fmt.Errorf("action %s: %w", a.ID, ErrKind)
	}
	if d.first(a) {
		d.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "dry run",
			slog.String("action", a.ID.String()),
			slog.String("kind", a.Kind.String()),
			slog.String("target", a.Target),
			slog.String("incident", a.Incident.String()),
			slog.String("text", a.Text))
	}
	return engine.ResultDone, "dry run: nothing was done", nil
}

// first counts the action and reports whether it was not asked for before.
func (d *Actuator) first(a engine.Action) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.seen[a.ID]; ok {
		d.counts.Repeats++
		return false
	}
	if len(d.order) < d.cfg.Remember {
		d.order = append(d.order, a.ID)
	} else {
		delete(d.seen, d.order[d.oldest])
		d.order[d.oldest] = a.ID
		d.oldest = (d.oldest + 1) % len(d.order)
	}
	d.seen[a.ID] = struct{}{}
	d.counts.Kinds[a.Kind]++
	return true
}

// Counts are the figures so far.
func (d *Actuator) Counts() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := Counts{Kinds: make(map[engine.ActionKind]uint64, len(d.counts.Kinds)), Repeats: d.counts.Repeats}
	for k, n := range d.counts.Kinds {
		c.Kinds[k] = n
	}
	return c
}
