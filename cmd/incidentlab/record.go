package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

// start is the midnight before every recording, which begins at some hour of that
// day: a Monday.
var start = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// The usual time of a recording: a scrape a minute.
const (
	usualCompression = 240.0
	usualScrape      = 250 * time.Millisecond
)

// recorder makes one recording.
type recorder struct {
	scenario, name, out, prometheus string
	seed                            uint64
	compression                     float64
	scrape                          time.Duration // real
}

func record(ctx context.Context, args []string, w io.Writer) error {
	var r recorder
	fl := flag.NewFlagSet("record", flag.ContinueOnError)
	fl.StringVar(&r.scenario, "scenario", "", "what happens: one of "+strings.Join(scenarioNames(), ", "))
	fl.Uint64Var(&r.seed, "seed", 1, "seed of the schedule")
	fl.StringVar(&r.name, "name", "", "name of the recording; by default the scenario's with the seed")
	fl.StringVar(&r.out, "out", "", "folder that it is written to")
	fl.Float64Var(&r.compression, "compression", usualCompression, "seconds of the recording in one real second; more makes a quick try")
	fl.DurationVar(&r.scrape, "scrape", usualScrape, "real scrape interval")
	fl.StringVar(&r.prometheus, "prometheus", "", "binary of Prometheus; by default the one that benchmarks/peers/build.sh builds")
	if done, err := parse(fl, args, w); done || err != nil {
		return err
	}
	if err := r.validate(); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	p, err := schedule(r.scenario, r.seed)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if r.name == "" {
		r.name = r.usualName()
	}
	if r.prometheus == "" {
		if r.prometheus, err = builtPrometheus(ctx); err != nil {
			return err
		}
	}
	return r.record(ctx, w, p)
}

// validate says which flag is out of its bounds.
func (r *recorder) validate() error {
	switch {
	case r.out == "":
		return fmt.Errorf("-out is empty: want a folder")
	case !(r.compression >= 1 && r.compression <= 10_000):
		return fmt.Errorf("-compression %v: want 1 to 10000", r.compression)
	case r.scrape < 50*time.Millisecond || r.scrape > time.Minute:
		return fmt.Errorf("-scrape %v: want 50ms to 1m", r.scrape)
	case r.step() < 1:
		return fmt.Errorf("-compression %v with -scrape %v is a scrape every %v s of the recording: want at least 1 s, its resolution", r.compression, r.scrape, r.step())
	}
	return nil
}

// step is the scrape interval in seconds of the recording.
func (r *recorder) step() float64 { return r.scrape.Seconds() * r.compression }

func (r *recorder) usualName() string { return fmt.Sprintf("%s_%d", r.scenario, r.seed) }

// command makes the recording again, chance apart.
func (r *recorder) command() string {
	c := fmt.Sprintf("go run ./cmd/incidentlab record -scenario %s -seed %d -out %s", r.scenario, r.seed, r.out)
	if r.name != r.usualName() {
		c += " -name " + r.name
	}
	if r.compression != usualCompression {
		c += fmt.Sprintf(" -compression %v", r.compression)
	}
	if r.scrape != usualScrape {
		c += fmt.Sprintf(" -scrape %v", r.scrape)
	}
	return c
}

// truth is what the recording of a plan is of.
func (r *recorder) truth(p plan) scorecard.Truth {
	t := scorecard.Truth{
		Name: r.name, Command: r.command(), Seed: r.seed, Compression: r.compression, ScrapeSeconds: r.step(),
		Start: p.start, ScoredFrom: p.start.Add(p.learning), End: p.start.Add(p.length),
	}
	t.Faults, t.Nuisances = p.told()
	return t
}

// builtPrometheus is the pinned binary, built when it isn't there yet.
func builtPrometheus(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "benchmarks/peers/build.sh", "prometheus")
	cmd.Stderr = os.Stderr
	path, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("building Prometheus (run at the root of the repository): %w", err)
	}
	return strings.TrimSpace(string(path)), nil
}

// record runs a plan and writes its recording. When ctx ends nothing is written.
func (r *recorder) record(ctx context.Context, w io.Writer, p plan) error {
	t := r.truth(p)
	if err := t.Validate(); err != nil {
		return err
	}
	seen, err := r.watch(ctx, w, p)
	if err != nil {
		return fmt.Errorf("recording %s: %w", r.name, err)
	}
	t.Stalls = seen.stalls
	return save(w, r.out, t, func(w io.Writer) error { return dump(w, seen.series, seen.clock.stretched) })
}

// sight is what was seen of a shop.
type sight struct {
	clock  clock
	series []scraped
	stalls []scorecard.Stall
}

// watch runs the shop for the length of a recording and returns what Prometheus
// saw of it. All that it started has ended when it returns.
func (r *recorder) watch(ctx context.Context, w io.Writer, p plan) (*sight, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	s := newShop(func(sp spec) (body, error) { return startProcess(sp, fail) })
	s.fail = fail
	if err := s.open(); err != nil {
		return nil, err
	}
	defer s.close()
	prometheus, err := startScraper(ctx, r.prometheus, r.scrape, s)
	if err != nil {
		return nil, err
	}
	defer prometheus.stop()
	s.clock = clock{began: time.Now(), start: p.start, compression: r.compression}
	fmt.Fprintf(w, "%s: %v of recording take %v\n", r.name, p.length, s.clock.real(p.length))

	trading, end := context.WithCancel(ctx)
	defer end()
	var inside sync.WaitGroup
	var ours []late
	inside.Go(func() { s.trade(trading, r.seed) })
	inside.Go(func() { s.live(trading, p.events) })
	inside.Go(func() { watchTimers(trading, func(l late) { ours = append(ours, l) }) })
	inside.Go(func() { prometheus.guard(trading, fail) })
	went := s.until(ctx, p.length)
	to := time.Now()
	end()
	inside.Wait()
	if !went {
		return nil, context.Cause(ctx)
	}
	s.close()
	if n := s.turnedAway.Load(); n > 0 {
		fmt.Fprintf(w, "%s: %d customers were turned away: more than %d were inside\n", r.name, n, maxInFlight)
	}
	seen := &sight{clock: s.clock, stalls: stalls(s.clock, append(s.lateness(), ours...))}
	seen.series, err = prometheus.samples(ctx, s.clock.began, to)
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
