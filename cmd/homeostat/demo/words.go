package demo

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/engine"
)

// clean makes what a stranger typed fit for one line of a terminal: control
// characters and what else does not print are question marks.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ', unicode.IsPrint(r):
			return r
		case unicode.IsSpace(r):
			return ' '
		}
		return '?'
	}, s)
}

// workloadName is a workload for people: the values of its labels.
func workloadName(w string) string {
	var parts []string
	for rest := w; rest != ""; {
		_, value, ok := strings.Cut(rest, "=")
		if !ok {
			return clean(w)
		}
		quoted, err := strconv.QuotedPrefix(value)
		if err != nil {
			return clean(w)
		}
		text, err := strconv.Unquote(quoted)
		if err != nil {
			return clean(w)
		}
		parts = append(parts, text)
		rest = strings.TrimPrefix(value[len(quoted):], ",")
	}
	return clean(strings.Join(parts, "/"))
}

// seriesName is a series without the labels that its workload says already.
func seriesName(s *engine.Series) string {
	var parts []string
	s.Labels.Range(func(l labels.Label) {
		switch l.Name {
		case labels.MetricName, "job":
			return
		case "instance":
			if s.Labels.Get("pod") != "" {
				return
			}
		}
		if strings.Contains(","+string(s.Workload), ","+l.Name+"="+strconv.Quote(l.Value)) {
			return
		}
		value := l.Value
		if strings.ContainsFunc(value, unusual) {
			value = strconv.Quote(value)
		}
		parts = append(parts, l.Name+" "+value)
	})
	name := s.Labels.Get(labels.MetricName)
	if len(parts) > 0 {
		name += " (" + strings.Join(parts, ", ") + ")"
	}
	return clean(name)
}

// unusual says that a character of a label's value calls for quotes.
func unusual(r rune) bool {
	return !strings.ContainsRune("_.:/-", r) && (r >= utf8.RuneSelf || !unicode.IsLetter(r) && !unicode.IsDigit(r))
}

// why is an anomaly's own words with the shorter name of its series.
func why(a *engine.Anomaly) string {
	return clean(strings.Replace(a.Why(), a.Series.Text(), seriesName(a.Series), 1))
}

// stamp is a time of a recording, in UTC.
func stamp(t time.Time) string { return t.UTC().Format("Jan 02 15:04") }

func stampOf(ms int64) string { return stamp(time.UnixMilli(ms)) }

// span is a duration for people, to two units.
func span(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%s%ds", sign, int(d.Seconds()))
	case d < time.Hour:
		return sign + two(int(d/time.Minute), "m", int(d%time.Minute/time.Second), "s")
	case d < 24*time.Hour:
		return sign + two(int(d/time.Hour), "h", int(d%time.Hour/time.Minute), "m")
	}
	return sign + two(int(d/(24*time.Hour)), "d", int(d%(24*time.Hour)/time.Hour), "h")
}

func two(a int, unit string, b int, smaller string) string {
	if b == 0 {
		return fmt.Sprintf("%d%s", a, unit)
	}
	return fmt.Sprintf("%d%s%d%s", a, unit, b, smaller)
}

// count is a number and its noun, whose plural is its own where an s does not do.
func count(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case noun == "series":
	case strings.HasSuffix(noun, "ch"):
		noun += "es"
	case strings.HasSuffix(noun, "y"):
		noun = noun[:len(noun)-1] + "ies"
	default:
		noun += "s"
	}
	return grouped(n) + " " + noun
}

// grouped writes an integer with a comma before each three digits.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// short writes a number in at most seven characters, for the scale of a plot.
func short(v float64) string {
	for _, u := range []struct {
		size float64
		unit string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(v) >= 9.9995*u.size || math.Abs(v) >= u.size && u.size > 1e3 {
			return strconv.FormatFloat(v/u.size, 'g', 3, 64) + u.unit
		}
	}
	switch {
	case v == 0:
		return "0"
	case math.Abs(v) < 1e-3:
		return strconv.FormatFloat(v, 'e', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
