package demo

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
	"github.com/homeostat/homeostat/engine"
)

// opening says what will be seen.
func (s *screen) opening(cfg *Config) {
	s.para("", 0, piece{"homeostat demo", bold})
	s.blank()
	s.para("", 0, in(plain, "%s, %s. Each is replayed now by the code that `homeostat serve` runs, with the settings that it starts with. No server is started, nothing is sent and nothing is stored.",
		count(len(cfg.Names), "recording"), cfg.Where))
	s.para("", 0, piece{"What was done to the shop in each recording is known, so every alarm is held against the truth. Times are the recordings' own.", dim})
}

// story tells of one recording: what was done, what was found, how it looked.
func (s *screen) story(n, of int, st *story) {
	t := &st.rec.truth
	s.heading(fmt.Sprintf("%d/%d  %s", n, of, t.Name))
	s.para("  ", 2, in(dim, "%s at a scrape every %s, %s, %s samples; %s", span(t.End.Sub(t.Start)), span(time.Duration(st.rec.step())*time.Millisecond),
		count(st.pass.series, "series"), grouped(st.rec.samples), st.made()))
	for _, line := range st.uncounted() {
		s.para("  ", 2, in(dim, "%s", line))
	}
	s.blank()
	for _, e := range st.events(terminalLimits) {
		switch {
		case e.alarm != nil:
			s.alarm(st, e.alarm, e.brief)
		case e.more > 0 && e.what == nil:
			s.para("  ", 4, piece{stamp(e.at), plain}, in(red, "  ✘ %s", e.moreText()))
		case e.more > 0:
			s.para("    ", 6, in(dim, "· %s", e.moreText()))
		case e.missed:
			s.para("    ", 4, piece{"MISSED", yellow}, piece{" no alarm started while it lasted", plain})
		case e.harmless:
			s.truth("harmless", e.what)
		default:
			s.truth("fault", e.what)
		}
	}
	if len(t.Faults) == 0 && st.pass.card.False == 0 {
		s.para("    ", 4, piece{"quiet: ", green}, piece{"not one alarm that counts, and none was due", plain})
	}
	if sc := st.poster(); sc != nil && len(sc.points) > 0 {
		s.blank()
		s.plot(sc)
	}
}

// made says how the recording came to be.
func (st *story) made() string {
	t := &st.rec.truth
	switch {
	case t.Generated:
		return "computed, no program ran"
	case t.Compression > 1:
		return fmt.Sprintf("recorded from programs that ran, sped up %g times", t.Compression)
	}
	return "recorded from programs that ran"
}

// uncounted says which alarms count neither way, and why.
func (st *story) uncounted() []string {
	t := &st.rec.truth
	out := []string{fmt.Sprintf("until %s it learns and alarms do not count (%s)", stamp(t.ScoredFrom), count(len(st.pass.of(scorecard.Learning)), "alarm"))}
	if n := len(t.Stalls); n > 0 {
		out = append(out, fmt.Sprintf("the recording machine itself stood still in %s, and alarms of that do not count (%s)",
			count(n, "stretch"), count(len(st.pass.of(scorecard.Stalled)), "alarm")))
	}
	if n := st.pass.held; n > 0 {
		out = append(out, fmt.Sprintf("%s held and told to nobody, such as faults of the data", count(n, "incident")))
	}
	return out
}

func (s *screen) truth(class string, f *scorecard.Fault) {
	ink := yellow
	if class == "harmless" {
		ink = blue
	}
	s.para("  ", 4, piece{stamp(f.Start), plain}, in(ink, "  %s", class), in(plain, " %s in %s for %s: %s", f.Kind, workloadName(f.Workload), span(f.End.Sub(f.Start)), f.Words))
}

// event is one line of what happened, in order of time.
type event struct {
	at       time.Time
	what     *scorecard.Fault // truth
	harmless bool
	missed   bool
	alarm    *alarm
	brief    bool // without the alarm's reasons
	more     int  // further alarms: of the fault that what is, or false ones
}

// limits bound how many alarms are told one by one.
type limits struct {
	repeats int // further ones of each fault
	reasons int // false ones with their reasons
	alarms  int // false ones in all
}

var (
	terminalLimits = limits{repeats: 2, reasons: 2, alarms: 8}
	reportLimits   = limits{repeats: 20, reasons: 500, alarms: 500}
)

