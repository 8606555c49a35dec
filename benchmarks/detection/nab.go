package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/homeostat/homeostat/benchmarks/detection/measure"
	"github.com/homeostat/homeostat/models"
)

// nabScores is the NAB score of one profile. A row is detected when its score is
// the threshold or more, as with any detector that NAB knows.
type nabScores struct {
	// Optimised is at the one threshold that is best on all series: an oracle's.
	Optimised float64 `json:"optimised"`
	// Shipped is at the threshold in force for each series, by its interval, and
	// with the rows at which the other channels alert.
	Shipped float64 `json:"shipped"`

	at     float64     // the optimised threshold
	alerts alertScores // the same, where an alert is one detection
}

// alertScores is the NAB score of alerts: the row at which one starts is
// detected and no other, as a person is told once.
type alertScores struct {
	optimised float64 // of score's channel with one threshold for all series, and the others as shipped
	shipped   float64 // of the alerts that there were
	at        float64
}

// nabSummary is the three profiles.
type nabSummary struct {
	Standard nabScores `json:"standard"`
	LowFP    nabScores `json:"low_fp"`
	LowFN    nabScores `json:"low_fn"`
}

func (n *nabSummary) profiles() []*nabScores { return []*nabScores{&n.Standard, &n.LowFP, &n.LowFN} }

// nabInput is what NAB's score of our detector takes of each series.
type nabInput struct {
	score  []measure.NABSeries // the score of each row
	margin []measure.NABSeries // the score less the series' threshold, at least 0 where another channel alerts
	alerts [][]int             // the rows at which an alert starts
	others [][]int             // those at which another channel's do
}

func (n *nabInput) add(s *series, x *scored) {
	margin := make([]float64, len(x.score))
	for i, v := range x.score {
		margin[i] = v - x.threshold
	}
	for _, row := range x.otherRows {
		margin[row] = max(margin[row], 0)
	}
	n.score = append(n.score, measure.NABSeries{Score: x.score, Windows: s.windows})
	n.margin = append(n.margin, measure.NABSeries{Score: margin, Windows: s.windows})
	n.alerts = append(n.alerts, x.startRows)
	n.others = append(n.others, x.otherRows)
}

func (n *nabInput) scores() *nabSummary {
	byScore, byMargin := measure.NewNAB(n.score), measure.NewNAB(n.margin)
	sum := &nabSummary{}
	for i, s := range sum.profiles() {
		p := measure.NABProfiles[i]
		s.Optimised, s.at = byScore.Best(p)
		s.Shipped = byMargin.At(p, 0)
		s.alerts.shipped = byScore.Of(p, n.alerts)
	}
	for open := models.Score(1); open <= models.MaxScore; open++ {
		starts := n.startsAt(open)
		for i, s := range sum.profiles() {
			if v := byScore.Of(measure.NABProfiles[i], starts); v > s.alerts.optimised {
				s.alerts.optimised, s.alerts.at = v, open.Float()
			}
		}
	}
	return sum
}

// startsAt is the rows at which alerts would start if the threshold of score's
// channel were another one.
func (n *nabInput) startsAt(open models.Score) [][]int {
	starts := make([][]int, len(n.score))
	for i, s := range n.score {
		starts[i] = append(starts[i], n.others[i]...)
		var a models.Alarm
		for row, v := range s.Score {
			if a.Step(models.ScoreOf(v), open, open/2) == models.Opened {
				starts[i] = append(starts[i], row)
			}
		}
	}
	return starts
}

// tolerance is how far our figure may be from an official one, which is given
// to four digits.
const tolerance = 0.01

// published are the official figures that NAB gives at a threshold which is not
// the best one of the stored scores: its config/thresholds.json keeps what an
// earlier search, by climbing, had found.
var published = map[string]float64{
	"numenta reward_low_FP_rate": 0.5751955032348636,
}

// checkResults scores the stored point scores of published detectors and fails
// if any figure differs from the official one.
func checkResults(w io.Writer, dir string) error {
	c, err := openCorpus(dir)
	if err != nil {
		return err
	}
	if c == nil {
		return fmt.Errorf("%s holds no labels/combined_windows.json", dir)
	}
	official, err := readOfficial(filepath.Join(dir, "results", "final_results.csv"))
	if err != nil {
		return err
	}
	detectors, err := os.ReadDir(filepath.Join(dir, "results"))
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "detector\tprofile\tours\tofficial\tdifference\tour best\t")
	checked, wrong := 0, 0
	for _, d := range detectors {
		if !d.IsDir() {
			continue
		}
		want, ok := official[d.Name()]
		if !ok {
			return fmt.Errorf("results/final_results.csv does not name %s", d.Name())
		}
		nab, err := c.readDetector(d.Name())
		if err != nil {
			return fmt.Errorf("%s: %w", d.Name(), err)
		}
		for i, p := range measure.NABProfiles {
			best, _ := nab.Best(p)
			got := best
			if at, ok := published[d.Name()+" "+p.Name]; ok {
				got = nab.At(p, at)
			}
			checked++
			if math.Abs(got-want[i]) > tolerance {
				wrong++
			}
			fmt.Fprintf(t, "%s\t%s\t%.4f\t%.4f\t%+.4f\t%.4f\t\n", d.Name(), p.Name, got, want[i], got-want[i], best)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	switch {
	case checked == 0:
		return fmt.Errorf("%s holds no detector's scores", filepath.Join(dir, "results"))
	case wrong > 0:
		return fmt.Errorf("%d of %d figures differ by more than %v", wrong, checked, tolerance)
	}
	return nil
}

// readDetector reads the stored scores of one detector on the whole corpus.
func (c *corpus) readDetector(detector string) (*measure.NAB, error) {
	var all []measure.NABSeries
	for _, name := range slices.Sorted(maps.Keys(c.windows)) {
		var at []int64
		var s measure.NABSeries
		path := filepath.Join(c.root, "results", detector, filepath.FromSlash(name))
		if _, err := os.Stat(path); err != nil {
			path += ".gz"
		}
		err := readRows(path, func(row []string) error {
			t, _, err := parseTime(row[0])
			if err != nil {
				return err
			}
			v, err := strconv.ParseFloat(row[1], 64)
			if err == nil && math.IsNaN(v) {
				err = errors.New("a score is not a number")
			}
			at, s.Score = append(at, t), append(s.Score, v)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if s.Windows, _, err = c.windowsOf(name, at); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, s)
	}
	return measure.NewNAB(all), nil
}

// readOfficial reads the published scores: detector, and the three profiles.
func readOfficial(path string) (map[string][3]float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	scores := map[string][3]float64{}
	for i, row := range rows {
		if i == 0 || len(row) != 4 {
			continue
		}
		var s [3]float64
		for k := range s {
			if s[k], err = strconv.ParseFloat(row[k+1], 64); err != nil {
				return nil, fmt.Errorf("%s: line %d: %w", path, i+1, err)
			}
		}
		scores[row[0]] = s
	}
	return scores, nil
}
