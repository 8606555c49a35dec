package actuatortest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/homeostat/homeostat/actuators/actuatortest"
	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
)

// bell is an actuator over a target that can refuse and hang. It keeps the
// contract, so that the contract is shown to be possible.
type bell struct {
	mu      sync.Mutex
	rung    map[engine.ActionID]bool
	refuses bool
	hangs   bool
}

func (b *bell) Perform(ctx context.Context, a engine.Action) (engine.Result, string, error) {
	if a.Kind != engine.ActNotify {
		return engine.ResultFailed, "", errors.New("bell: rings for notify only")
	}
	b.mu.Lock()
	hangs := b.hangs
	b.mu.Unlock()
	if hangs {
		<-ctx.Done()
	}
	if err := ctx.Err(); err != nil {
		return engine.ResultUnknown, "", fmt.Errorf("bell: %w: %w", loop.ErrRetryable, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuses {
		return 0, "", fmt.Errorf("bell: rope is away: %w", loop.ErrRetryable)
	}
	b.rung[a.ID] = true
	return engine.ResultDone, "rung", nil
}

func (b *bell) set(field *bool) (restore func()) {
	write := func(v bool) {
		b.mu.Lock()
		defer b.mu.Unlock()
		*field = v
	}
	write(true)
	return func() { write(false) }
}

func TestContractCanBeKept(t *testing.T) {
	actuatortest.Run(t, func(t *testing.T) actuatortest.Subject {
		b := &bell{rung: map[engine.ActionID]bool{}}
		return actuatortest.Subject{
			Actuator: b,
			Kinds:    []engine.ActionKind{engine.ActNotify},
			Performed: func() int {
				b.mu.Lock()
				defer b.mu.Unlock()
				return len(b.rung)
			},
			Refuse: func() func() { return b.set(&b.refuses) },
			Hang:   func() func() { return b.set(&b.hangs) },
		}
	})
}
