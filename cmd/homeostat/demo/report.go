package demo

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

// The report is one page that holds everything itself: its style, and its
// pictures as SVG. It needs no script and fetches nothing. html/template escapes
// what strangers typed.

//go:embed report.html
var reportText string

var reportPage = template.Must(template.New("report").Parse(reportText))

type reportData struct {
	Where      string
	Rows       []cardRow
	Total      cardRow
	Scored     string
	Recordings []reportRecording
	Lessons    []reportLesson
}

type cardRow struct {
	Name, Delay                 string
	Found, Missed, False, Named int
}

type reportRecording struct {
	Name, About string
	Uncounted   []string
	Timeline    timeline
	Events      []reportEvent
	Plots       []figure
}

// reportEvent is a line of truth or an alarm.
type reportEvent struct {
	Class, At, Head, Text string
	More                  []string
}

type reportLesson struct {
	Text   string
	Labels string
	Moves  []string
	Before cardRow
	After  cardRow
	Became []reportEvent
}

// The pictures' sizes in their own units; the page scales them.
const (
	figureWidth   = 960
	figureHeight  = 220
	figureLeft    = 64
	figureTop     = 10
	figureBottom  = 30
	timelineWidth = 960
)

// bar is a stretch of time in a picture, with the words that hovering shows.
type bar struct {
	Class, Title string
	X, W         string
}

type timeline struct {
	Faults, Nuisances, Alarms []bar
	Learning                  string // width of the learning stretch
	Ticks                     []tickMark
	Words                     string
}

type tickMark struct{ X, Text string }

// figure is a scene as SVG: polygons and lines of "x,y" pairs.
type figure struct {
	Title, Series, Workload string
	Fault                   *bar
	Told                    []bar
	Bands, Expected, Values []string
	Abnormal                []string
	Ticks                   []tickMark
	High, Middle, Low       string
	Note                    string
}

