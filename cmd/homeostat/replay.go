package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/common/model"
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
	from    string
	upstreamFlags
}

func newReplay() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay PATH... | --from prometheus --url URL",
		Short: "Run recorded series through the engine, as if they came in now",
		Long: `Run recorded series through the engine, as if they came in now. A PATH is one of:

  a CSV file: timestamp,value or one column a series
  OpenMetrics text with timestamps, as promtool tsdb dump-openmetrics writes it
  either of them compressed with gzip or zstd
  a block of a Prometheus' database, or its data directory or a snapshot with
    several; what a data directory holds in its write-ahead log only, the last
    two hours or three, is not read
  a recording made by serve --record, which is replayed alone

With --from prometheus the series come from the HTTP API of a Prometheus, the
last day of them or what --last says. A password goes into the URL
(http://user:password@host:9090), a token into a file.

Actions are dry runs. Events go to stdout, a summary to stderr, and so does a
line of progress when that is a terminal.`,
		Example: `  homeostat replay testdata/incidents/checkout_latency.csv
  homeostat replay /var/lib/prometheus -o jsonl
  homeostat replay --from prometheus --url http://127.0.0.1:9090 --last 14d --match '{job="api"}'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd, args); err != nil {
				return err
			}
			return f.run(cmd, args)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.config, "config.file", "", "configuration file")
	fl.StringVarP(&f.format, "output", "o", "table", "table, json or jsonl")
	fl.IntVar(&f.shards, "shards", 1, "number of shards; it changes no result")
	fl.BoolVar(&f.lenient, "lenient", false, "skip rows and chunks that cannot be read, and count them")
	fl.BoolVar(&f.fail, "fail-on-anomaly", false, "exit with code 3 when anything was found")
	fl.StringVar(&f.from, "from", "", "prometheus: read from its HTTP API")
	fl.StringVar(&f.url, "url", "", "with --from: its address")
	f.last = model.Duration(24 * time.Hour)
	fl.Var(&f.last, "last", "with --from: how much history, such as 12h, 14d or 2w")
	fl.StringArrayVar(&f.match, "match", nil, `with --from: a selector of series, such as {job="api"}; more of them select more`)
	fl.StringVar(&f.tokenFile, "bearer-token-file", "", "with --from: file with a token to send")
	return cmd
}

// check sees that the arguments go together.
func (f *replayFlags) check(cmd *cobra.Command, paths []string) error {
	if err := checkFormat(f.format, formats...); err != nil {
		return err
	}
	switch {
	case f.from != "" && f.from != "prometheus":
		return fmt.Errorf("%w: --from %s: want prometheus", errUsage, f.from)
	case f.from != "" && len(paths) > 0:
		return fmt.Errorf("%w: --from %s takes no path, got %d", errUsage, f.from, len(paths))
	case f.from != "" && f.url == "":
		return fmt.Errorf("%w: --from %s wants --url, such as http://127.0.0.1:9090", errUsage, f.from)
	case f.from == "" && len(paths) == 0:
		return fmt.Errorf("%w: want at least one file or folder, or --from prometheus", errUsage)
	}
	for _, name := range []string{"url", "last", "match", "bearer-token-file"} {
		if f.from == "" && cmd.Flags().Changed(name) {
			return fmt.Errorf("%w: --%s goes with --from prometheus only", errUsage, name)
		}
	}
	return nil
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
	messages := newScreen(cmd.ErrOrStderr())
	seen := &found{out: &printer{w: messages.beside(cmd.OutOrStdout()), format: f.format}}
	loopCfg := loop.Config{Sinks: []loop.Sink{seen}}
	src, finish, err := f.open(cmd.Context(), e, paths, &loopCfg)
	if err != nil {
		return err
	}
	d := loop.NewDriver(loopCfg, e, &loop.Numbers{})
	defer d.Close()
	start := time.Now()
	counted := &counting{source: src}
	line := startProgress(messages, "replay", counted)
	err = drive(cmd.Context(), d, counted, func() error { return seen.out.err })
	line.stop()
	if closeErr := finish(messages); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := seen.out.end(); err != nil {
		return fmt.Errorf("writing the events: %w", err)
	}
	summarise(messages, d.Stats(), e, seen, time.Since(start))
	if f.fail && seen.anomalies > 0 {
		return fmt.Errorf("%w: %d anomalies", errFindings, seen.anomalies)
	}
	return nil
}

// open opens one recording, files of history or the API of a Prometheus. A
// recording holds the answers of the actions; for the others they are dry runs.
// What it returns closes the source and says what was left out.
func (f *replayFlags) open(ctx context.Context, e *engine.Engine, paths []string, cfg *loop.Config) (source, func(io.Writer) error, error) {
	if len(paths) == 1 && store.IsRecording(paths[0]) {
		rec, err := store.OpenRecording(paths[0])
		if err != nil {
			return nil, nil, err
		}
		return rec, func(w io.Writer) error {
			if n := rec.Torn(); n > 0 {
				fmt.Fprintf(w, "homeostat: the last %d bytes of the recording are torn and were left out\n", n)
			}
			return rec.Close()
		}, nil
	}
	cfg.Actuator = dryrun.New(dryrun.Config{Log: slog.New(slog.DiscardHandler)})
	historyCfg := history.Config{Naming: e.Naming(), Grace: e.Grace(), Lenient: f.lenient}
	if f.from != "" {
		return f.openUpstream(ctx, historyCfg)
	}
	src, err := history.Open(historyCfg, paths...)
	if err != nil {
		return nil, nil, err
	}
	return src, func(w io.Writer) error {
		for _, folder := range src.Heads() {
			fmt.Fprintf(w, "homeostat: %s has a write-ahead log, whose samples of the last hours were not read; a snapshot holds them as a block\n", folder)
		}
		if n := src.Skipped(); n > 0 {
			fmt.Fprintf(w, "homeostat: %d rows or chunks could not be read and were skipped\n", n)
		}
		return src.Close()
	}, nil
}

// openUpstream begins to read from the API of a Prometheus.
func (f *replayFlags) openUpstream(ctx context.Context, cfg history.Config) (source, func(io.Writer) error, error) {
	up, err := f.upstream("", time.Now())
	if err != nil {
		return nil, nil, err
	}
	src, err := history.Prometheus(ctx, cfg, up)
	if err != nil {
		return nil, nil, err
	}
	return src, func(w io.Writer) error {
		if _, n := src.Samples(); n > 0 {
			fmt.Fprintf(w, "homeostat: %d histograms were not understood and were skipped\n", n)
		}
		return nil
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
	if deep, refused, bytes := e.DeepSize(); deep+refused > 0 {
		fmt.Fprintf(w, "  deep tier: %d series in %d bytes; %d more match and found no room\n", deep, bytes, refused)
	}
	if total.Held > 0 {
		fmt.Fprintf(w, "  %d points held back by floors\n", total.Held)
	}
	for r := engine.Reason(0); r < engine.NumReasons; r++ {
		if r.Rejects() && total.Reasons[r] > 0 {
			fmt.Fprintf(w, "  rejected as %s: %d\n", r, total.Reasons[r])
		}
	}
	fmt.Fprintf(w, "%d anomalies in %d incidents, %d data faults\n", seen.anomalies, seen.incidents, seen.faults)
}
