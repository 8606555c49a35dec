// Command throughput measures what a remote-write receiver costs: process CPU a
// sample, anonymous memory a series, accepted samples a second and, of homeostat,
// the time from a sample to its anomaly at a subscriber. Peers run under the same
// load.
//
//	go run ./benchmarks/throughput -target homeostat -series 100000 -protocol v1 -mix real -out DIR
//	go run ./benchmarks/throughput -target http://127.0.0.1:9090/api/v1/write -pid 4242 -out DIR
//	go run ./benchmarks/throughput -table DIR
//
// It writes DIR/summary.json. It fails, and writes nothing, when the process that
// listens isn't the one that is measured, when anything is refused, and when the
// target's own counters disagree with what was sent. RESULTS.md says what each
// figure is and shows some.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/homeostat/homeostat/benchmarks/throughput/load"
)

// options say what to measure.
type options struct {
	target   string
	binary   string
	pid      int
	series   int
	protocol load.Protocol
	mix      load.Mix
	out      string
	table    string

	duration time.Duration
	warm     int
	rate     float64
	requests int
	senders  int
	churn    float64
	seed     uint64
	reader   bool
	profile  bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := command(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "throughput:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, w io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.table != "" {
		return table(o.table, w)
	}
	s, err := run(ctx, o, w)
	if err != nil {
		return err
	}
	return s.write(o.out)
}

func parse(args []string) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("throughput", flag.ContinueOnError)
	f.StringVar(&o.target, "target", homeostat, "homeostat, prometheus or victoriametrics, which are built and started, or the URL of a receiver on loopback")
	f.StringVar(&o.binary, "binary", "", "binary of the target instead of the one that is built, to compare commits")
	f.IntVar(&o.pid, "pid", 0, "process that listens at the URL")
	f.IntVar(&o.series, "series", 100_000, "number of series")
	f.StringVar((*string)(&o.protocol), "protocol", string(load.V1), "remote write: v1 or v2")
	f.StringVar((*string)(&o.mix), "mix", string(load.Gauges), "gauges, or real: 40 % gauges, 30 % counters, 30 % buckets")
	f.StringVar(&o.out, "out", "", "folder for "+summaryName)
	f.StringVar(&o.table, "table", "", "measure nothing, print the summaries below this folder")
	f.DurationVar(&o.duration, "duration", 20*time.Second, "about the length of the steady part; it is shorter where its requests don't fit in 1 GiB")
	f.IntVar(&o.warm, "warm", 140, "rounds between the new series and the steady part; baselines are warm after 120")
	f.Float64Var(&o.rate, "rate", 0, "samples a second in the steady part; 0 is as fast as they are answered")
	f.IntVar(&o.requests, "requests", 2000, "samples a request")
	f.IntVar(&o.senders, "senders", 4, "connections")
	f.Float64Var(&o.churn, "churn", 0, "share of the series replaced by new ones in each round")
	f.Uint64Var(&o.seed, "seed", 1, "seed of the load")
	f.BoolVar(&o.reader, "reader", false, "read meanwhile: a subscriber of homeostat, a query a second of a peer")
	f.BoolVar(&o.profile, "profile", false, "write a CPU profile of the steady part, steady.pprof; its figures are of no use")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return o, o.validate()
}

func (o *options) validate() error {
	if o.table != "" {
		return nil
	}
	if o.out == "" {
		return errors.New("want -out DIR")
	}
	if err := (load.Shape{Series: o.series, Mix: o.mix}).Validate(); err != nil {
		return err
	}
	if o.protocol != load.V1 && o.protocol != load.V2 {
		return fmt.Errorf("protocol %q: want %s or %s", o.protocol, load.V1, load.V2)
	}
	for _, b := range []struct {
		name             string
		value, low, high float64
	}{
		{"duration, in seconds,", o.duration.Seconds(), 1, 3600},
		{"warm", float64(o.warm), 1, 2000},
		{"rate", o.rate, 0, 1e9},
		{"requests", float64(o.requests), 1, 50_000},
		{"senders", float64(o.senders), 1, 100},
		{"churn", o.churn, 0, 1},
	} {
		if !(b.value >= b.low && b.value <= b.high) {
			return fmt.Errorf("%s %v: want a number from %v to %v", b.name, b.value, b.low, b.high)
		}
	}
	return nil
}
