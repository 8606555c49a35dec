package enginetest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/homeostat/homeostat/engine"
)

// expectation is one expect line.
type expectation struct {
	line          int
	text          string // the line's words, for a failure
	what          string
	none          bool
	way           string // of a threshold: up, down or back
	terms         []term
	of            *selector
	after, before int64 // ms since the start, from after on and before before; 0: any time
	count         *term
}

// term compares one property of a thing with a value.
type term struct {
	key, op, value string
	number         float64
}

// subject is something that an expectation may be about.
type subject struct {
	kind  string
	at    int64 // ms
	what  engine.Series
	texts map[string]string
	nums  map[string]float64
	line  string // for a failure
}

// properties are the keys that each kind of subject has. A number compares with
// = < > <= >=, a text with = and ~ (contains).
var properties = map[string]struct{ texts, numbers []string }{
	"anomaly": {
		[]string{"kind", "opened_as", "workload", "state", "direction", "text", "why", "quiet"},
		[]string{"value", "expected", "lower", "upper", "score", "peak", "lasting", "updates"},
	},
	"incident":  {[]string{"workload", "state", "kind"}, []string{"members", "peak", "lasting"}},
	"threshold": {[]string{"cause"}, []string{"open"}},
	"outcome":   {[]string{"verdict", "by", "text"}, nil},
	"decision":  {[]string{"verb", "text", "workload"}, nil},
	"samples":   {nil, sampleCounts()},
}

// sampleCounts are the names of the parts of a receipt.
func sampleCounts() []string {
	out := []string{"received", "scored", "derived", "held", "late", "absorbed", "rejected"}
	for r := engine.ReasonNone + 1; r < engine.NumReasons; r++ {
		out = append(out, r.String())
	}
	return out
}

var ways = []string{"up", "down", "back"}

func (s *Scenario) parseExpect(n int, r *reader) (err error) {
	x := expectation{line: n, text: "expect " + strings.Join(r.words, " ")}
	if r.peek() == "no" {
		r.next()
		x.none = true
	}
	x.what = r.next()
	switch x.what {
	case "data_fault", "silence":
		x.terms = append(x.terms, term{key: "kind", op: "=", value: x.what})
		x.what = "anomaly"
	case "threshold":
		if slices.Contains(ways, r.peek()) {
			x.way = r.next()
		}
	}
	if _, ok := properties[x.what]; !ok {
		return unknown("expectation", x.what, append(keys(properties), "data_fault", "silence"))
	}
	for r.peek() != "" {
		if err := x.parseTerm(r); err != nil {
			return err
		}
	}
	switch {
	case x.what == "samples" && (x.none || len(x.terms) == 0):
		return errors.New("want: expect samples NAME=NUMBER")
	case x.none && x.count != nil:
		return errors.New("no and count contradict each other")
	}
	s.expects = append(s.expects, x)
	return nil
}

func (x *expectation) parseTerm(r *reader) (err error) {
	w := r.next()
	switch w {
	case "after":
		x.after, err = duration(r.next())
		return err
	case "before":
		x.before, err = duration(r.next())
		return err
	case "within":
		return x.parseWithin(r)
	}
	at := strings.IndexAny(w, "=<>~")
	if at <= 0 {
		return unknown("condition", w, append(x.keys(), "after", "before", "within"))
	}
	t := term{key: w[:at], op: w[at : at+1], value: w[at+1:]}
	if strings.HasPrefix(t.value, "=") && t.op != "=" && t.op != "~" {
		t.op, t.value = t.op+"=", t.value[1:]
	}
	if u, err := strconv.Unquote(t.value); err == nil && strings.HasPrefix(t.value, `"`) {
		t.value = u
	}
	return x.take(t)
}

// parseWithin reads "within D of T": at T or up to D later.
func (x *expectation) parseWithin(r *reader) error {
	d, err := duration(r.next())
	if err != nil {
		return err
	}
	if err := r.want("of"); err != nil {
		return err
	}
	if x.after, err = duration(r.next()); err != nil {
		return err
	}
	x.before = x.after + d + 1
	return nil
}

