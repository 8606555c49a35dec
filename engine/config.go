package engine

import (
	"fmt"
	"time"

	"github.com/homeostat/homeostat/models"
)

// EpochMillis is one step of the event-time grid, in milliseconds.
const EpochMillis = 1000

// Config says how the engine behaves. Its zero value is usable: every field
// that is zero takes the default named beside it.
type Config struct {
	// FalseAlarmDays sets the threshold: about one false alarm a series in so
	// many days. The threshold is log10(FalseAlarmDays / interval). Default 14.
	FalseAlarmDays float64
	// Grace is how long after its end an epoch stays open for what comes late.
	// Joins, incidents and labels wait for it. Default 10 s.
	Grace time.Duration
	// MaxAhead is how far ahead of the tick a sample may be. Default 10 min.
	MaxAhead time.Duration
	// UpdateEvery bounds how often an open episode says UPDATED. Default 1 min.
	UpdateEvery time.Duration
	// SilentAfter is how long a series may send nothing before it counts as
	// silent, and at least three of its intervals. Default 5 min.
	SilentAfter time.Duration
	// IncidentGap joins an anomaly to the workload's incident when it opens
	// within so long of the last one's end. Default 10 min.
	IncidentGap time.Duration
	// WatchFor is how long an incident is watched for its outcome. Default 30 min.
	WatchFor time.Duration
	// StaleAction is how far behind the tick an anomaly may be and still lead
	// to an action. Default 2 min.
	StaleAction time.Duration
	// MaxSeries bounds the series received and derived. Default 5,000,000.
	MaxSeries int
	// MaxMembers bounds the members an incident names. Default 256.
	MaxMembers int
	// MaxLabels bounds the labels kept for undoing, the oldest going first.
	// Default 100,000.
	MaxLabels int
	// Zone is the offset of local time from UTC as it changes; empty is UTC.
	// The seasons follow it.
	Zone models.Zone
	// Naming says how a workload is found in labels.
	Naming Naming
	// OwnPrefix is the prefix of homeostat's own output; series that carry it
	// are refused. Default "homeostat_score_".
	OwnPrefix string
	// Deep chooses the series that the deep tier looks at too. Default none.
	Deep Deep
	// Floors say which deviations are too small to matter. Default none.
	Floors []Floor
	// Trace makes Step and Close report every measurement in Effects.Scored.
	Trace bool
}

const (
	defaultFalseAlarmDays = 14
	defaultIncidentGap    = 10 * time.Minute
)

func (c Config) withDefaults() Config {
	if c.FalseAlarmDays == 0 {
		c.FalseAlarmDays = 14
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Grace, 10 * time.Second},
		{&c.MaxAhead, 10 * time.Minute},
		{&c.UpdateEvery, time.Minute},
		{&c.SilentAfter, 5 * time.Minute},
		{&c.IncidentGap, defaultIncidentGap},
		{&c.WatchFor, 30 * time.Minute},
		{&c.StaleAction, 2 * time.Minute},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	for _, n := range []struct{ field, value *int }{
		{&c.MaxSeries, ptr(5_000_000)},
		{&c.MaxMembers, ptr(256)},
		{&c.MaxLabels, ptr(100_000)},
		{&c.Deep.MaxBytes, ptr(defaultDeepBytes)},
	} {
		if *n.field == 0 {
			*n.field = *n.value
		}
	}
	if c.OwnPrefix == "" {
		c.OwnPrefix = "homeostat_score_"
	}
	c.Naming = c.Naming.withDefaults()
	return c
}

func ptr[T any](v T) *T { return &v }

// Validate says which field is out of its bounds. It changes nothing.
func (c Config) Validate() error {
	if c.FalseAlarmDays < 0 || c.FalseAlarmDays > 3650 {
		return fmt.Errorf("false_alarm_days %v: want a number from 0 to 3650", c.FalseAlarmDays)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
		max   time.Duration
	}{
		{"grace", c.Grace, 10 * time.Minute},
		{"max_ahead", c.MaxAhead, 24 * time.Hour},
		{"update_every", c.UpdateEvery, 24 * time.Hour},
		{"silent_after", c.SilentAfter, 24 * time.Hour},
		{"incident_gap", c.IncidentGap, 24 * time.Hour},
		{"watch_for", c.WatchFor, 7 * 24 * time.Hour},
		{"stale_action", c.StaleAction, 24 * time.Hour},
	} {
		if d.value < 0 || d.value > d.max {
			return fmt.Errorf("%s %v: want a duration from 0 to %v", d.name, d.value, d.max)
		}
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"max_series", c.MaxSeries}, {"max_members", c.MaxMembers}, {"max_labels", c.MaxLabels}} {
		if n.value < 0 {
			return fmt.Errorf("%s %d: want 0 or more", n.name, n.value)
		}
	}
	if err := c.Deep.validate(); err != nil {
		return err
	}
	if err := validateFloors(c.Floors); err != nil {
		return err
	}
	return c.Naming.Validate()
}
