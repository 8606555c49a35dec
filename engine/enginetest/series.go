package enginetest

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// series is one line of a scenario, or one of its copies.
type series struct {
	line     int
	labels   labels.Labels
	every    int64 // ms
	from     int64 // ms since the start
	sender   string
	segments []segment
	family   family
}

// segment is a stretch of values made alike, or a change of all that follow.
type segment struct {
	kind   *generator
	args   [3]float64
	given  int
	points int
}

// family says what a generator makes: one series' values, a counter, or several
// series.
type family uint8

const (
	familyAny family = iota // goes with every other
	familyGauge
	familyCounter
	familyHistogram
	familyRatio
	familyScalable // changes gauges and counters
	familyCounting // changes what counts
)

// generator is one word for values.
type generator struct {
	name        string
	min, max    int // arguments
	family      family
	positive    bool // its first argument is a rate or number, 0 or more
	standsAlone bool // has no count
	make        func(g *maker, seg *segment, k int) float64
}

// maxPoints bounds what one series makes.
const maxPoints = 2_000_000

var (
	numberForm = regexp.MustCompile(`^([+-]?[0-9.]+(?:e[+-]?[0-9]+)?)(?:([+-][0-9.]+(?:e[+-]?[0-9]+)?)?x([0-9a-z]+))?$`)
	callForm   = regexp.MustCompile(`^([a-z]+)\(([^()]*)\)(?:x([0-9a-z]+))?$`)
	gapForm    = regexp.MustCompile(`^_(?:x([0-9a-z]+))?$`)
	nameForm   = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	labelForm  = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
)

func (s *Scenario) parseSeries(line int, r *reader) error {
	sr := series{line: line, sender: s.sender}
	sel, err := parseSelector(r.next())
	if err != nil {
		return err
	}
	if sel.name == "" {
		return fmt.Errorf("a series has a name")
	}
	sr.labels = sel.labels(sel.name)
	if err := r.want("every"); err != nil {
		return err
	}
	if sr.every, err = duration(r.next()); err != nil {
		return err
	}
	if sr.every < 100 {
		return fmt.Errorf("every: want 100ms or more")
	}
	for {
		switch r.peek() {
		case "from":
			r.next()
			if sr.from, err = duration(r.next()); err != nil {
				return err
			}
			continue
		case "sender":
			r.next()
			sr.sender = r.next()
			continue
		}
		break
	}
	points := 0
	for w := r.next(); w != ""; w = r.next() {
		seg, err := parseSegment(w, sr.every)
		if err != nil {
			return err
		}
		if err := sr.add(seg); err != nil {
			return err
		}
		if points += seg.points; points > maxPoints {
			return fmt.Errorf("the series has more than %d points", maxPoints)
		}
	}
	if points == 0 {
		return fmt.Errorf("the series has no values")
	}
	if err := sr.check(); err != nil {
		return err
	}
	s.series = append(s.series, sr)
	return nil
}

func (sr *series) add(seg segment) error {
	f := seg.kind.family
	if f != familyAny && f < familyScalable {
		if sr.family != familyAny && sr.family != f {
			return fmt.Errorf("%s does not go with the values before it", seg.kind.name)
		}
		sr.family = f
	}
	sr.segments = append(sr.segments, seg)
	return nil
}

// check refuses changes that the family of the series does not know.
func (sr *series) check() error {
	if sr.family == familyAny {
		return fmt.Errorf("the series has no values")
	}
	for _, seg := range sr.segments {
		switch f := seg.kind.family; {
		case f == familyScalable && sr.family > familyCounter:
			return fmt.Errorf("%s changes a gauge or a counter only", seg.kind.name)
		case f == familyCounting && sr.family == familyGauge:
			return fmt.Errorf("%s is for what counts, and this is a gauge", seg.kind.name)
		}
	}
	return nil
}

func parseSegment(w string, every int64) (segment, error) {
	if g := generators[w]; g != nil && g.standsAlone && g.max == 0 {
		seg := segment{kind: g}
		if g.family == familyAny {
			seg.points = 1
		}
		return seg, nil
	}
	if m := gapForm.FindStringSubmatch(w); m != nil {
		n, err := count(m[1], every)
		return segment{kind: gap, points: n}, err
	}
	if m := numberForm.FindStringSubmatch(w); m != nil {
		return parseNumbers(m, every)
	}
	m := callForm.FindStringSubmatch(w)
	if m == nil {
		return segment{}, unknown("value", w, append(keys(generators), "_x10", "1x10"))
	}
	g := generators[m[1]]
	if g == nil {
		return segment{}, unknown("generator", m[1], keys(generators))
	}
	seg := segment{kind: g}
	if err := seg.parseArgs(m[2]); err != nil {
		return segment{}, err
	}
	if g.standsAlone {
		if m[3] != "" {
			return segment{}, fmt.Errorf("%s changes all that follows and has no count", g.name)
		}
		return seg, nil
	}
	var err error
	seg.points, err = count(m[3], every)
	return seg, err
}