// events puts truth and alarms in order of time.
func (st *story) events(most limits) []event {
	t := &st.rec.truth
	var out []event
	for i := range t.Faults {
		out = append(out, event{at: t.Faults[i].Start, what: &t.Faults[i]})
		if !st.pass.card.Lines[i].Found {
			out = append(out, event{at: t.Faults[i].Start, missed: true})
		}
	}
	for i := range t.Nuisances {
		out = append(out, event{at: t.Nuisances[i].Start, what: &t.Nuisances[i], harmless: true})
	}
	repeats, falses := map[int]int{}, 0
	named := st.namers()
	for _, a := range st.pass.alarms {
		brief := false
		switch a.Verdict {
		case scorecard.Learning, scorecard.Stalled:
			continue
		case scorecard.Repeat:
			if slices.Contains(named, a) {
				break
			}
			if repeats[a.Fault]++; repeats[a.Fault] > most.repeats {
				out = another(out, a.At, &t.Faults[a.Fault])
				continue
			}
		case scorecard.False:
			if falses++; falses > most.alarms {
				out = another(out, a.At, nil)
				continue
			}
			brief = falses > most.reasons
		}
		out = append(out, event{at: a.At, alarm: a, brief: brief})
	}
	slices.SortStableFunc(out, func(a, b event) int { return a.at.Compare(b.at) })
	return out
}

// namers are the alarms that name the culprit of a fault first, where another
// alarm found it.
func (st *story) namers() []*alarm {
	var out []*alarm
	done := map[int]bool{}
	for _, a := range st.pass.alarms {
		if a.Fault < 0 || done[a.Fault] {
			continue
		}
		f := &st.rec.truth.Faults[a.Fault]
		if a.Workload != f.Workload || a.At.After(f.End) {
			continue
		}
		done[a.Fault] = true
		if a.Verdict == scorecard.Repeat {
			out = append(out, a)
		}
	}
	return out
}

// another counts one more alarm of a fault, or one more false one, where the
// first that is not told stood.
func another(out []event, at time.Time, of *scorecard.Fault) []event {
	if i := slices.IndexFunc(out, func(e event) bool { return e.more > 0 && e.what == of }); i >= 0 {
		out[i].more++
		return out
	}
	return append(out, event{at: at, more: 1, what: of})
}

// moreText says how many alarms aren't told one by one.
func (e *event) moreText() string {
	if e.what == nil {
		return "and " + count(e.more, "more false alarm")
	}
	return "and " + count(e.more, "alarm") + " more of it"
}

// alarm tells of one alarm beside its verdict.
func (s *screen) alarm(st *story, a *alarm, brief bool) {
	t := &st.rec.truth
	about := in(plain, " %s in %s", kindOf(a), workloadName(a.Workload))
	switch a.Verdict {
	case scorecard.Found:
		f := &st.pass.card.Lines[a.Fault]
		named := ", the culprit"
		if a.Workload != f.Workload {
			named = ", not the culprit"
		}
		s.para("    ", 6, piece{"✔ ", green}, in(green, "FOUND after %s:", span(f.Delay)), about, piece{named, plain})
	case scorecard.Repeat:
		f := &t.Faults[a.Fault]
		switch {
		case slices.Contains(st.namers(), a):
			s.para("    ", 6, in(green, "· names the culprit after %s:", span(a.At.Sub(f.Start))), about)
		case a.At.After(f.End):
			s.para("    ", 6, in(dim, "· its echo, at %s:%s", stamp(a.At), about.text))
		default:
			s.para("    ", 6, in(dim, "· also, at %s:%s", stamp(a.At), about.text))
		}
		return
	default:
		s.para("  ", 4, piece{stamp(a.At), plain}, piece{"  ✘ FALSE:", red}, about, piece{meanwhile(t, a), plain})
	}
	if a.first == nil || brief {
		return
	}
	s.para("      ", 8, in(plain, "%s", why(a.first)))
	for _, line := range reasons(a.first) {
		s.para("      ", 8, in(dim, "%s", line))
	}
	if n := len(a.last.Members) + a.last.Dropped - 1; n > 0 {
		s.para("      ", 8, in(dim, "and %s more in the same incident", count(n, "anomaly")))
	}
}

// reasons are the anomaly's counterfactual and the strongest factor that its own
// words do not have.
func reasons(a *engine.Anomaly) []string {
	switch a.Kind {
	case engine.KindDataFault:
		return nil
	case engine.KindSilence:
		return []string{clean(a.Factors[0].Text)}
	}
	out := []string{fmt.Sprintf("score %.1f over a threshold of %.1f; %s", a.Score.Float(), a.Threshold.Open.Float(), a.Quiet.Text)}
	for _, f := range a.Factors {
		if !strings.Contains(a.Why(), f.Text) {
			return append(out, clean(f.Text))
		}
	}
	return out
}

