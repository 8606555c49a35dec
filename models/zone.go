package models

import "sort"

// Transition says that from At on (milliseconds since the epoch) local time is
// UTC plus Offset seconds.
type Transition struct {
	At     int64
	Offset int32
}

// Zone is a time zone as data: its transitions in order of time. Before the
// first one, the first one's offset holds; an empty zone is UTC.
type Zone []Transition

// Local is the local time of at, as milliseconds of a clock that knows no zone.
func (z Zone) Local(at int64) int64 {
	if len(z) == 0 {
		return at
	}
	i := sort.Search(len(z), func(i int) bool { return z[i].At > at })
	if i > 0 {
		i--
	}
	return at + int64(z[i].Offset)*1000
}
