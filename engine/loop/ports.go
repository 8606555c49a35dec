package loop

import (
	"context"
	"errors"

	"github.com/homeostat/homeostat/engine"
)

// ErrBusy says that the queue is full or that the loop takes nothing in for
// now: nothing of what was sent was taken and the sender should come again.
var ErrBusy = errors.New("loop: busy, try again")

// ErrStopped says that the loop has ended and nobody was answered for what was
// sent. After an error of the journal it may have been taken in part; a sender
// that sends it again loses nothing, because repeats are absorbed.
var ErrStopped = errors.New("loop: stopped")

// ErrRetryable is wrapped by an actuator's error when nothing was done and the
// same action may be tried again.
var ErrRetryable = errors.New("nothing was done, it may be tried again")

// Page is one page, ready to be stored.
type Page struct {
	ID    engine.PageID
	Bytes []byte
}

// Journal is where records become durable and pages are kept. store fits it.
type Journal interface {
	// Append makes the records durable, in order, before it returns: the first
	// gets sequence first, the next first+1 and so on. The slice is the loop's
	// again when it returns. An error is final: the loop stops, because nothing
	// is scored without a journal.
	Append(records []engine.Record) (first uint64, err error)
	// Last is the sequence of the last record, 0 for an empty log.
	Last() uint64
	// WritePages stores pages whose state contains every record up to asOf. The
	// log is durable up to there already. The bytes are the caller's again when
	// it returns.
	WritePages(asOf uint64, pages []Page) error
	// WriteSettle stores the settle record likewise.
	WriteSettle(asOf uint64, record []byte) error
}

// Sink takes the records that became durable, in order; it must not block, and
// the slice is the loop's again when it returns. The records themselves are
// immutable and may be kept.
type Sink interface {
	Deliver(first uint64, records []engine.Record)
}

// Actuator performs an action, once for an Action.ID however often it is asked.
// The loop calls it outside its own goroutine, after the decision is durable,
// and takes the answer in as an engine.Performed.
//
// ctx ends at the action's deadline. Without an error the result stands as it
// is. An error that wraps ErrRetryable says that nothing was done and that the
// loop may ask again before the deadline. With any other error the result is
// unknown, unless it is said to be engine.ResultFailed: then it is certain that
// nothing was done and that asking again is of no use.
type Actuator interface {
	Perform(ctx context.Context, a engine.Action) (engine.Result, string, error)
}

// Recorder keeps the exact inputs in their order, before they are taken in. An
// error ends the loop, because a recording with a hole replays to something
// else. At the end of a recording there may be inputs that nobody was answered
// for.
type Recorder interface {
	Record(ev engine.Event) error
}

// Tail keeps the scored measurements of the tail. It observes: it never blocks,
// it counts what it cannot keep, and no result depends on it. The slice is the
// loop's again when Keep returns. store fits it.
type Tail interface {
	Keep(tick int64, points []engine.TailPoint)
}