// meanwhile names the harmless thing that happened when an alarm came. It
// excuses nothing.
func meanwhile(t *scorecard.Truth, a *alarm) string {
	for _, n := range t.Nuisances {
		if !a.At.Before(n.Start) && !a.At.After(n.End.Add(scorecard.Aftermath)) {
			return ", while " + string(n.Kind) + " of " + workloadName(n.Workload) + " was harmless"
		}
	}
	return ""
}

func kindOf(a *alarm) string {
	if a.first == nil {
		return "trouble"
	}
	return strings.ReplaceAll(a.first.Kind.String(), "_", " ")
}

// poster is the scene that the terminal shows: the worst fault that was found,
// else one that was missed, else the worst of what is left.
func (st *story) poster() *scene {
	var best *scene
	rank := func(s *scene) int {
		switch {
		case s.fault != nil && s.found:
			return 2
		case s.fault != nil:
			return 1
		}
		return 0
	}
	for _, s := range st.scenes {
		if best == nil || rank(s) > rank(best) || rank(s) == rank(best) && s.weight > best.weight {
			best = s
		}
	}
	return best
}

// card writes the score card of all recordings.
func (s *screen) card(stories []*story, sum *scorecard.Sum) {
	s.heading("Score card")
	s.blank()
	const figures = 32
	name := len("name")
	for _, st := range stories {
		name = max(name, utf8.RuneCountInString(st.rec.truth.Name))
	}
	column := min(name, s.style.Width-figures)
	row := func(i ink, cells ...any) {
		if text := cells[0].(string); utf8.RuneCountInString(text) > column {
			s.para("", 2, piece{text, i})
			cells[0] = ""
		}
		s.line(in(i, fmt.Sprintf("%%-%ds%%6v%%7v%%6v%%7v%%6v", column), cells...))
	}
	row(dim, "name", "found", "missed", "false", "delay", "named")
	for _, st := range stories {
		var one scorecard.Sum
		one.Add(&st.pass.card)
		row(plain, clean(st.rec.truth.Name), one.Found, one.Faults-one.Found, one.False, delay(&one), one.Named)
	}
	row(bold, "all", sum.Found, sum.Faults-sum.Found, sum.False, delay(sum), sum.Named)
	s.blank()
	s.para("", 0, in(plain, "%d of %s found, %d with the culprit named, %s in %s of recorded time.",
		sum.Found, count(sum.Faults, "fault"), sum.Named, count(sum.False, "false alarm"), span(sum.Scored)))
	s.para("", 0, piece{"delay: from the fault's start to the first alarm, the median of several. An alarm is false when no fault lasted; what is harmless excuses none.", dim})
}

func delay(sum *scorecard.Sum) string {
	if sum.Found == 0 {
		return "-"
	}
	return span(sum.MedianDelay())
}

// lessons tells what a label came to.
func (s *screen) lessons(stories []*story, lessons []*lesson) {
	s.heading("Tell it when it is wrong")
	s.blank()
	if len(lessons) == 0 {
		n := 0
		for _, st := range stories {
			n += st.pass.card.False
		}
		text := "There was no false alarm, so there is nothing to label."
		if n > 0 {
			text = "The false alarms are of silence and of data faults, over which no threshold decides, so there is nothing to label."
		}
		s.para("", 0, piece{text, plain})
		s.para("", 0, piece{"`homeostat label ANOMALY false-alarm` raises the threshold of its series by one step of 5 %, `homeostat undo` takes that back exactly.", plain})
		return
	}
	for i, l := range lessons {
		if i > 0 {
			s.blank()
		}
		s.lesson(l, i > 0)
	}
}

