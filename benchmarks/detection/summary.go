package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/homeostat/homeostat/benchmarks/detection/measure"
)

// result adds up over series.
type result struct {
	series, points int
	nanos          int64
	alerts         int // in all, those of the learning stretch too
	bytes          footprint
	seasons        int           // series with a seasonal block
	labelled       int           // series that have labels, if only to say that nothing is anomalous
	events         measure.Tally // of all alerts, the shipped ones
	main           measure.Tally // of those of the main path alone
	vus            float64       // summed
	ranked         int           // series that have a VUS-PR
}

// measureFile runs one series, writes its scores and measures them.
func measureFile(f source, out, tier string) (*measured, error) {
	s, err := f.read()
	if err != nil {
		return nil, err
	}
	x, err := score(f.out, s, tier)
	if err != nil {
		return nil, err
	}
	if err := x.write(filepath.Join(out, f.out), s); err != nil {
		return nil, err
	}
	r := result{series: 1, points: len(s.at), nanos: x.spent.Nanoseconds(), alerts: len(x.alerts), bytes: x.bytes}
	if x.bytes.season > 0 {
		r.seasons = 1
	}
	if s.label != nil {
		r.labelled = 1
		rows := s.inOrder()
		at, label := pick(s.at, rows), pick(s.label, rows)
		r.events, r.main = measure.Events(at, label, x.alerts), measure.Events(at, label, x.main)
		if v, ok := measure.VUSPR(label, measure.Held(pick(x.score, rows))); ok {
			r.vus, r.ranked = v, 1
		}
	}
	return &measured{series: s, scored: x, result: r}, nil
}

// measured is one series with all that is known of it.
type measured struct {
	series *series
	scored *scored
	result result
}

func pick[T any](all []T, rows []int) []T {
	out := make([]T, len(rows))
	for i, row := range rows {
		out[i] = all[row]
	}
	return out
}

func (r *result) add(o *result) {
	r.series += o.series
	r.points += o.points
	r.nanos += o.nanos
	r.alerts += o.alerts
	r.bytes.core += o.bytes.core
	r.bytes.season += o.bytes.season
	r.bytes.slow += o.bytes.slow
	r.bytes.deep += o.bytes.deep
	r.bytes.record += o.bytes.record
	r.seasons += o.seasons
	r.labelled += o.labelled
	r.events.Add(o.events)
	r.main.Add(o.main)
	r.vus += o.vus
	r.ranked += o.ranked
}

func (r *result) nsPerPoint() float64 { return float64(r.nanos) / float64(max(1, r.points)) }

func (r *result) perSeries(bytes int) float64 { return float64(bytes) / float64(max(1, r.series)) }

// report is what a run comes to.
type report struct {
	tier   string
	sets   map[string]*result
	all    result
	corpus *corpus // of what nab holds
	input  nabInput
	found  map[string]bool // the series of the corpus
	nab    *nabSummary
}

func (r *report) add(f source, m *measured) {
	if r.sets == nil {
		r.sets, r.found = map[string]*result{}, map[string]bool{}
	}
	if r.sets[f.set] == nil {
		r.sets[f.set] = &result{}
	}
	r.sets[f.set].add(&m.result)
	r.all.add(&m.result)
	if f.corpus != nil {
		r.corpus = f.corpus
		r.found[f.nab] = true
		r.input.add(m.series, m.scored)
	}
}

// scoreNAB adds the NAB score. It wants one whole corpus: a part of it would give
// a figure that compares with nothing.
func (r *report) scoreNAB(files []source) error {
	if r.corpus == nil {
		return errors.New("-nab: want a folder with labels/combined_windows.json and its series")
	}
	for _, f := range files {
		if f.corpus != nil && f.corpus != r.corpus {
			return fmt.Errorf("-nab: %s and %s are two corpora, want one", r.corpus.root, f.corpus.root)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.corpus.windows)) {
		if !r.found[name] {
			return fmt.Errorf("-nab: %s: there is no %s", r.corpus.root, name)
		}
	}
	r.nab = r.input.scores()
	return nil
}

