package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/wire"
	"github.com/homeostat/homeostat/models"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
	"github.com/homeostat/homeostat/store"
)

// whatIfFlags are what a what-if asks, and whom.
type whatIfFlags struct {
	remote
	days, threshold float64
	match           string
	last            model.Duration
	format          string
	storage         string // a directory to read instead of asking a server
	config          string
	matchers        []*labels.Matcher
}

func newWhatIf() *cobra.Command {
	f := whatIfFlags{last: model.Duration(14 * 24 * time.Hour)}
	cmd := &cobra.Command{
		Use:   "what-if --false-alarm-days N | --threshold SCORE",
		Short: "Say which alerts another threshold would have opened",
		Long: `Say which alerts another threshold would have opened and not opened, by name, how much later it would have
opened the others, what it would have done to those that people judged, and how many incidents a week it comes to.

It is worked out from the scores that were kept, by the rules that open and close alerts live, and is exact as long
as the threshold closes alerts at scores that were kept; one that does not is refused. A running server is asked, or
with --storage.path a store is read, also beside a running server.`,
		Example: `  homeostat what-if --false-alarm-days 60
  homeostat what-if --threshold 6 --match '{job="api"}' --last 7d --storage.path data`,
		Args: exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			answer := f.askServer
			if f.storage != "" {
				answer = f.readStore
			}
			w, rep, err := answer(cmd)
			if err != nil {
				return err
			}
			if f.format == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(wire.WhatIfLine(f.words(), w, rep))
			}
			return writeWhatIf(cmd.OutOrStdout(), f.words(), w, rep)
		},
	}
	f.remote.flags(cmd)
	fl := cmd.Flags()
	fl.Float64Var(&f.days, "false-alarm-days", 0, "what if detection.false_alarm_days were this")
	fl.Float64Var(&f.threshold, "threshold", 0, "what if the baseline's alerts opened at this score")
	fl.StringVar(&f.match, "match", "", `only these series, such as {job="api"}`)
	fl.Var(&f.last, "last", "how much of what was kept, from the newest point back, such as 12h, 14d or 2w")
	fl.StringVarP(&f.format, "output", "o", "table", "table or json")
	fl.StringVar(&f.storage, "storage.path", "", "read this directory of a store instead of asking a server")
	fl.StringVar(&f.config, "config.file", "", "with --storage.path: the configuration file, for detection.incident_gap")
	return cmd
}

func (f *whatIfFlags) check() error {
	if err := checkFormat(f.format, "table", "json"); err != nil {
		return err
	}
	switch {
	case (f.days != 0) == (f.threshold != 0):
		return fmt.Errorf("%w: want one of --false-alarm-days and --threshold", errUsage)
	case f.days < 0 || f.days > 3650:
		return fmt.Errorf("%w: --false-alarm-days %v: want a number above 0, up to 3650", errUsage, f.days)
	case f.threshold < 0 || f.threshold > models.MaxScore.Float():
		return fmt.Errorf("%w: --threshold %v: want a score above 0, up to %v", errUsage, f.threshold, models.MaxScore.Float())
	case f.last <= 0:
		return fmt.Errorf("%w: --last %v: want a duration above 0", errUsage, f.last)
	case f.config != "" && f.storage == "":
		return fmt.Errorf("%w: --config.file goes with --storage.path only", errUsage)
	}
	if f.match == "" {
		return nil
	}
	var err error
	if f.matchers, err = parser.NewParser(parser.Options{}).ParseMetricSelector(f.match); err != nil {
		return fmt.Errorf("%w: --match %s: %w", errUsage, f.match, err)
	}
	return nil
}

// words are the rule, for people.
func (f *whatIfFlags) words() string {
	if f.days != 0 {
		return fmt.Sprintf("one false alarm a series in %v days", f.days)
	}
	return fmt.Sprintf("open at %.2f", models.ScoreOf(f.threshold).Float())
}

// matchOps are the contract's numbers of Prometheus' operators.
var matchOps = map[labels.MatchType]homeostatv1.MatchOp{
	labels.MatchEqual: homeostatv1.MatchOp_MATCH_OP_EQUAL, labels.MatchNotEqual: homeostatv1.MatchOp_MATCH_OP_NOT_EQUAL,
	labels.MatchRegexp: homeostatv1.MatchOp_MATCH_OP_REGEXP, labels.MatchNotRegexp: homeostatv1.MatchOp_MATCH_OP_NOT_REGEXP,
}

func (f *whatIfFlags) askServer(cmd *cobra.Command) (*engine.WhatIf, *engine.TailReport, error) {
	client, hangUp, err := f.dial()
	if err != nil {
		return nil, nil, err
	}
	defer hangUp()
	req := &homeostatv1.WhatIfRequest{Last: durationpb.New(time.Duration(f.last))}
	if f.days != 0 {
		req.Rule = &homeostatv1.WhatIfRequest_FalseAlarmDays{FalseAlarmDays: f.days}
	} else {
		req.Rule = &homeostatv1.WhatIfRequest_Threshold{Threshold: f.threshold}
	}
	for _, m := range f.matchers {
		req.Matchers = append(req.Matchers, &homeostatv1.LabelMatcher{Name: m.Name, Op: matchOps[m.Type], Value: m.Value})
	}
	answer, err := client.WhatIf(cmd.Context(), req)
	if err != nil {
		return nil, nil, f.told(err)
	}
	w, err := wire.WhatIfFromProto(answer.GetWhatIf())
	if err != nil {
		return nil, nil, err
	}
	rep := &engine.TailReport{Lost: answer.GetLostPoints(), MoreGaps: int(answer.GetMoreGaps())}
	for _, g := range answer.GetGaps() {
		gap := engine.TailGap{Points: g.GetPoints(), Why: g.GetWhy()}
		if g.GetAfterTime() != nil {
			gap.After = g.GetAfterTime().AsTime().UnixMilli()
		}
		if g.GetBeforeTime() != nil {
			gap.Before = g.GetBeforeTime().AsTime().UnixMilli()
		}
		rep.Gaps = append(rep.Gaps, gap)
	}
	return w, rep, nil
}

