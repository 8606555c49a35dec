package engine

import "fmt"

// MaxShards bounds the number of shards: one partition each.
const MaxShards = Partitions

// Engine is the whole state: shards that own partitions, and what crosses
// series. It is not safe for concurrent use, but for Step and Close of
// different shards.
type Engine struct {
	cfg    Config
	shards []*Shard
}

// New makes an engine with an empty state. shards is from 1 to MaxShards and
// changes no result.
func New(cfg Config, shards int) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	if shards < 1 || shards > MaxShards {
		return nil, fmt.Errorf("engine: shards %d: want 1 to %d", shards, MaxShards)
	}
	e := &Engine{cfg: cfg.withDefaults()}
	for i := range shards {
		e.shards = append(e.shards, &Shard{engine: e, index: i})
	}
	return e, nil
}

// Shards are the shards, in order. Partition p belongs to shard p mod n.
func (e *Engine) Shards() []*Shard { return e.shards }

// Naming is how this engine finds workloads; whoever makes series uses it.
func (e *Engine) Naming() Naming { return e.cfg.Naming }

// Shard owns the partitions p with p mod n = its index.
type Shard struct {
	engine *Engine
	index  int
}

// Step takes in the batches of a round: those of their samples whose partition
// the shard owns. It appends to fx the records that they caused, and for each
// batch, in order, a receipt of the shard's share (a batch's receipt is the sum
// over shards). Shards may step at the same time, each with an fx of its own.
func (s *Shard) Step(batches []*Batch, fx *Effects) {}

// Close closes the epochs that the tick ends, in the shard's partitions. Shards
// may close at the same time, each with an fx of its own; Settle follows.
func (s *Shard) Close(t Tick, fx *Effects) {}

// Merge puts the records of all shards into fx in canonical order and adds
// their receipts up. It follows each parallel Step and Close.
func (e *Engine) Merge(parts []*Effects, fx *Effects) {}

// Settle does, alone, what crosses series at the close of the epochs that the
// tick ends. It follows Close of every shard and Merge.
func (e *Engine) Settle(t Tick, fx *Effects) {}

// Take takes in a Label, an Undo or a Performed. What it changes holds from the
// next epoch.
func (e *Engine) Take(ev Event, fx *Effects) {}

// PageID names a page: its partition and its number within it.
type PageID struct {
	Partition uint8
	Number    uint32
}

// DirtyPages lists the pages changed since they were last appended, in order of
// partition and number.
func (e *Engine) DirtyPages() []PageID { return nil }

// AppendPage appends the page's record to b and marks the page clean.
func (e *Engine) AppendPage(id PageID, b []byte) ([]byte, error) { return b, nil }

// LoadPage takes in a page's record. Pages are loaded before anything else
// happens, in any order.
func (e *Engine) LoadPage(id PageID, b []byte) error { return nil }

// AppendSettle appends the record of what crosses series.
func (e *Engine) AppendSettle(b []byte) ([]byte, error) { return b, nil }

// LoadSettle takes in a settle record, after the pages.
func (e *Engine) LoadSettle(b []byte) error { return nil }

// Redo applies a logged record to a state that may not contain it yet. Records
// are redone in the order of the log, after the pages and the settle record are
// loaded; one that the state contains already changes nothing.
func (e *Engine) Redo(r Record) error { return nil }

// Open reports the open epoch's start and the last tick's time, in
// milliseconds; both are 0 before the first tick.
func (e *Engine) Open() (epoch, tick int64) { return 0, 0 }

// Size reports how many series are received and how many measurements are kept.
func (e *Engine) Size() (series, measurements int) { return 0, 0 }

// Baseline is what is normal for one measurement at a time, for people.
type Baseline struct {
	Series       *Series
	At           int64 // of the last point
	Value        float64
	Expected     float64 // for the next point
	Lower, Upper float64 // quiet within
	Threshold    Threshold
	Points       uint64 // learnt so far
	Warm         bool
	Season       bool  // a seasonal block is in use
	Alarm        bool  // an episode is open
	IntervalMS   int64 // estimated, ms
	Bytes        int   // of the record
}

// Baseline looks a measurement up.
func (e *Engine) Baseline(id SeriesID) (Baseline, bool) { return Baseline{}, false }

// Reset empties fx and keeps its room.
func (fx *Effects) Reset() {
	fx.Records = fx.Records[:0]
	fx.Actions = fx.Actions[:0]
	fx.Receipts = fx.Receipts[:0]
	fx.Scored = fx.Scored[:0]
	fx.marks = fx.marks[:0]
}
