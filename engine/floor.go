package engine

import (
	"errors"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/labels"
)

// Floor is a person's word that small deviations of some measurements do not
// matter. A deviation from what is expected that is smaller than Below, or than
// Relative times what is expected, opens no anomaly, whatever its score; it is
// learnt as any other, and an anomaly that is open ends as any other. Nothing
// but a person moves a floor.
type Floor struct {
	// Match says whether the floor is for a series, received or derived. It is a
	// function of the labels alone. Of several floors that match, the first holds.
	Match func(labels.Labels) bool
	// Below is in the unit of the measurement, Relative a share of what is
	// expected. The larger of the two holds.
	Below, Relative float64
}

const (
	maxFloors   = 1000 // in a configuration
	maxRelative = 10
)

func (f Floor) validate() error {
	switch {
	case f.Match == nil:
		return errors.New("match is missing")
	case !(f.Below >= 0) || math.IsInf(f.Below, 0):
		return fmt.Errorf("ignore_below %v: want 0 or more", f.Below)
	case !(f.Relative >= 0 && f.Relative <= maxRelative):
		return fmt.Errorf("ignore_relative %v: want a share from 0 to %d, 0.02 for 2 %%", f.Relative, maxRelative)
	case f.Below == 0 && f.Relative == 0:
		return errors.New("it ignores nothing: want ignore_below or ignore_relative")
	}
	return nil
}

func validateFloors(fs []Floor) error {
	if len(fs) > maxFloors {
		return fmt.Errorf("floors: %d, want at most %d", len(fs), maxFloors)
	}
	for i, f := range fs {
		if err := f.validate(); err != nil {
			return fmt.Errorf("floors: entry %d: %w", i+1, err)
		}
	}
	return nil
}

// size is the smallest deviation from an expected value that matters.
func (f *Floor) size(expected float64) float64 {
	if f == nil {
		return 0
	}
	return max(f.Below, f.Relative*math.Abs(expected))
}

// holds says that a value is too close to what is expected to matter.
func (f *Floor) holds(v, expected float64) bool {
	return f != nil && math.Abs(v-expected) < f.size(expected)
}

// widen makes bounds within which a value is quiet as wide as the floor does.
func (f *Floor) widen(lower, upper, expected float64, ok bool) (float64, float64, bool) {
	if f == nil {
		return lower, upper, ok
	}
	size := f.size(expected)
	low, high := f.last(expected-size, expected), f.last(expected+size, expected)
	if !ok {
		return low, high, true
	}
	return min(lower, low), max(upper, high), true
}

// last is the last value on the way from expected to an edge that is held back:
// the edge itself is not any more.
func (f *Floor) last(edge, expected float64) float64 {
	for edge != expected && !f.holds(edge, expected) {
		edge = math.Nextafter(edge, expected) // a sum is off by an ulp or so
	}
	return edge
}

// text says what the floor ignores.
func (f *Floor) text(u unit) string {
	share := inShares.plain(f.Relative) + " of what is usual"
	switch {
	case f.Relative == 0:
		return "ignored under " + u.plain(f.Below)
	case f.Below == 0:
		return "ignored under " + share
	}
	return fmt.Sprintf("ignored under %s or %s, whichever is more", u.plain(f.Below), share)
}

// floorOf is the floor of a measurement, nil for none. Who it is for is asked
// once, when it is first needed.
func (s *Shard) floorOf(p *partition, i uint32, m *measure) *Floor {
	fs := s.engine.cfg.Floors
	if len(fs) == 0 {
		return nil
	}
	const none = 1
	if m.floor == 0 {
		m.floor = none
		for n := range fs {
			if fs[n].Match(p.slots[i].series.Labels) {
				m.floor = uint16(n) + none + 1
				break
			}
		}
	}
	if m.floor == none {
		return nil
	}
	return &fs[m.floor-none-1]
}