func (f *whatIfFlags) readStore(cmd *cobra.Command) (*engine.WhatIf, *engine.TailReport, error) {
	if _, err := os.Stat(f.storage); err != nil {
		return nil, nil, fmt.Errorf("reading a store: %w", err)
	}
	cfg, err := loadConfig(f.config)
	if err != nil {
		return nil, nil, err
	}
	d := engine.NewDocket()
	err = store.Read(f.storage, 0, func(_ uint64, r engine.Record) error {
		d.Take(r)
		return nil
	})
	if errors.Is(err, store.ErrDamaged) {
		fmt.Fprintf(cmd.ErrOrStderr(), "homeostat: what people said is known up to a damage only: %v\n", err)
		err = nil
	}
	if err != nil {
		return nil, nil, err
	}
	rule := engine.DaysRule(f.days)
	if f.threshold != 0 {
		rule = engine.OpenRule(models.ScoreOf(f.threshold))
	}
	scan := func(from, to int64, wanted func(*engine.Series) bool, fn func(*engine.TailPoint) error) (engine.TailReport, error) {
		return store.ReadTail(f.storage, from, to, wanted, fn)
	}
	wanted := func(s *engine.Series) bool {
		for _, m := range f.matchers {
			if !m.Matches(s.Labels.Get(m.Name)) {
				return false
			}
		}
		return true
	}
	w, rep, err := engine.Try(scan, wanted, time.Duration(f.last).Milliseconds(), engine.TrialConfig{
		Rule: rule, Gap: cfg.Detection.IncidentGap.Milliseconds(), Judged: d.Judged(), Most: 10_000,
	})
	return w, &rep, err
}

// maxShown bounds how many alerts of one sort a table names.
const maxShown = 50

// writeWhatIf writes a what-if for people.
func writeWhatIf(w io.Writer, rule string, r *engine.WhatIf, rep *engine.TailReport) error {
	var b strings.Builder
	fmt.Fprintf(&b, "What if: %s. %s to %s, %d points of %d series that scored in the tail.\n\n",
		rule, minute(r.From), minute(r.To), r.Points, r.Series)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tin force\twhat if\t")
	fmt.Fprintf(t, "alerts\t%d\t%d\t\n", r.Base.Alerts, r.Candidate.Alerts)
	fmt.Fprintf(t, "incidents a week, about\t%.1f\t%.1f\t\n", r.Base.IncidentsPerWeek, r.Candidate.IncidentsPerWeek)
	if err := t.Flush(); err != nil {
		return err
	}
	b.WriteByte('\n')
	writeAlerts(&b, "lost", r.Lost, r.MoreLost)
	writeAlerts(&b, "gained", r.Gained, r.MoreGained)
	fmt.Fprintf(&b, "kept: %d; %d of them later, %d earlier, by %v on average, at most %v later\n", r.Kept, r.Later, r.Earlier,
		time.Duration(r.DelayMean)*time.Millisecond, time.Duration(r.DelayMax)*time.Millisecond)
	fmt.Fprintf(&b, "labelled right: %d kept, %d lost; labelled false alarm: %d gone, %d remaining\n",
		r.HitsKept, len(r.HitsLost), r.FalseGone, r.FalseRemains)
	for _, j := range r.HitsLost {
		fmt.Fprintf(&b, "  LOST  %s  anomaly %s, label %q\n", minute(j.OpenedAt), j.Anomaly, j.Request)
	}
	if n := len(rep.Gaps) + rep.MoreGaps; n > 0 {
		fmt.Fprintf(&b, "%d points were not kept, and in %d gaps alerts may differ; the first: %s to %s, %s\n",
			rep.Lost, n, minute(rep.Gaps[0].After), minute(rep.Gaps[0].Before), rep.Gaps[0].Why)
	}
	if r.Differ > 0 {
		fmt.Fprintf(&b, "%d openings differ from what happened live: around a gap or a crash\n", r.Differ)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeAlerts(b *strings.Builder, word string, alerts []engine.Alert, more int) {
	fmt.Fprintf(b, "%s: %d\n", word, len(alerts)+more)
	for i := range alerts[:min(len(alerts), maxShown)] {
		a := &alerts[i]
		fmt.Fprintf(b, "  %s  %6.2f  %-4s  %s\n", minute(a.OpenedAt), a.Peak.Float(), a.Channel, a.Series.Text())
	}
	if rest := len(alerts) + more - maxShown; rest > 0 {
		fmt.Fprintf(b, "  and %d more; -o json names them\n", rest)
	}
}

// minute is a time in ms for people.
func minute(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05")
}
