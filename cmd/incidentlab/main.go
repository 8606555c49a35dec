// Command incidentlab makes recordings of incidents: a small shop of real HTTP
// services with customers, scraped by a real Prometheus, in which faults are
// planted on a schedule.
//
//	go run ./cmd/incidentlab list
//	go run ./cmd/incidentlab record -scenario latency -seed 7 -out testdata/incidents
//	go run ./cmd/incidentlab generate -seed 1 -out testdata/incidents
//
// # Time
//
// A recording has days in it, and making one takes minutes: each real second
// stands for -compression seconds (240), so a scrape every 250 ms is one every
// minute of the recording. Timestamps and the truth are stretched, values are
// not. So latencies and bytes are real, while the rate of a counter in the
// recording's own time is the real one divided by the compression: 300 customers
// a second read as 1.25.
//
// # The shop
//
// Every instance is a process: this program, started once more with the command
// instance. Its memory and its processor time are what the kernel says of it, a
// leak is pages that it has written to and keeps, and a restart, a rollout's step
// too, is the end of a process and the start of another. The customers come from
// the process that records.
//
// # What is written
//
// NAME.om.zst is OpenMetrics text, NAME.truth.json says what was done to the
// shop and when: benchmarks/scorecard has its type. The schedule depends on the
// scenario and the seed alone; the customers and the machine add chance.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "incidentlab:", err)
		os.Exit(1)
	}
}

const usage = `usage: incidentlab COMMAND

  list       the scenarios that can be recorded
  record     run the shop, plant a scenario's faults, write what Prometheus saw
  generate   compute a slow leak under a daily season, days long

incidentlab COMMAND -help tells the flags.
`

func run(ctx context.Context, args []string, w io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("no command\n%s", usage)
	}
	switch args[0] {
	case "list":
		for _, name := range scenarioNames() {
			fmt.Fprintf(w, "%-11s %2d h  %s\n", name, scenarios[name].hours, scenarios[name].about)
		}
		return nil
	case "record":
		return record(ctx, args[1:], w)
	case "generate":
		return generate(args[1:], w)
	case instanceCommand:
		return beInstance(ctx, os.Stdin, w)
	case "help", "-h", "-help", "--help":
		fmt.Fprint(w, usage)
		return nil
	}
	return fmt.Errorf("unknown command %q\n%s", args[0], usage)
}

// parse reads a command's flags. Asked for help it writes it, and done is true.
func parse(fl *flag.FlagSet, args []string, w io.Writer) (done bool, err error) {
	var said bytes.Buffer
	fl.SetOutput(&said)
	err = fl.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, err = said.WriteTo(w)
		return true, err
	case err != nil:
		return false, fmt.Errorf("%s: %w", fl.Name(), err)
	case fl.NArg() > 0:
		return false, fmt.Errorf("%s: %q: want flags and nothing else", fl.Name(), fl.Args())
	}
	return false, nil
}
