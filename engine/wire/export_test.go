package wire

// SetBound lowers MaxDefined for a test.
func (e *InputEncoder) SetBound(n int) { e.bound = n }
