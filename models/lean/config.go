package lean

import (
	"errors"
	"fmt"
	"time"

	"github.com/homeostat/homeostat/models/seasonal"
)

// ErrConfig is what Validate and New return, wrapped, for a bad setting.
var ErrConfig = errors.New("bad lean configuration")

// Config says how long a baseline remembers. Its zero value is the shipped
// configuration. All durations are half-lives, in the time of the series. A
// series sampled more slowly than Coarsest counts points instead: each point
// then counts as if only Coarsest had passed, so that no half-life holds fewer
// points than it does at that step.
type Config struct {
	Level    time.Duration // of the level that is expected; default 30m
	Scale    time.Duration // of the usual deviation; default 12h
	Floor    time.Duration // of the unclipped floor of the usual deviation; default 4 days
	Hour     time.Duration // of an hour of the day's own deviation, in days of that hour; default 10 days
	Season   time.Duration // of the day's and the week's shape; default 60h
	Coarsest time.Duration // default 1m

	// Zone is the time zone that the day follows, as data. Default UTC.
	Zone seasonal.Zone
}

func (c Config) withDefaults() Config {
	const day = 24 * time.Hour
	fill := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	fill(&c.Level, 30*time.Minute)
	fill(&c.Scale, 12*time.Hour)
	fill(&c.Floor, 4*day)
	fill(&c.Hour, 10*day)
	fill(&c.Season, 60*time.Hour)
	fill(&c.Coarsest, time.Minute)
	return c
}

// Validate returns ErrConfig, wrapped, naming the field, its value and its bound.
func (c Config) Validate() error {
	c = c.withDefaults()
	const year = 365 * 24 * time.Hour
	for _, f := range []struct {
		name    string
		v       time.Duration
		atLeast time.Duration
	}{
		{"Level", c.Level, 8 * c.Coarsest},
		{"Scale", c.Scale, c.Level},
		{"Floor", c.Floor, c.Scale},
		{"Hour", c.Hour, 24 * time.Hour},
		{"Season", c.Season, 12 * time.Hour},
		{"Coarsest", c.Coarsest, time.Millisecond},
	} {
		if f.v < f.atLeast || f.v > year {
			return fmt.Errorf("%w: %s is %v, want %v to %v", ErrConfig, f.name, f.v, f.atLeast, year)
		}
	}
	if err := c.Zone.Validate(); err != nil {
		return fmt.Errorf("%w: Zone: %w", ErrConfig, err)
	}
	return nil
}
