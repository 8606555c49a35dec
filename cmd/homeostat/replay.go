package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/homeostat/homeostat/actuators/dryrun"
	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
	"github.com/homeostat/homeostat/ingest/history"
	"github.com/homeostat/homeostat/store"
)

// source is where a replay's events come from.
type source interface {
	// Next is the next event, io.EOF after the last.
	Next() (engine.Event, error)
}

type replayFlags struct {
	config  string
	format  string
	shards  int
	lenient bool
	fail    bool
}

func newReplay() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay PATH...",
		Short: "Run recorded series through the engine, as if they came in now",
		Long: "Run recorded series through the engine, as if they came in now: CSV (timestamp,value or one column a\n" +
			"series) or OpenMetrics text with timestamps, either of them compressed with gzip, or a recording made by\n" +
			"serve --record. Actions are dry runs. Events go to stdout, a summary to stderr.",
		Args: atLeast(1, "at least one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(f.format, formats...); err != nil {
				return err
			}
			return f.run(cmd, args)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.config, "config.file", "", "configuration file")
	fl.StringVarP(&f.format, "output", "o", "table", "table, json or jsonl")
	fl.IntVar(&f.shards, "shards", 1, "number of shards; it changes no result")
	fl.BoolVar(&f.lenient, "lenient", false, "skip rows that cannot be read, and count them")
	fl.BoolVar(&f.fail, "fail-on-anomaly", false, "exit with code 3 when anything was found")
	return cmd
}

// found counts what a replay came to.
type found struct {
	out       *printer
	anomalies int
	incidents int
	faults    int
}

// Deliver writes the records out.
func (f *found) Deliver(first uint64, records []engine.Record) {
	for i, rec := range records {
		f.out.event(first+uint64(i), rec)
		switch r := rec.(type) {
		case *engine.Anomaly:
			if r.Revision == engine.Opened && r.Kind == engine.KindDataFault {
				f.faults++
			} else if r.Revision == engine.Opened {
				f.anomalies++
			}
		case *engine.Incident:
			if r.Revision == engine.Opened && !r.DataFault {
				f.incidents++
			}
		}
	}
}

func (f *replayFlags) run(cmd *cobra.Command, paths []string) error {
	cfg, err := loadConfig(f.config)
	if err != nil {
		return err
	}
	engineCfg, err := cfg.engineConfig()
	if err != nil {
		return err
	}
	e, err := engine.New(engineCfg, f.shards)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	seen := &found{out: &printer{w: cmd.OutOrStdout(), format: f.format}}
	loopCfg := loop.Config{Sinks: []loop.Sink{seen}}
	src, finish, err := f.open(e, paths, &loopCfg)
	if err != nil {
		return err
	}
	d := loop.NewDriver(loopCfg, e, &loop.Numbers{})
	defer d.Close()
	start := time.Now()
	err = drive(cmd.Context(), d, src, func() error { return seen.out.err })
	if closeErr := finish(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := seen.out.end(); err != nil {
		return fmt.Errorf("writing the events: %w", err)
	}
	summarise(cmd.ErrOrStderr(), d.Stats(), e, seen, time.Since(start))
	if f.fail && seen.anomalies > 0 {
		return fmt.Errorf("%w: %d anomalies", errFindings, seen.anomalies)
	}
	return nil
}

// open opens one recording, or files of history. A recording holds the answers
// of the actions; for files they are dry runs.
func (f *replayFlags) open(e *engine.Engine, paths []string, cfg *loop.Config) (source, func() error, error) {
	if len(paths) == 1 && store.IsRecording(paths[0]) {
		rec, err := store.OpenRecording(paths[0])
		if err != nil {
			return nil, nil, err
		}
		return rec, func() error {
			if n := rec.Torn(); n > 0 {
				fmt.Fprintf(os.Stderr, "homeostat: the last %d bytes of the recording are torn and were left out\n", n)
			}
			return rec.Close()
		}, nil
	}
	src, err := history.Open(history.Config{Naming: e.Naming(), Grace: e.Grace(), Lenient: f.lenient}, paths...)
	if err != nil {
		return nil, nil, err
	}
	cfg.Actuator = dryrun.New(dryrun.Config{Log: slog.New(slog.DiscardHandler)})
	return src, func() error {
		if n := src.Skipped(); n > 0 {
			fmt.Fprintf(os.Stderr, "homeostat: %d rows could not be read and were skipped\n", n)
		}
		return src.Close()
	}, nil
}

// drive takes everything of a source in.
func drive(ctx context.Context, d *loop.Driver, src source, broken func() error) error {
	for n := 0; ; n++ {
		ev, err := src.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading: %w", err)
		}
		if _, err := d.Take(ev); err != nil {
			return err
		}
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := broken(); err != nil {
			return fmt.Errorf("writing the events: %w", err)
		}
	}
}

func summarise(w io.Writer, st loop.Stats, e *engine.Engine, seen *found, took time.Duration) {
	series, measurements := e.Size()
	total := st.Receipts
	fmt.Fprintf(w, "%d samples of %d series in %v (%.0f/s): %d scored, %d absorbed, %d rejected, %d derived by %d measurements\n",
		total.Received, series, took.Round(time.Millisecond), float64(total.Received)/took.Seconds(),
		total.Scored, total.Absorbed(), total.Rejected(), total.Derived, measurements)
	for r := engine.Reason(0); r < engine.NumReasons; r++ {
		if r.Rejects() && total.Reasons[r] > 0 {
			fmt.Fprintf(w, "  rejected as %s: %d\n", r, total.Reasons[r])
		}
	}
	fmt.Fprintf(w, "%d anomalies in %d incidents, %d data faults\n", seen.anomalies, seen.incidents, seen.faults)
}