func writeReport(w io.Writer, cfg *Config, stories []*story, sum *scorecard.Sum, lessons []*lesson) error {
	data := reportData{Where: cfg.Where, Total: rowOf("all", sum), Scored: span(sum.Scored)}
	for _, st := range stories {
		data.Rows = append(data.Rows, rowOfPass(st.rec.truth.Name, st.pass))
		data.Recordings = append(data.Recordings, st.report())
	}
	for i, l := range lessons {
		data.Lessons = append(data.Lessons, l.report(i > 0))
	}
	if err := reportPage.Execute(w, data); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func rowOf(name string, sum *scorecard.Sum) cardRow {
	return cardRow{Name: name, Delay: delay(sum), Found: sum.Found, Missed: sum.Faults - sum.Found, False: sum.False, Named: sum.Named}
}

func rowOfPass(name string, p *pass) cardRow {
	var one scorecard.Sum
	one.Add(&p.card)
	return rowOf(name, &one)
}

func (st *story) report() reportRecording {
	t := &st.rec.truth
	out := reportRecording{
		Name: t.Name,
		About: fmt.Sprintf("%s at a scrape every %s, %s, %s samples; %s", span(t.End.Sub(t.Start)), span(time.Duration(st.rec.step())*time.Millisecond),
			count(st.pass.series, "series"), grouped(st.rec.samples), st.made()),
		Uncounted: st.uncounted(),
		Timeline:  st.timeline(),
	}
	for _, e := range st.events(reportLimits) {
		out.Events = append(out.Events, st.reportEvent(e))
	}
	for _, s := range st.scenes {
		if len(s.points) > 0 {
			out.Plots = append(out.Plots, s.figure())
		}
	}
	return out
}

func (st *story) reportEvent(e event) reportEvent {
	switch {
	case e.alarm != nil:
		return st.reportAlarm(e.alarm)
	case e.more > 0:
		return reportEvent{Class: "repeat", Head: e.moreText()}
	case e.missed:
		return reportEvent{Class: "missed", Head: "MISSED", Text: "no alarm started while it lasted"}
	}
	f := e.what
	out := reportEvent{Class: "fault", At: stamp(f.Start), Head: "fault"}
	if e.harmless {
		out.Class, out.Head = "nuisance", "harmless"
	}
	out.Text = fmt.Sprintf("%s in %s for %s: %s", f.Kind, workloadName(f.Workload), span(f.End.Sub(f.Start)), clean(f.Words))
	return out
}

func (st *story) reportAlarm(a *alarm) reportEvent {
	out := reportEvent{At: stamp(a.At), Text: kindOf(a) + " in " + workloadName(a.Workload)}
	switch a.Verdict {
	case scorecard.Found:
		out.Class, out.Head = "found", "FOUND after "+span(st.pass.card.Lines[a.Fault].Delay)
	case scorecard.Repeat:
		f := &st.rec.truth.Faults[a.Fault]
		out.Class, out.Head = "repeat", "also"
		switch {
		case slices.Contains(st.namers(), a):
			out.Class, out.Head = "found", "names the culprit after "+span(a.At.Sub(f.Start))
		case a.At.After(f.End):
			out.Head = "its echo"
		}
	default:
		out.Class, out.Head = "false", "FALSE"
		out.Text += meanwhile(&st.rec.truth, a)
	}
	if a.first != nil {
		out.More = append([]string{why(a.first)}, reasons(a.first)...)
	}
	return out
}

// maxMoves bounds the thresholds that the report names one by one.
const maxMoves = 12

func (l *lesson) report(again bool) reportLesson {
	t := &l.story.rec.truth
	a := l.labelled[0]
	out := reportLesson{
		Text: fmt.Sprintf("The weakest false alarm of all, %s in %s at %s of %s, is labelled false, and the recording is replayed again with the label in place from %s on.",
			kindOf(a), workloadName(a.Workload), stamp(a.At), t.Name, stamp(t.ScoredFrom)),
		Before: rowOfPass("before", l.story.pass), After: rowOfPass("after", l.after),
	}
	if again {
		out.Text = fmt.Sprintf("Every false alarm of %s that a threshold decides over is labelled; of one series, three labels a day count.", t.Name)
	}
	labels, moved := l.count(), l.moved()
	out.Labels = fmt.Sprintf("%s, %s moved", count(labels, "label"), count(len(moved), "threshold"))
	for _, m := range moved[:min(len(moved), maxMoves)] {
		out.Moves = append(out.Moves, fmt.Sprintf("threshold of %s: %.2f → %.2f", seriesName(m.series), m.move.Before.Open.Float(), m.move.After.Open.Float()))
	}
	if n := len(moved) - maxMoves; n > 0 {
		out.Moves = append(out.Moves, fmt.Sprintf("and %d more", n))
	}
	for _, group := range []struct {
		class, head string
		alarms      []*alarm
	}{{"found", "gone", l.gone}, {"missed", "later", l.later}, {"false", "still there", l.stay}, {"false", "new", l.fresh}} {
		for _, a := range group.alarms {
			out.Became = append(out.Became, reportEvent{Class: group.class, At: stamp(a.At), Head: group.head, Text: kindOf(a) + " in " + workloadName(a.Workload)})
		}
	}
	return out
}

// timeline is the whole recording: what was done, and what was told.
func (st *story) timeline() timeline {
	t := &st.rec.truth
	from, to := t.Start.UnixMilli(), t.End.UnixMilli()
	x := func(at int64) float64 {
		return timelineWidth * float64(min(max(at, from), to)-from) / float64(to-from)
	}
	stretch := func(class string, f *scorecard.Fault) bar {
		a, b := x(f.Start.UnixMilli()), x(f.End.UnixMilli())
		return bar{class, clean(fmt.Sprintf("%s %s: %s", stamp(f.Start), f.Kind, f.Words)), coord(a), coord(math.Max(b-a, 2))}
	}
	out := timeline{Learning: coord(x(t.ScoredFrom.UnixMilli())), Ticks: ticks(from, to, 0, timelineWidth)}
	for i := range t.Faults {
		out.Faults = append(out.Faults, stretch("fault", &t.Faults[i]))
	}
	for i := range t.Nuisances {
		out.Nuisances = append(out.Nuisances, stretch("nuisance", &t.Nuisances[i]))
	}
	for _, s := range t.Stalls {
		out.Nuisances = append(out.Nuisances, stretch("stall", &scorecard.Fault{Kind: "stall", Start: s.Start, End: s.End, Words: "the recording machine stood still"}))
	}
	for _, a := range st.pass.alarms {
		class := map[scorecard.Verdict]string{scorecard.Learning: "learning", scorecard.Found: "found", scorecard.Repeat: "repeat", scorecard.Stalled: "stalled", scorecard.False: "false"}[a.Verdict]
		out.Alarms = append(out.Alarms, bar{class, fmt.Sprintf("%s %s: %s in %s", stamp(a.At), class, kindOf(a), workloadName(a.Workload)), coord(x(a.opened.At)), ""})
	}
	out.Words = fmt.Sprintf("%s from %s to %s: %s, %s, %s", t.Name, stamp(t.Start), stamp(t.End),
		count(len(t.Faults), "fault"), count(len(t.Nuisances), "harmless event"), count(len(st.pass.alarms), "alarm"))
	return out
}

// figure is the scene as SVG.
func (s *scene) figure() figure {
	low, high := s.extent()
	x := func(at int64) float64 {
		return figureLeft + (figureWidth-figureLeft)*float64(min(max(at, s.from), s.to)-s.from)/float64(max(1, s.to-s.from))
	}
	y := func(v float64) float64 {
		return figureTop + (figureHeight-figureTop-figureBottom)*(high-min(max(v, low), high))/(high-low)
	}
	f := figure{
		Title: s.title, Series: seriesName(s.series), Workload: workloadName(string(s.series.Workload)),
		High: short(high), Middle: short((high + low) / 2), Low: short(low), Ticks: ticks(s.from, s.to, figureLeft, figureWidth),
	}
	if strings.HasSuffix(s.series.Labels.Get("__name__"), ":error_ratio") {
		f.Note = "The band is that of 100 requests."
	}
	if s.fault != nil {
		a, b := x(s.fault.Start.UnixMilli()), x(s.fault.End.UnixMilli())
		f.Fault = &bar{"fault", clean(s.fault.Words), coord(a), coord(math.Max(b-a, 1))}
	}
	for _, at := range s.told {
		f.Told = append(f.Told, bar{"told", "told at " + stampOf(at), coord(x(at)), ""})
	}
	for _, run := range s.runs() {
		var values, expected []string
		for _, p := range run {
			values = append(values, pair(x(p.at), y(p.value)))
			if p.warm {
				expected = append(expected, pair(x(p.at), y(p.expected)))
			}
		}
		f.Abnormal = append(f.Abnormal, abnormalOf(run, x, y)...)
		f.Values = append(f.Values, strings.Join(values, " "))
		if len(expected) > 1 {
			f.Expected = append(f.Expected, strings.Join(expected, " "))
		}
		f.Bands = append(f.Bands, bandOf(run, x, y)...)
	}
	return f
}

// runs are the stretches of points without a gap.
func (s *scene) runs() [][]point {
	var out [][]point
	from := 0
	for i := 1; i <= len(s.points); i++ {
		if i == len(s.points) || s.points[i].at-s.points[i-1].at > s.gap {
			out = append(out, s.points[from:i])
			from = i
		}
	}
	return out
}

// bandOf are the polygons of a run's band, one for each stretch that has one.
func bandOf(run []point, x func(int64) float64, y func(float64) float64) []string {
	var out []string
	for from := 0; from < len(run); from++ {
		if !run[from].band {
			continue
		}
		to := from
		for to < len(run) && run[to].band {
			to++
		}
		var upper, lower []string
		for _, p := range run[from:to] {
			upper = append(upper, pair(x(p.at), y(p.upper)))
		}
		for i := to - 1; i >= from; i-- {
			lower = append(lower, pair(x(run[i].at), y(run[i].lower)))
		}
		if to-from > 1 {
			out = append(out, strings.Join(append(upper, lower...), " "))
		}
		from = to
	}
	return out
}

// abnormalOf are the lines of a run that lead to an abnormal point, one for each
// stretch of them.
func abnormalOf(run []point, x func(int64) float64, y func(float64) float64) []string {
	var out []string
	for i := 0; i < len(run); i++ {
		if !run[i].abnormal() {
			continue
		}
		from := max(0, i-1)
		for i < len(run) && run[i].abnormal() {
			i++
		}
		var line []string
		for _, p := range run[from:i] {
			line = append(line, pair(x(p.at), y(p.value)))
		}
		out = append(out, strings.Join(line, " "))
	}
	return out
}

// ticks are five times along an axis.
func ticks(from, to int64, left, right float64) []tickMark {
	var out []tickMark
	for i := range 5 {
		share := (float64(i) + 0.5) / 5
		at := from + int64(share*float64(to-from))
		out = append(out, tickMark{coord(left + (right-left)*share), stampOf(at)})
	}
	return out
}

func coord(v float64) string { return fmt.Sprintf("%.1f", v) }

func pair(x, y float64) string { return coord(x) + "," + coord(y) }
