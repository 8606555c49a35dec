// Command incidents holds alarms against the known faults of recordings: those
// of homeostat as shipped and, beside them, those of alerting rules as people
// run them, evaluated by a real Prometheus.
//
//	go run ./benchmarks/incidents -prometheus $(benchmarks/peers/build.sh prometheus) testdata/incidents testdata/incidents/later
//
// Each folder is a table of its own: NAME.truth.json beside NAME.om.zst or
// NAME.om.gz. Without -prometheus only homeostat's alarms are judged. How an
// alarm is judged is package scorecard's; it is the same for both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "incidents:", err)
		os.Exit(1)
	}
}

// recording is one file of history and what is known of it.
type recording struct {
	path  string
	truth scorecard.Truth
}

func run(ctx context.Context, args []string, w io.Writer) error {
	fl := flag.NewFlagSet("incidents", flag.ContinueOnError)
	prometheus := fl.String("prometheus", "", "binary of the Prometheus that evaluates the rules; none without it")
	promtool := fl.String("promtool", "promtool", "binary of the promtool that loads the recordings")
	rules := fl.String("rules", "benchmarks/incidents/rules.yaml", "rule file")
	details := fl.Bool("details", false, "list every alarm too")
	if err := fl.Parse(args); err != nil {
		return err
	}
	if fl.NArg() == 0 {
		return errors.New("want folders of recordings")
	}
	for _, dir := range fl.Args() {
		recordings, err := recordingsIn(dir)
		if err != nil {
			return err
		}
		t := &table{folder: filepath.Base(dir)}
		for _, r := range recordings {
			alarms, err := ours(r.path)
			if err != nil {
				return fmt.Errorf("%s: %w", r.path, err)
			}
			t.add(0, scorecard.Judge(&r.truth, alarms))
			if *prometheus == "" {
				continue
			}
			alarms, err = theirs(ctx, &r, peer{prometheus: *prometheus, promtool: *promtool, rules: *rules})
			if err != nil {
				return fmt.Errorf("%s: %w", r.path, err)
			}
			t.add(1, scorecard.Judge(&r.truth, alarms))
		}
		t.print(w, *details)
	}
	return nil
}

// recordingsIn lists the recordings of a folder by name.
func recordingsIn(dir string) ([]recording, error) {
	truths, err := filepath.Glob(filepath.Join(dir, "*.truth.json"))
	if err != nil {
		return nil, err
	}
	if len(truths) == 0 {
		return nil, fmt.Errorf("no *.truth.json in %s", dir)
	}
	var out []recording
	for _, path := range truths {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		r := recording{}
		if r.truth, err = scorecard.Parse(b); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if r.path, err = dataOf(strings.TrimSuffix(path, ".truth.json")); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// dataOf finds the series that belong to a truth.
func dataOf(name string) (string, error) {
	for _, ending := range []string{".om.zst", ".om.gz", ".om"} {
		if _, err := os.Stat(name + ending); err == nil {
			return name + ending, nil
		}
	}
	return "", fmt.Errorf("%s has a truth and no series", name)
}