// table writes the summary for people.
func (r *report) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "set\tseries\tpoints\talerts\tevents\thit\tfalse\tprecision\trecall\tF1\tmedian delay s\tfalse/series-week\tVUS-PR\tns/point\tbytes/series\t")
	row := func(name string, x *result, e *measure.Tally) {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%.3f\t%.3f\t%.3f\t%d\t%.2f\t%s\t%.0f\t%.0f\t\n", name, x.series, x.points, x.alerts,
			e.Windows, e.Hits, e.False, e.Precision(), e.Recall(), e.F1(), e.MedianDelay()/1000, e.FalsePerWeek(),
			mean(x.vus, x.ranked), x.nsPerPoint(), x.perSeries(x.bytes.state()))
	}
	names := slices.Sorted(maps.Keys(r.sets))
	for _, name := range names {
		row(name, r.sets[name], &r.sets[name].events)
	}
	if len(names) > 1 {
		row("all", &r.all, &r.all.events)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	r.notes(w)
	return r.nabTable(w)
}

// notes say what is in the figures.
func (r *report) notes(w io.Writer) {
	a := &r.all
	fmt.Fprintln(w)
	if a.labelled > 0 {
		fmt.Fprintf(w, "The main path alone, without the other channels: precision %.3f, recall %.3f, F1 %.3f, %.2f false alarms a series-week.\n",
			a.main.Precision(), a.main.Recall(), a.main.F1(), a.main.FalsePerWeek())
	}
	whose := "main path's"
	if r.tier == tierDeep {
		whose = "deep tier's"
	}
	fmt.Fprintf(w, "VUS-PR: mean of %d series with a labelled point, whole series, %s score held.\n", a.ranked, whose)
	fmt.Fprintln(w, "ns/point: wall clock of a tick and a batch of one sample through the engine's driver, with trace and a journal that keeps nothing.")
	fmt.Fprintf(w, "bytes/series: state in memory, core %.0f + season %.0f (%d of %d series have one, of %d) + slow channel %.0f + deep tier %.0f; not labels and places in indexes.\n",
		a.perSeries(a.bytes.core), a.perSeries(a.bytes.season), a.seasons, a.series, a.bytes.season/max(1, a.seasons), a.perSeries(a.bytes.slow), a.perSeries(a.bytes.deep))
	fmt.Fprintf(w, "Its record in the store, labels, place and open episodes too: %.0f bytes.\n", a.perSeries(a.bytes.record))
}

func (r *report) nabTable(w io.Writer) error {
	if r.nab == nil {
		return nil
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "NAB\tdetected\toptimised (an oracle's)\tat threshold\tshipped\t")
	for i, s := range r.nab.profiles() {
		name := measure.NABProfiles[i].Name
		fmt.Fprintf(t, "%s\teach row at the threshold\t%.2f\t%.2f\t%.2f\t\n", name, s.Optimised, s.at, s.Shipped)
		fmt.Fprintf(t, "%s\teach start of an alert\t%.2f\t%.2f\t%.2f\t\n", name, s.alerts.optimised, s.alerts.at, s.alerts.shipped)
	}
	return t.Flush()
}

func mean(sum float64, n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3f", sum/float64(n))
}

// summary is the run for programs. What was not measured is null.
type summary struct {
	Tier           string      `json:"tier"`
	Series         int         `json:"series"`
	Points         int         `json:"points"`
	NAB            *nabSummary `json:"nab"`
	Events         *events     `json:"events"`
	VUSPR          *float64    `json:"vus_pr"`
	NsPerPoint     float64     `json:"ns_per_point"`
	BytesPerSeries float64     `json:"bytes_per_series"`
}

type events struct {
	Precision                float64 `json:"precision"`
	Recall                   float64 `json:"recall"`
	F1                       float64 `json:"f1"`
	FalseAlarmsPerSeriesWeek float64 `json:"false_alarms_per_series_week"`
	MedianDelaySeconds       float64 `json:"median_delay_s"`
}

func (r *report) writeSummary(path string) error {
	a := &r.all
	s := summary{
		Tier: r.tier, Series: a.series, Points: a.points, NAB: r.nab,
		NsPerPoint: a.nsPerPoint(), BytesPerSeries: a.perSeries(a.bytes.state()),
	}
	if e := &a.events; a.labelled > 0 {
		s.Events = &events{e.Precision(), e.Recall(), e.F1(), e.FalsePerWeek(), float64(e.MedianDelay()) / 1000}
	}
	if a.ranked > 0 {
		v := a.vus / float64(a.ranked)
		s.VUSPR = &v
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o666)
}