func (seg *segment) parseArgs(text string) error {
	g := seg.kind
	args := strings.Split(text, ",")
	if strings.TrimSpace(text) == "" {
		args = nil
	}
	if len(args) < g.min || len(args) > g.max {
		want := strconv.Itoa(g.min)
		if g.max > g.min {
			want += " to " + strconv.Itoa(g.max)
		}
		return fmt.Errorf("%s has %d arguments, want %s", g.name, len(args), want)
	}
	for i, a := range args {
		v, err := strconv.ParseFloat(strings.TrimSpace(a), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%s: %q is no number", g.name, a)
		}
		seg.args[i] = v
	}
	seg.given = len(args)
	if g.positive && seg.args[0] < 0 {
		return fmt.Errorf("%s: want a number of 0 or more first", g.name)
	}
	if g.family == familyRatio && seg.args[1] > 1 {
		return fmt.Errorf("ratio: a share is from 0 to 1")
	}
	return nil
}

// parseNumbers reads 5, 5x3 and 5+1x3: the number after x counts the values
// that follow the first, as in Prometheus' own tests.
func parseNumbers(m []string, every int64) (segment, error) {
	seg := segment{kind: line, points: 1}
	var err error
	if seg.args[0], err = strconv.ParseFloat(m[1], 64); err != nil {
		return seg, fmt.Errorf("%q is no number", m[1])
	}
	if m[2] != "" {
		if seg.args[1], err = strconv.ParseFloat(m[2], 64); err != nil {
			return seg, fmt.Errorf("%q is no number", m[2])
		}
	}
	if m[3] != "" {
		n, err := count(m[3], every)
		if err != nil {
			return seg, err
		}
		seg.points = n + 1
	}
	return seg, nil
}

// count reads how many values: a number, or a duration that holds so many.
func count(s string, every int64) (int, error) {
	if s == "" {
		return 1, nil
	}
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > maxPoints {
			return 0, fmt.Errorf("count %d: want 1 to %d", n, maxPoints)
		}
		return n, nil
	}
	d, err := duration(s)
	if err != nil {
		return 0, fmt.Errorf("count %q: want a number or a duration", s)
	}
	if d < every {
		return 0, fmt.Errorf("count %q: it is shorter than the series' interval", s)
	}
	return int(d / every), nil
}

// selector names series: a name, labels, or both; empty parts fit all.
type selector struct {
	name   string
	pairs  []labels.Label
	source string
}

func parseSelector(w string) (selector, error) {
	sel := selector{source: w}
	name, rest, has := strings.Cut(w, "{")
	if name != "" && !nameForm.MatchString(name) {
		return sel, fmt.Errorf("series %q: %q is no metric name", w, name)
	}
	sel.name = name
	if !has {
		if name == "" {
			return sel, fmt.Errorf("a series is wanted here")
		}
		return sel, nil
	}
	if !strings.HasSuffix(rest, "}") {
		return sel, fmt.Errorf("series %q: something follows the labels", w)
	}
	rest = strings.TrimSuffix(rest, "}")
	for strings.TrimSpace(rest) != "" {
		key, after, ok := strings.Cut(rest, "=")
		key = strings.TrimSpace(key)
		if !ok || !labelForm.MatchString(key) {
			return sel, fmt.Errorf("series %q: want LABEL=\"VALUE\" at %q", w, rest)
		}
		quoted, err := strconv.QuotedPrefix(strings.TrimSpace(after))
		if err != nil || quoted[0] != '"' {
			return sel, fmt.Errorf("series %q: the value of %s wants quotes", w, key)
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return sel, fmt.Errorf("series %q: %s is no text", w, quoted)
		}
		for _, p := range sel.pairs {
			if p.Name == key {
				return sel, fmt.Errorf("series %q: %s comes twice", w, key)
			}
		}
		sel.pairs = append(sel.pairs, labels.Label{Name: key, Value: value})
		rest = strings.TrimSpace(strings.TrimSpace(after)[len(quoted):])
		rest = strings.TrimPrefix(rest, ",")
	}
	return sel, nil
}

func (sel *selector) labels(name string) labels.Labels {
	b := labels.NewScratchBuilder(len(sel.pairs) + 1)
	b.Add(labels.MetricName, name)
	for _, p := range sel.pairs {
		b.Add(p.Name, p.Value)
	}
	b.Sort()
	return b.Labels()
}

// fits says whether the labels have the selector's name and labels.
func (sel *selector) fits(ls labels.Labels) bool {
	if sel.name != "" && ls.Get(labels.MetricName) != sel.name {
		return false
	}
	for _, p := range sel.pairs {
		if ls.Get(p.Name) != p.Value {
			return false
		}
	}
	return true
}
