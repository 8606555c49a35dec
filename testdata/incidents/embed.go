// Package incidents holds recordings of incidents: NAME.om.zst are the series, as
// OpenMetrics text with timestamps, and NAME.truth.json says what was done while
// they were recorded. Files are those that homeostat demo shows.
package incidents

import "embed"

// Files are the recordings that the demo carries: both files of each of Names.
//
//go:embed latency_11.* errors_51.* leak_days_1.* silence_71.* quiet_1.*
var Files embed.FS

// Names are the recordings in the order in which the demo shows them.
var Names = []string{"latency_11", "errors_51", "leak_days_1", "silence_71", "quiet_1"}

// Where says in words where the recordings come from.
const Where = "built into this program, one kind of fault each, out of those in testdata/incidents"
