package enginetest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/models"
)

// Scenario is a text that was read. It may be run many times.
type Scenario struct {
	Name    string // as given to Parse
	seed    uint64
	start   int64 // ms
	zone    *time.Location
	tick    int64 // ms
	end     int64 // ms since the start; 0: by the last sample
	config  []setting
	deep    []selector
	sender  string // of the next series
	series  []series
	acts    []act
	expects []expectation
}

// setting is one line that sets something of the engine.
type setting struct{ apply func(*engine.Config) }

// act is something done at a time.
type act struct {
	line      int
	at        int64 // ms since the start
	verb      actVerb
	judgement engine.Judgement
	first     bool
	of        selector
	by        string
}

type actVerb uint8

const (
	actLabel actVerb = iota + 1
	actUndo
	actRestart
)

// maxFor bounds how many series one line makes.
const maxFor = 10000

// defaultStart is a Monday without a change of clocks near.
const defaultStart = "2026-03-02T00:00:00Z"

// Parse reads a scenario. The name is told in errors, with the line.
func Parse(name string, src []byte) (*Scenario, error) {
	start, _ := time.Parse(time.RFC3339, defaultStart)
	s := &Scenario{Name: name, seed: 1, start: start.UnixMilli(), zone: time.UTC, tick: 15_000, sender: "default"}
	for n, line := range strings.Split(string(src), "\n") {
		if err := s.parseLine(n+1, line); err != nil {
			return nil, &Error{File: name, Line: n + 1, Text: err.Error()}
		}
	}
	if len(s.series) == 0 {
		return nil, &Error{File: name, Line: 1, Text: "the scenario has no series"}
	}
	return s, nil
}

var statements map[string]func(s *Scenario, line int, r *reader) error

func init() {
	statements = map[string]func(s *Scenario, line int, r *reader) error{
		"seed":   (*Scenario).parseSeed,
		"start":  (*Scenario).parseStart,
		"zone":   (*Scenario).parseZone,
		"tick":   (*Scenario).parseTick,
		"end":    (*Scenario).parseEnd,
		"config": (*Scenario).parseConfig,
		"deep":   (*Scenario).parseDeep,
		"floor":  (*Scenario).parseFloor,
		"sender": (*Scenario).parseSender,
		"series": (*Scenario).parseSeries,
		"at":     (*Scenario).parseAct,
		"expect": (*Scenario).parseExpect,
	}
}

func (s *Scenario) parseLine(n int, line string) error {
	words, err := tokens(line)
	if err != nil || len(words) == 0 {
		return err
	}
	if words[0] == "for" {
		return s.parseFor(n, words)
	}
	r := &reader{words}
	parse, ok := statements[r.next()]
	if !ok {
		return unknown("statement", words[0], append(keys(statements), "for"))
	}
	if err := parse(s, n, r); err != nil {
		return err
	}
	if w := r.peek(); w != "" {
		return fmt.Errorf("%q is too much", w)
	}
	return nil
}

func keys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

// parseFor reads the rest of the line once for each number, in the place of
// $VAR and ${VAR}.
func (s *Scenario) parseFor(n int, words []string) error {
	if len(words) < 5 || words[2] != "in" {
		return errors.New("want: for NAME in FIRST..LAST series …")
	}
	from, to, ok := strings.Cut(words[3], "..")
	first, err1 := strconv.Atoi(from)
	last, err2 := strconv.Atoi(to)
	if !ok || err1 != nil || err2 != nil || last < first || last-first >= maxFor {
		return fmt.Errorf("range %q: want FIRST..LAST with at most %d numbers", words[3], maxFor)
	}
	if words[4] != "series" {
		return fmt.Errorf("%q: only series come in numbers", words[4])
	}
	for i := first; i <= last; i++ {
		text := strconv.Itoa(i)
		rest := make([]string, 0, len(words)-5)
		for _, w := range words[5:] {
			rest = append(rest, strings.NewReplacer("${"+words[1]+"}", text, "$"+words[1], text).Replace(w))
		}
		r := &reader{rest}
		if err := s.parseSeries(n, r); err != nil {
			return err
		}
	}
	return nil
}

func (s *Scenario) parseSeed(_ int, r *reader) (err error) {
	w := r.next()
	if s.seed, err = strconv.ParseUint(w, 10, 64); err != nil {
		return fmt.Errorf("seed %q: want a whole number", w)
	}
	return nil
}

func (s *Scenario) parseStart(_ int, r *reader) error {
	w := r.next()
	t, err := time.Parse(time.RFC3339, w)
	if err != nil || t.Year() < 2000 || t.Year() > 2100 {
		return fmt.Errorf("start %q: want a time such as %s", w, defaultStart)
	}
	s.start = t.UnixMilli()
	return nil
}

func (s *Scenario) parseZone(_ int, r *reader) error {
	w := r.next()
	loc, err := time.LoadLocation(w)
	if err != nil || w == "" || w == "Local" {
		return fmt.Errorf("zone %q is unknown: want an IANA name such as Europe/Berlin", w)
	}
	s.zone = loc
	return nil
}

func (s *Scenario) parseTick(_ int, r *reader) (err error) {
	if s.tick, err = duration(r.next()); err != nil {
		return err
	}
	if s.tick < 1000 || s.tick > 60_000 {
		return errors.New("tick: want a duration from 1s to 1m")
	}
	return nil
}

func (s *Scenario) parseEnd(_ int, r *reader) (err error) {
	s.end, err = duration(r.next())
	return err
}

