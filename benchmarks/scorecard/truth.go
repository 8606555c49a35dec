// Package scorecard says how well alarms meet the faults of a recording: which
// faults were found and how late, which were missed, and which alarms were
// false. The same rules hold for homeostat's incidents and for any other alerts.
//
// The unit is the fault. An alarm finds a fault when it starts while the fault
// lasts, or within one scrape interval after its end. What starts within
// [Aftermath] after a fault's end is its echo, neither true nor false, and so
// are further alarms of a fault that was found. So is what starts while the
// recording machine itself stood still, or within [Recovery] after it. Every
// other alarm after the learning stretch is false; a nuisance excuses nothing.
package scorecard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Kind names what was done to the shop of a recording.
type Kind string

// The kinds of fault.
const (
	Latency    Kind = "latency"    // one dependency answers slowly
	Surge      Kind = "surge"      // much more traffic than the hour has
	Drop       Kind = "drop"       // much less of it
	Leak       Kind = "leak"       // memory that grows and is not given back
	Errors     Kind = "errors"     // requests fail
	Deploy     Kind = "deploy"     // a new version that is worse
	Silence    Kind = "silence"    // a service is gone from the scrapes
	Saturation Kind = "saturation" // a pool is full, and requests wait for it
	Instance   Kind = "instance"   // one instance of several is bad
)

// Kinds are all kinds of fault, in the order of tables.
var Kinds = []Kind{Latency, Surge, Drop, Leak, Errors, Deploy, Silence, Saturation, Instance}

// Truth is what is known of a recording.
type Truth struct {
	Name string `json:"name"`
	// Command made the recording, run at the root of the repository.
	Command string `json:"command"`
	// Generated says that no program ran: the series were computed.
	Generated bool   `json:"generated,omitempty"`
	Seed      uint64 `json:"seed"`
	// Compression is how many seconds of the recording one real second stands for.
	Compression float64 `json:"compression"`
	// ScrapeSeconds is the scrape interval in the recording's own time.
	ScrapeSeconds float64   `json:"scrape_interval_seconds"`
	Start         time.Time `json:"start"`
	End           time.Time `json:"end"`
	// ScoredFrom ends the learning stretch: neither alarms nor faults count before it.
	ScoredFrom time.Time `json:"scored_from"`
	Faults     []Fault   `json:"faults"`
	Nuisances  []Fault   `json:"nuisances"`
	// Stalls are when the machine that recorded stood still, as the program
	// that ran the shop measured it: nobody planned them, and they are in the
	// series.
	Stalls []Stall `json:"stalls,omitempty"`
}

// Stall is a stretch in which the machine stood still at least once.
type Stall struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// Longest is the longest time that it stood still, in real milliseconds.
	Longest float64 `json:"longest_ms"`
}

// Fault is a fault, or a harmless nuisance, whose Kind then is a word of its own.
type Fault struct {
	Kind  Kind      `json:"kind"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// Workload is the culprit, as homeostat names it by default.
	Workload string `json:"workload"`
	// Words say what was done.
	Words string `json:"words"`
}

// Parse reads a truth file. An unknown key is an error.
func Parse(b []byte) (Truth, error) {
	var t Truth
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return Truth{}, fmt.Errorf("truth: %w", err)
	}
	return t, t.Validate()
}

// Validate says what a truth lacks or contradicts.
func (t *Truth) Validate() error {
	switch {
	case t.Name == "":
		return fmt.Errorf("truth: name is empty")
	case t.Compression <= 0 || t.ScrapeSeconds <= 0:
		return fmt.Errorf("truth %s: compression %v and scrape interval %v s: want positive numbers", t.Name, t.Compression, t.ScrapeSeconds)
	case !t.Start.Before(t.ScoredFrom) || !t.ScoredFrom.Before(t.End):
		return fmt.Errorf("truth %s: want start < scored_from < end", t.Name)
	}
	for _, f := range t.Faults {
		if !slices.Contains(Kinds, f.Kind) {
			return fmt.Errorf("truth %s: fault kind %q is unknown", t.Name, f.Kind)
		}
	}
	for _, f := range slices.Concat(t.Faults, t.Nuisances) {
		switch {
		case !f.Start.Before(f.End):
			return fmt.Errorf("truth %s: %s at %v has no length", t.Name, f.Kind, f.Start)
		case slices.Contains(Kinds, f.Kind) && f.Start.Before(t.ScoredFrom):
			return fmt.Errorf("truth %s: %s at %v lies outside the scored stretch", t.Name, f.Kind, f.Start)
		case f.Start.Before(t.Start) || f.End.After(t.End):
			return fmt.Errorf("truth %s: %s at %v lies outside the recording", t.Name, f.Kind, f.Start)
		case f.Workload == "":
			return fmt.Errorf("truth %s: %s at %v names no workload", t.Name, f.Kind, f.Start)
		}
	}
	return nil
}
