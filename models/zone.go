package models

import (
	"errors"
	"fmt"
	"slices"
)

// ErrZone says that a list of transitions cannot be a time zone.
var ErrZone = errors.New("bad time zone")

// Transition says from when on a zone is how far east of UTC. Zones come as
// data, because models read no files.
type Transition struct {
	At            int64 // ms since the epoch, from which on the offset holds
	OffsetSeconds int   // east of UTC
}

// Zone is a time zone as its transitions in order of time. Before the first
// one its offset holds too. The empty zone is UTC.
type Zone []Transition

const maxOffsetSeconds = 24 * 60 * 60

// Validate returns ErrZone, wrapped, unless the transitions are in order and
// their offsets are less than a day.
func (z Zone) Validate() error {
	for i, t := range z {
		if i > 0 && t.At <= z[i-1].At {
			return fmt.Errorf("%w: transition %d is not later than the one before it", ErrZone, i)
		}
		if t.OffsetSeconds <= -maxOffsetSeconds || t.OffsetSeconds >= maxOffsetSeconds {
			return fmt.Errorf("%w: transition %d: offset %d s, want less than a day", ErrZone, i, t.OffsetSeconds)
		}
	}
	return nil
}

// Local returns the local wall clock at a time, as milliseconds since the wall
// clock's own 1970-01-01 00:00.
func (z Zone) Local(at int64) int64 {
	if len(z) == 0 {
		return at
	}
	i, found := slices.BinarySearchFunc(z, at, func(t Transition, at int64) int {
		switch {
		case t.At < at:
			return -1
		case t.At > at:
			return 1
		}
		return 0
	})
	if !found {
		i = max(i-1, 0)
	}
	return at + int64(z[i].OffsetSeconds)*1000
}
