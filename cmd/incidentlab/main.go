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
// not. So latencies, bytes and counts are real, while the rate of a counter in
// the recording's own time is the real one divided by the compression: 350
// customers a second read as 1.5.
//
// # What is written
//
// NAME.om.zst is OpenMetrics text, NAME.truth.json says what was done to the
// shop and when: benchmarks/scorecard has its type. The schedule depends on the
// scenario and the seed alone; the customers and the machine add chance.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
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
	case "help", "-h", "-help", "--help":
		fmt.Fprint(w, usage)
		return nil
	}
	return fmt.Errorf("unknown command %q\n%s", args[0], usage)
}

// start is the first moment of every recording: a Monday.
var start = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

type recordFlags struct {
	scenario, name, out, prometheus string
	seed                            uint64
	compression                     float64
	scrape                          time.Duration
	length                          time.Duration
}

func record(ctx context.Context, args []string, w io.Writer) error {
	var f recordFlags
	fl := flag.NewFlagSet("record", flag.ContinueOnError)
	fl.StringVar(&f.scenario, "scenario", "", "what happens: one of "+strings.Join(scenarioNames(), ", "))
	fl.Uint64Var(&f.seed, "seed", 1, "seed of the schedule")
	fl.StringVar(&f.name, "name", "", "name of the recording; by default the scenario's with the seed")
	fl.StringVar(&f.out, "out", "", "folder that it is written to")
	fl.Float64Var(&f.compression, "compression", 240, "seconds of the recording in one real second")
	fl.DurationVar(&f.scrape, "scrape", 250*time.Millisecond, "real scrape interval")
	fl.DurationVar(&f.length, "length", 0, "end after so much of the recording's time, for a try; by default the scenario's")
	fl.StringVar(&f.prometheus, "prometheus", "", "binary of Prometheus; by default the one that benchmarks/peers/build.sh builds")
	if err := fl.Parse(args); err != nil {
		return err
	}
	if f.out == "" || fl.NArg() > 0 {
		return fmt.Errorf("record: want -scenario NAME and -out DIR, and nothing else")
	}
	if f.compression < 1 || f.scrape < 50*time.Millisecond {
		return fmt.Errorf("record: -compression %v and -scrape %v: want at least 1 and 50ms", f.compression, f.scrape)
	}
	events, length, err := schedule(f.scenario, f.seed)
	if err != nil {
		return err
	}
	if f.length > 0 {
		length = min(length, f.length)
	}
	if f.name == "" {
		f.name = fmt.Sprintf("%s_%d", f.scenario, f.seed)
	}
	if f.prometheus == "" {
		built, err := exec.CommandContext(ctx, "benchmarks/peers/build.sh", "prometheus").Output()
		if err != nil {
			return fmt.Errorf("building Prometheus (run at the root of the repository): %w", err)
		}
		f.prometheus = strings.TrimSpace(string(built))
	}
	seen, err := f.watch(ctx, events, length)
	if err != nil {
		return err
	}
	command := fmt.Sprintf("go run ./cmd/incidentlab record -scenario %s -seed %d -out %s", f.scenario, f.seed, f.out)
	t := truthOf(f.name, events, start, length, f.compression, f.scrape.Seconds()*f.compression, f.seed, command)
	t.Stalls = seen.stalls
	return save(w, f.out, t, func(w io.Writer) error { return dump(w, seen.series, seen.clock.stretched) })
}

// sight is what was seen of a shop.
type sight struct {
	clock  clock
	series []scraped
	stalls []scorecard.Stall
}

// watch runs the shop for the length of a recording and returns what Prometheus
// saw of it.
func (f *recordFlags) watch(ctx context.Context, events []event, length time.Duration) (*sight, error) {
	s, err := openShop()
	if err != nil {
		return nil, err
	}
	defer s.close()
	p, err := startScraper(ctx, f.prometheus, f.scrape, s)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	s.clock = clock{began: time.Now(), start: start, compression: f.compression}
	trading, close := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer func() { ended <- struct{}{} }()
		s.trade(trading, f.seed)
	}()
	go func() {
		defer func() { ended <- struct{}{} }()
		s.live(trading, events)
	}()
	stalls := make(chan []scorecard.Stall, 1)
	go func() { stalls <- s.watchMachine(trading) }()
	went := s.until(ctx, length)
	to := time.Now()
	close()
	<-ended
	<-ended
	seen := &sight{clock: s.clock, stalls: <-stalls}
	if !went {
		return nil, ctx.Err()
	}
	// The first two scrapes' worth of time is the shop's opening, not its day.
	seen.series, err = p.samples(ctx, s.clock.began.Add(2*f.scrape), to)
	return seen, err
}

// save writes a recording and its truth, the truth last: what has one is whole.
func save(w io.Writer, dir string, t scorecard.Truth, write func(io.Writer) error) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	path := filepath.Join(dir, t.Name+".om.zst")
	if err := compressed(path, write); err != nil {
		return err
	}
	b, err := json.MarshalIndent(&t, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, t.Name+".truth.json"), append(b, '\n'), 0o666); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: %d faults, %d nuisances, %d kB\n", path, len(t.Faults), len(t.Nuisances), info.Size()/1000)
	return nil
}
