// Command detection measures the shipped default configuration on labelled
// series: every point goes through the engine's shards as a live one would, in
// order, and nothing of a later point is known.
//
//	go run ./benchmarks/detection -data DIR -out DIR2
//
// It reads every *.csv and *.csv.gz below DIR with the columns timestamp,
// value and label, writes DIR2/NAME.csv (timestamp,value,score,alert,label) for
// each and a summary table to stdout.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/homeostat/homeostat/benchmarks/detection/measure"
)

func main() {
	data := flag.String("data", "", "folder of labelled series")
	out := flag.String("out", "", "folder for the scores of each series")
	flag.Parse()
	if err := run(*data, *out, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "detection:", err)
		os.Exit(1)
	}
}

func run(data, out string, w io.Writer) error {
	if data == "" || out == "" {
		return errors.New("want -data DIR and -out DIR2")
	}
	files, err := seriesBelow(data)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no labelled *.csv or *.csv.gz below %s", data)
	}
	sets := map[string]*result{}
	all := &result{}
	var names []string
	for _, f := range files {
		r, err := measureFile(f, out)
		if err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		if sets[f.set] == nil {
			sets[f.set] = &result{}
			names = append(names, f.set)
		}
		sets[f.set].add(r)
		all.add(r)
	}
	slices.Sort(names)
	return table(w, names, sets, all)
}

func table(w io.Writer, names []string, sets map[string]*result, all *result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "set\tseries\tpoints\tevents\thit\tfalse\tprecision\trecall\tF1\tfalse/series-week\tmedian delay s\tns/point\tbytes/series\t")
	row := func(name string, r *result) {
		e := &r.events
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%.3f\t%.3f\t%.3f\t%.2f\t%d\t%.0f\t%.0f\t\n", name, r.series, r.points, e.Windows, e.Hits, e.False,
			e.Precision(), e.Recall(), e.F1(), e.FalsePerWeek(), e.MedianDelay()/1000,
			float64(r.nanos)/float64(max(1, r.points)), float64(r.bytes)/float64(max(1, r.series)))
	}
	for _, name := range names {
		row(name, sets[name])
	}
	if len(names) > 1 {
		row("all", all)
	}
	return t.Flush()
}

// labelled is one series' file, and the set that its folder names.
type labelled struct{ path, set, name string }

func seriesBelow(dir string) ([]labelled, error) {
	var out []labelled
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimSuffix(strings.TrimSuffix(d.Name(), ".gz"), ".csv")
		if name == strings.TrimSuffix(d.Name(), ".gz") {
			return nil
		}
		has, err := hasLabels(path)
		if err != nil || !has {
			return err
		}
		out = append(out, labelled{path: path, set: filepath.Base(filepath.Dir(path)), name: name})
		return nil
	})
	return out, err
}

// result adds up over series.
type result struct {
	series, points int
	nanos, bytes   int64
	events         measure.Tally
}

func (r *result) add(o *result) {
	r.series += o.series
	r.points += o.points
	r.nanos += o.nanos
	r.bytes += o.bytes
	r.events.Add(o.events)
}
