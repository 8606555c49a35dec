package history

import (
	"fmt"
	"time"

	"github.com/homeostat/homeostat/engine"
)

// Config says how a source behaves. Its zero value is usable: every field that
// is zero takes the default named beside it.
type Config struct {
	// Naming finds the workload of a series and is the engine's.
	Naming engine.Naming
	// Job is the job label of CSV series. Default "replay".
	Job string
	// Sender is the name of who sends the batches. Default "replay".
	Sender string
	// Quiet marks the batches as history that warms baselines only.
	Quiet bool
	// Grace is the engine's. Default 10 s.
	Grace time.Duration
	// Beyond is how far after the second of the last sample the last Tick
	// lies. Default 1 min.
	Beyond time.Duration
	// TickEvery bounds the step between two ticks in a gap, but a gap of more
	// than 100,000 such steps has longer ones. Default 1 min.
	TickEvery time.Duration
	// Lenient skips rows, and chunks of blocks, that can't be read, and counts
	// them; else they are an error that names the file, and the line.
	Lenient bool
	// MaxSeries bounds the series of all files. Default 5,000,000.
	MaxSeries int
	// MaxSamples bounds what is sorted in memory at one time, 24 bytes each: the
	// samples of an OpenMetrics file or of one answer of a Prometheus, or the
	// chunks of its blocks that overlap. Default 20,000,000.
	MaxSamples int
	// MaxBatch bounds the samples of one batch; a second with more makes
	// several. Default 100,000.
	MaxBatch int
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c Config) withDefaults() Config {
	orDefault(&c.Job, "replay")
	orDefault(&c.Sender, "replay")
	orDefault(&c.Grace, 10*time.Second)
	orDefault(&c.Beyond, time.Minute)
	orDefault(&c.TickEvery, time.Minute)
	orDefault(&c.MaxSeries, 5_000_000)
	orDefault(&c.MaxSamples, 20_000_000)
	orDefault(&c.MaxBatch, 100_000)
	return c
}

// Validate says which field is out of its bounds. It changes nothing.
func (c Config) Validate() error {
	for _, d := range []struct {
		name  string
		value time.Duration
		min   time.Duration
	}{
		{"grace", c.Grace, 0},
		{"beyond", c.Beyond, 0},
		{"tick_every", c.TickEvery, time.Second},
	} {
		if d.value != 0 && d.value < d.min || d.value < 0 || d.value > 30*24*time.Hour {
			return fmt.Errorf("%s %v: want a duration from %v to 30 days", d.name, d.value, d.min)
		}
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"max_series", c.MaxSeries}, {"max_samples", c.MaxSamples}, {"max_batch", c.MaxBatch}} {
		if n.value < 0 {
			return fmt.Errorf("%s %d: want 0 or more", n.name, n.value)
		}
	}
	return c.Naming.Validate()
}