func (x *expectation) keys() []string {
	p := properties[x.what]
	return append(append([]string{"series", "count"}, p.texts...), p.numbers...)
}

func (x *expectation) take(t term) (err error) {
	p := properties[x.what]
	switch {
	case t.key == "series" && t.op == "=":
		sel, err := parseSelector(t.value)
		x.of = &sel
		return err
	case slices.Contains(p.texts, t.key):
		if t.op != "=" && t.op != "~" {
			return fmt.Errorf("%s is a text and compares by = and ~ only", t.key)
		}
		if t.key == "kind" && t.op == "=" {
			if _, err := engine.ParseKind(t.value); err != nil {
				return unknown("kind", t.value, kindNames())
			}
		}
		x.terms = append(x.terms, t)
		return nil
	case t.key == "count" && x.what != "samples", slices.Contains(p.numbers, t.key):
		if t.op == "~" {
			return fmt.Errorf("%s is a number and compares by = < > <= >= only", t.key)
		}
		if t.number, err = strconv.ParseFloat(t.value, 64); err != nil {
			ms, bad := duration(t.value)
			if bad != nil || t.key != "lasting" {
				return fmt.Errorf("%s: %q is no number", t.key, t.value)
			}
			t.number = float64(ms)
		}
		if t.key == "count" {
			x.count = &t
			return nil
		}
		x.terms = append(x.terms, t)
		return nil
	}
	return unknown("condition", t.key, append(x.keys(), "after", "before", "within"))
}

func kindNames() []string {
	var out []string
	for k := engine.Kind(1); ; k++ {
		name := k.String()
		if parsed, err := engine.ParseKind(name); err != nil || parsed != k {
			return out
		}
		out = append(out, name)
	}
}

// holds says whether a number compares as the term wants.
func (t *term) holds(v float64) bool {
	switch t.op {
	case "=":
		return v == t.number
	case "<":
		return v < t.number
	case ">":
		return v > t.number
	case "<=":
		return v <= t.number
	}
	return v >= t.number
}

// fits says whether a subject is what the expectation speaks of.
func (x *expectation) fits(sub *subject, start int64) bool {
	at := sub.at - start
	switch {
	case sub.kind != x.what,
		at < x.after,
		x.before > 0 && at >= x.before,
		x.of != nil && !x.of.fits(sub.what.Labels),
		x.way != "" && sub.texts["way"] != x.way:
		return false
	}
	for _, t := range x.terms {
		if n, ok := sub.nums[t.key]; ok {
			if !t.holds(n) {
				return false
			}
			continue
		}
		text := sub.texts[t.key]
		if t.op == "=" && text != t.value || t.op == "~" && !strings.Contains(text, t.value) {
			return false
		}
	}
	return true
}

// check says what is wrong; it is empty when the expectation holds.
func (x *expectation) check(subjects []subject, start int64) string {
	n := 0
	for i := range subjects {
		if x.fits(&subjects[i], start) {
			n++
		}
	}
	wrong := ""
	switch {
	case x.none && n > 0:
		wrong = fmt.Sprintf("there are %d", n)
	case x.count != nil && !x.count.holds(float64(n)):
		wrong = fmt.Sprintf("there are %d", n)
	case !x.none && x.count == nil && n == 0:
		wrong = "there is none"
	default:
		return ""
	}
	return fmt.Sprintf("%s: %s%s", x.text, wrong, x.seen(subjects, start))
}

// maxSeen bounds what a failure lists.
const maxSeen = 12

func (x *expectation) seen(subjects []subject, start int64) string {
	var b strings.Builder
	n := 0
	for i := range subjects {
		sub := &subjects[i]
		if sub.kind != x.what || x.none && !x.fits(sub, start) {
			continue
		}
		if n++; n > maxSeen {
			b.WriteString("\n\tand more")
			break
		}
		fmt.Fprintf(&b, "\n\t%s %s", since(sub.at-start), sub.line)
	}
	if n == 0 {
		fmt.Fprintf(&b, "; no %s at all", x.what)
		return b.String()
	}
	return "; seen:" + b.String()
}
