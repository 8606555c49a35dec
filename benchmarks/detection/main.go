// Command detection measures the shipped default configuration on labelled
// series: every point goes through the engine's shards as a live one would, in
// order, and nothing of a later point is known.
//
//	go run ./benchmarks/detection -data DIR -out DIR2 [-nab] [-tier lean|deep]
//	go run ./benchmarks/detection -data DIR -nab-results
//
// The first reads every *.csv and *.csv.gz below DIR with the columns
// timestamp, value and, if there are any, label. A folder with
// labels/combined_windows.json is NAB's: its series, in data/CATEGORY or
// CATEGORY, get their labels from there. For each series it writes the file of
// the same name below DIR2 (timestamp,value,score,alert[,label]), a table to
// stdout, and the same figures to DIR2/summary.json. With -nab it adds the NAB
// score. With -tier deep the deep tier looks at every series beside the baseline:
// alerts are those of all channels, and the score is the deep tier's.
//
// The second holds the NAB scorer against known results: the point scores of
// published detectors in DIR/results and their official figures in
// DIR/results/final_results.csv.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	var o options
	flag.StringVar(&o.data, "data", "", "folder of series")
	flag.StringVar(&o.out, "out", "", "folder for the scores of each series and summary.json")
	flag.StringVar(&o.tier, "tier", tierLean, "tier to measure: lean, or deep for all of lean with the deep tier beside")
	flag.BoolVar(&o.nab, "nab", false, "add the NAB score")
	flag.BoolVar(&o.nabResults, "nab-results", false, "check the NAB scorer against published results, and do nothing else")
	flag.Parse()
	if flag.NArg() > 0 {
		o.extra = flag.Arg(0)
	}
	if err := run(o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "detection:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	data, out, tier string
	nab, nabResults bool
	extra           string // an argument that is no flag
}

const (
	tierLean = "lean"
	tierDeep = "deep"
)

func (o *options) validate() error {
	switch {
	case o.extra != "":
		return fmt.Errorf("argument %q: want flags only", o.extra)
	case o.tier != tierLean && o.tier != tierDeep:
		return fmt.Errorf("-tier %s: want lean or deep", o.tier)
	case o.data == "":
		return errors.New("want -data DIR")
	case o.nabResults:
		return nil
	case o.out == "":
		return errors.New("want -out DIR2")
	}
	data, err := filepath.Abs(o.data)
	if err != nil {
		return err
	}
	out, err := filepath.Abs(o.out)
	if err != nil {
		return err
	}
	if data == out {
		return errors.New("-out is -data: the scores would replace the series")
	}
	return nil
}

func run(o options, w io.Writer) error {
	if err := o.validate(); err != nil {
		return err
	}
	if o.nabResults {
		return checkResults(w, o.data)
	}
	files, err := seriesBelow(o.data)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no *.csv or *.csv.gz of timestamp,value[,label] below %s", o.data)
	}
	report := &report{tier: o.tier}
	for _, f := range files {
		r, err := measureFile(f, o.out, o.tier)
		if err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		report.add(f, r)
	}
	if o.nab {
		if err := report.scoreNAB(files); err != nil {
			return err
		}
	}
	if err := report.table(w); err != nil {
		return err
	}
	return report.writeSummary(filepath.Join(o.out, "summary.json"))
}
