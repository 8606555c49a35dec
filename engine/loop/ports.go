package loop

import (
	"context"
	"errors"

	"github.com/homeostat/homeostat/engine"
)

// ErrBusy says that the queue is full or that the loop takes nothing in for
// now: nothing of the batch was taken and the sender should come again.
var ErrBusy = errors.New("loop: busy, try again")

// ErrStopped says that the loop has ended; nothing of what was sent was taken
// unless a receipt says so.
var ErrStopped = errors.New("loop: stopped")

// Page is one page, ready to be stored.
type Page struct {
	ID    engine.PageID
	Bytes []byte
}

// Journal is where records become durable and pages are kept. store fits it.
type Journal interface {
	// Append makes the records durable, in order, before it returns: the first
	// gets sequence first, the next first+1 and so on. An error is final: the
	// loop stops, because nothing is scored without a journal.
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

// Actuator performs an action. The loop calls it outside its own goroutine,
// once for an action, after the decision is durable, and takes the answer in as
// an engine.Performed.
type Actuator interface {
	Perform(ctx context.Context, a engine.Action) (engine.Result, string, error)
}

// Recorder keeps the exact inputs in their order, before they are taken in.
type Recorder interface {
	Record(ev engine.Event) error
}
