package loop

import (
	"context"
	"errors"
	"time"

	"github.com/homeostat/homeostat/engine"
)

// Tick feeds the time into the loop: at once, and then every second until ctx
// ends or the loop stops. now is the clock, time.Now when nil.
//
// Ticks never queue up: while one waits to be taken in, no other is made. After
// the machine was suspended one tick brings the loop to the present. The time
// never goes backwards: a clock that was set back is waited for. A tick that the
// loop is too busy for is left out, the next one says as much.
//
// Samples far ahead of the last tick are refused, so that a server takes its
// first tick in before its first batch.
func Tick(ctx context.Context, l *Loop, now func() time.Time) error {
	if now == nil {
		now = time.Now
	}
	every := time.NewTicker(engine.EpochMillis * time.Millisecond)
	defer every.Stop()
	var last int64
	for {
		if ms := now().UnixMilli(); ms > last {
			err := l.Send(ctx, engine.Tick{Now: ms})
			switch {
			case err == nil:
				last = ms
			case ctx.Err() != nil:
				return nil
			case !errors.Is(err, ErrBusy):
				return err
			}
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return nil
		}
	}
}