func (s *screen) lesson(l *lesson, again bool) {
	t := &l.story.rec.truth
	if !again {
		a := l.labelled[0]
		s.para("", 0, in(plain, "The weakest false alarm of all: %s of %s, %s in %s, at most %.2f times its threshold. A person says so:",
			stamp(a.At), t.Name, kindOf(a), workloadName(a.Workload), a.excess()))
	} else {
		s.para("", 0, in(plain, "And if a person labelled every false alarm of %s that a threshold decides over? (Of one series, three labels a day count.)", t.Name))
	}
	labels, moved := l.count(), l.moved()
	if again {
		s.para("  ", 4, in(plain, "%s, which move %s", count(labels, "label"), count(len(moved), "threshold")))
	} else {
		for _, m := range l.labelled[0].members[:min(labels, maxCommands)] {
			s.para("  ", 4, in(bold, "homeostat label %s false-alarm", m.ID))
		}
		if n := labels - maxCommands; n > 0 {
			s.para("  ", 4, in(dim, "and %d more, one for each anomaly of it", n))
		}
		s.para("", 0, in(plain, "Then %s is replayed again with %s in place from %s on:", t.Name, count(labels, "label"), stamp(t.ScoredFrom)))
		for _, m := range moved[:min(len(moved), maxCommands)] {
			s.para("  ", 4, in(plain, "threshold of %s %.2f → %.2f", seriesName(m.series), m.move.Before.Open.Float(), m.move.After.Open.Float()))
		}
		if n := len(moved) - maxCommands; n > 0 {
			s.para("  ", 4, in(dim, "and %d more", n))
		}
	}
	if len(moved) == 0 {
		s.para("  ", 4, piece{"no threshold moved: the series were not there yet", plain})
	}
	if n := l.labelled[0].labelsNeeded(); len(l.gone)+len(l.later) == 0 && !again {
		text := fmt.Sprintf("a label is a factor of %.2f: this one needs %s on its series, of which three a day count", labelStep, count(n, "label"))
		if n > maxLabels {
			text = "that is more than labels may do: they at most double a threshold"
		}
		s.para("  ", 4, in(plain, "it went to %.2f times its threshold, and %s", l.labelled[0].excess(), text))
	}
	s.para("  ", 4, in(plain, "false alarms %d → %d, faults found %d → %d", l.story.pass.card.False, l.after.card.False, l.story.pass.found(), l.after.found()))
	labelled := func(a *alarm) bool { return slices.Contains(l.labelled, a) }
	kept := slices.DeleteFunc(slices.Clone(l.stay), func(a *alarm) bool { return !labelled(a) })
	for _, group := range []struct {
		what   string
		ink    ink
		alarms []*alarm
	}{{"gone", green, l.gone}, {"later", yellow, l.later}, {"still there", red, kept}, {"new", red, l.fresh}} {
		for i, a := range group.alarms {
			if i == maxCommands {
				s.para("  ", 4, in(dim, "and %d more %s", len(group.alarms)-i, group.what))
				break
			}
			s.para("  ", 4, in(group.ink, "%s:", group.what), in(plain, " %s %s in %s", stamp(a.At), kindOf(a), workloadName(a.Workload)))
		}
	}
	if n := len(l.stay) - len(kept); n > 0 {
		s.para("  ", 4, in(dim, "as before: %s that nobody labelled", count(n, "alarm")))
	}
}

// maxCommands bounds the lines of one kind in what a label came to.
const maxCommands = 4

// closing says what to do next.
func (s *screen) closing(cfg *Config, stories []*story, took time.Duration) {
	s.heading("Watch your own")
	s.blank()
	s.para("", 0, piece{"homeostat serve", bold}, piece{" listens on loopback and keeps its store in ./data. Then three lines in prometheus.yml:", plain})
	s.blank()
	s.code("remote_write:", "  - url: http://127.0.0.1:9860/api/v1/write", "    protobuf_message: io.prometheus.write.v2.Request")
	s.blank()
	s.para("", 0, piece{"(Prometheus 2: leave the last one out.) To have it warm at once, let it learn from the history that Prometheus has:", plain})
	s.blank()
	const serve, url, last = "homeostat serve", "--bootstrap.url http://127.0.0.1:9090", "--bootstrap.last 14d"
	if one := serve + " " + url + " " + last; len(one)+2 <= s.style.Width {
		s.code(one)
	} else {
		s.code(serve+" \\", "  "+url+" \\", "  "+last)
	}
	s.blank()
	if cfg.Report != nil {
		s.para("", 0, in(plain, "The same as a page: %s", cfg.ReportName))
	}
	samples := 0
	for _, st := range stories {
		samples += st.rec.samples
	}
	s.para("", 0, in(dim, "%s samples replayed and judged in %.1f s", grouped(samples), took.Seconds()))
}

// code writes lines to copy. In one that is too wide a YAML value goes to the
// next line, where it stands further to the right than its key.
func (s *screen) code(lines ...string) {
	indent := ""
	if s.style.Width >= 60 {
		indent = "  "
	}
	for _, l := range lines {
		l = indent + l
		if key, value, ok := strings.Cut(l, ": "); ok && len(l) > s.style.Width {
			s.line(piece{key + ":", bold})
			l = strings.Repeat(" ", len(key)-len(strings.TrimLeft(key, " -"))+1) + value
		}
		s.line(piece{l, bold})
	}
}
