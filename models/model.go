package models

// MaxParts bounds the number of detectors whose scores a Reading carries.
const MaxParts = 4

// Reading is what one look at a value says. It is a plain value: reading it
// and keeping it are free of the model's state.
type Reading struct {
	Score    Score           // the combined and calibrated score, the one compared with a threshold
	Parts    [MaxParts]Score // each detector's own calibrated score; unused places are 0
	NumParts uint8           // how many of Parts are in use
	Warm     bool            // false while the model has seen too little to be believed; Score is then 0
	Expected float64         // what the model expected, in the measurement's own unit
	Scale    float64         // the usual absolute deviation from Expected, same unit, > 0 when Warm
	Residual float64         // value − Expected, same unit; its sign is the direction
	scratch  [8]float64      // what Score worked out and Learn may use again
}

// Scratch gives a model the room in which Score leaves for Learn what it has
// already worked out. Nobody else reads it.
func (r *Reading) Scratch() *[8]float64 { return &r.scratch }

// Model is the contract of a detector of one measurement. At is milliseconds
// since the epoch and strictly increases from one Learn to the next; value is
// finite. models/modeltest checks every promise made here.
type Model interface {
	// Score looks at (at, value) and fills r. It changes nothing in the model
	// and allocates nothing.
	Score(at int64, value float64, r *Reading)
	// Learn takes (at, value) in, at a weight from 0 (not at all) to 1 (fully).
	// r is what Score said of the same point. It allocates nothing.
	Learn(at int64, value float64, r *Reading, weight float64)
	// AppendBinary appends the whole state as a record.
	AppendBinary(b []byte) ([]byte, error)
	// UnmarshalBinary replaces the state by that of a record. A sub-record of
	// an unknown version is skipped and that part starts anew.
	UnmarshalBinary(b []byte) error
}
