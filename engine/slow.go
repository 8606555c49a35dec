package engine

type slowCore struct{}

func (c *slowCore) AppendBinary(b []byte) ([]byte, error) { return b, nil }
func (c *slowCore) UnmarshalBinary(b []byte) error        { return nil }

// slowInterval is how often the slow channel looks, in seconds, for its
// threshold.
const slowInterval = 60
