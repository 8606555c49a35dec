package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"

	"github.com/homeostat/homeostat/actuators/dryrun"
	"github.com/homeostat/homeostat/benchmarks/scorecard"
	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
	"github.com/homeostat/homeostat/ingest/history"
)

// recording is a recording in memory, beside what is known of it. It is read
// once and replayed several times; no replay changes it.
type recording struct {
	truth   scorecard.Truth
	events  []engine.Event
	samples int
}

// The names of a recording's two files. The first series file that is there is
// the recording.
const truthSuffix = ".truth.json"

var seriesSuffixes = []string{".om.zst", ".om.gz", ".om"}

func seriesFile(fsys fs.FS, name string) string {
	for _, suffix := range seriesSuffixes {
		if _, err := fs.Stat(fsys, name+suffix); err == nil {
			return name + suffix
		}
	}
	return name + seriesSuffixes[0]
}

func load(fsys fs.FS, name string) (*recording, error) {
	text, err := fs.ReadFile(fsys, name+truthSuffix)
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", name, err)
	}
	r := &recording{}
	if r.truth, err = scorecard.Parse(text); err != nil {
		return nil, fmt.Errorf("recording %s: %w", name, err)
	}
	src, err := history.OpenFS(history.Config{}, fsys, seriesFile(fsys, name))
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", name, err)
	}
	defer src.Close()
	for {
		ev, err := src.Next()
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return nil, fmt.Errorf("recording %s: %w", name, err)
		}
		if b, ok := ev.(*engine.Batch); ok {
			r.samples += len(b.Samples)
		}
		r.events = append(r.events, ev)
	}
}

// step is the scrape interval in milliseconds.
func (r *recording) step() int64 { return int64(r.truth.ScrapeSeconds * 1000) }

// watcher is who looks on while a recording is replayed.
type watcher struct {
	// labels are taken in where the learning stretch ends.
	labels []engine.Label
	// only leaves out the samples of partitions that it refuses. What becomes
	// of a series depends on its own partition only.
	only func(partition uint8) bool
	// until ends the replay at a time, in milliseconds; 0 is the end.
	until int64
	// scored takes the measurements, records what was found.
	scored  func([]engine.Scored)
	records loop.Sink
	// after is called after each event.
	after func(*engine.Engine)
	// done takes how many of the events were replayed.
	done func(events int)
}

// replay runs the recording through the engine and the driver that serve and
// replay use, with the configuration that serve starts with.
func (r *recording) replay(ctx context.Context, w watcher) (loop.Stats, *engine.Engine, error) {
	e, err := engine.New(engine.Config{Trace: w.scored != nil}, 1)
	if err != nil {
		return loop.Stats{}, nil, err
	}
	cfg := loop.Config{Trace: w.scored, Actuator: dryrun.New(dryrun.Config{Log: slog.New(slog.DiscardHandler)})}
	if w.records != nil {
		cfg.Sinks = []loop.Sink{w.records}
	}
	d := loop.NewDriver(cfg, e, &loop.Numbers{})
	defer d.Close()
	labels := w.labels
	for n, ev := range r.events {
		if n%256 == 0 {
			if err := ctx.Err(); err != nil {
				return loop.Stats{}, nil, err
			}
			if w.done != nil {
				w.done(n)
			}
		}
		switch x := ev.(type) {
		case engine.Tick:
			if w.until > 0 && x.Now > w.until {
				return d.Stats(), e, nil
			}
			if x.Now >= r.truth.ScoredFrom.UnixMilli() {
				for _, l := range labels {
					if _, err := d.Take(l); err != nil {
						return loop.Stats{}, nil, err
					}
				}
				labels = nil
			}
		case *engine.Batch:
			if w.only != nil {
				ev = share(x, w.only)
			}
		}
		if _, err := d.Take(ev); err != nil {
			return loop.Stats{}, nil, err
		}
		if w.after != nil {
			w.after(e)
		}
	}
	return d.Stats(), e, nil
}

// share is a batch without the samples of the partitions that only refuses.
func share(b *engine.Batch, only func(uint8) bool) *engine.Batch {
	out := &engine.Batch{Sender: b.Sender, Quiet: b.Quiet}
	for _, s := range b.Samples {
		if only(s.Partition) {
			out.Samples = append(out.Samples, s)
		}
	}
	for _, h := range b.Histograms {
		if only(h.Series.Partition) {
			out.Histograms = append(out.Histograms, h)
		}
	}
	return out
}