func (s *Scenario) parseSender(_ int, r *reader) error {
	if s.sender = r.next(); s.sender == "" {
		return errors.New("want: sender NAME")
	}
	return nil
}

// parseDeep adds to the series that the deep tier looks at.
func (s *Scenario) parseDeep(_ int, r *reader) error {
	sel, err := parseSelector(r.next())
	s.deep = append(s.deep, sel)
	return err
}

// parseFloor adds a floor under which deviations of some series are ignored.
func (s *Scenario) parseFloor(_ int, r *reader) error {
	sel, err := parseSelector(r.next())
	if err != nil {
		return err
	}
	f := engine.Floor{Match: sel.fits}
	for r.peek() != "" {
		var into *float64
		switch w := r.next(); w {
		case "below":
			into = &f.Below
		case "relative":
			into = &f.Relative
		default:
			return unknown("word of a floor", w, []string{"below", "relative"})
		}
		w := r.next()
		if *into, err = strconv.ParseFloat(w, 64); err != nil {
			return fmt.Errorf("floor %q: want a number", w)
		}
	}
	s.config = append(s.config, setting{func(c *engine.Config) { c.Floors = append(slices.Clip(c.Floors), f) }})
	return engine.Config{Floors: []engine.Floor{f}}.Validate()
}

// matchesDeep is the condition that the deep lines come to; nil without one.
func (s *Scenario) matchesDeep() func(labels.Labels) bool {
	if len(s.deep) == 0 {
		return nil
	}
	return func(ls labels.Labels) bool {
		return slices.ContainsFunc(s.deep, func(sel selector) bool { return sel.fits(ls) })
	}
}

var settings = map[string]func(c *engine.Config, d time.Duration){
	"silent_after": func(c *engine.Config, d time.Duration) { c.SilentAfter = d },
	"update_every": func(c *engine.Config, d time.Duration) { c.UpdateEvery = d },
	"incident_gap": func(c *engine.Config, d time.Duration) { c.IncidentGap = d },
	"watch_for":    func(c *engine.Config, d time.Duration) { c.WatchFor = d },
	"stale_action": func(c *engine.Config, d time.Duration) { c.StaleAction = d },
	"grace":        func(c *engine.Config, d time.Duration) { c.Grace = d },
}

func (s *Scenario) parseConfig(_ int, r *reader) error {
	name, v := r.next(), r.next()
	if name == "false_alarm_days" {
		days, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return fmt.Errorf("false_alarm_days %q: want a number", v)
		}
		s.config = append(s.config, setting{func(c *engine.Config) { c.FalseAlarmDays = days }})
		return engine.Config{FalseAlarmDays: days}.Validate()
	}
	set, ok := settings[name]
	if !ok {
		return unknown("setting", name, append(keys(settings), "false_alarm_days"))
	}
	ms, err := duration(v)
	if err != nil {
		return err
	}
	d := time.Duration(ms) * time.Millisecond
	s.config = append(s.config, setting{func(c *engine.Config) { set(c, d) }})
	var c engine.Config
	set(&c, d)
	return c.Validate()
}

var judgements = map[string]engine.Judgement{
	engine.JudgedFalse.String(): engine.JudgedFalse,
	engine.JudgedTrue.String():  engine.JudgedTrue,
}

func (s *Scenario) parseAct(line int, r *reader) (err error) {
	a := act{line: line, by: "someone"}
	if a.at, err = duration(r.next()); err != nil {
		return err
	}
	switch verb := r.next(); verb {
	case "restart":
		a.verb = actRestart
	case "undo":
		a.verb = actUndo
		err = a.parseWho(r)
	case "label":
		a.verb = actLabel
		which := r.next()
		if which != "last" && which != "first" {
			return fmt.Errorf("%q: want label last or label first", which)
		}
		a.first = which == "first"
		word := r.next()
		j, ok := judgements[word]
		if !ok {
			return unknown("judgement", word, keys(judgements))
		}
		a.judgement = j
		err = a.parseWho(r)
	default:
		return unknown("act", verb, []string{"label", "undo", "restart"})
	}
	s.acts = append(s.acts, a)
	return err
}

// parseWho reads "of SERIES" and "by NAME".
func (a *act) parseWho(r *reader) (err error) {
	if r.peek() == "of" {
		r.next()
		if a.of, err = parseSelector(r.next()); err != nil {
			return err
		}
	}
	if r.peek() == "by" {
		r.next()
		if a.by = r.next(); a.by == "" {
			return errors.New("by: want a name")
		}
	}
	return nil
}

// zoneUntil is the scenario's zone as data, up to a time.
func (s *Scenario) zoneUntil(end int64) models.Zone {
	if s.zone == time.UTC {
		return nil
	}
	offset := func(at int64) int {
		_, o := time.UnixMilli(at).In(s.zone).Zone()
		return o
	}
	zone := models.Zone{{At: s.start - hour, OffsetSeconds: offset(s.start - hour)}}
	for at := s.start - hour; at < end; at += hour {
		if offset(at) == offset(at+hour) {
			continue
		}
		lo, hi := at, at+hour
		for hi-lo > 1 {
			if mid := (lo + hi) / 2; offset(mid) == offset(lo) {
				lo = mid
			} else {
				hi = mid
			}
		}
		zone = append(zone, models.Transition{At: hi, OffsetSeconds: offset(hi)})
	}
	return zone
}

const hour = 3_600_000
