package enginetest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Error is a mistake in a scenario's text.
type Error struct {
	File string
	Line int
	Text string
}

// Error is the mistake as compilers tell theirs.
func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text) }

// tokens splits a line at blanks outside of quotes, parentheses and braces, and
// drops a comment.
func tokens(line string) ([]string, error) {
	var out []string
	var word strings.Builder
	depth, quoted := 0, false
	flush := func() {
		if word.Len() > 0 {
			out = append(out, word.String())
			word.Reset()
		}
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quoted:
			if c == '\\' && i+1 < len(line) {
				word.WriteByte(c)
				i++
				c = line[i]
			} else if c == '"' {
				quoted = false
			}
		case c == '"':
			quoted = true
		case c == '#':
			i = len(line)
			continue
		case c == '(' || c == '{':
			depth++
		case c == ')' || c == '}':
			depth--
		case unicode.IsSpace(rune(c)) && depth <= 0:
			flush()
			continue
		}
		word.WriteByte(c)
	}
	flush()
	switch {
	case quoted:
		return nil, fmt.Errorf(`a quote " is not closed`)
	case depth != 0:
		return nil, fmt.Errorf("a parenthesis or brace is not closed, or closed twice")
	}
	return out, nil
}

// reader goes through the words of one line.
type reader struct{ words []string }

func (r *reader) next() string {
	if len(r.words) == 0 {
		return ""
	}
	w := r.words[0]
	r.words = r.words[1:]
	return w
}

func (r *reader) peek() string {
	if len(r.words) == 0 {
		return ""
	}
	return r.words[0]
}

// want takes a word that must be there.
func (r *reader) want(word string) error {
	if w := r.next(); w != word {
		return fmt.Errorf("%q: want %q here", w, word)
	}
	return nil
}

// unknown says that a word is not among those known, and which one it is close
// to.
func unknown(what, word string, known []string) error {
	best, least := "", len(word)/2+2
	for _, k := range known {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	if best != "" {
		return fmt.Errorf("%s %q is unknown; did you mean %q?", what, word, best)
	}
	sorted := slices.Sorted(slices.Values(known))
	return fmt.Errorf("%s %q is unknown; want one of %s", what, word, strings.Join(sorted, ", "))
}

// distance is the number of letters to insert, delete or change (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

var units = map[string]time.Duration{
	"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

// maxDuration bounds every duration of a scenario.
const maxDuration = 366 * 24 * time.Hour

// duration reads a duration as Prometheus writes it, such as 1h30m or 3d, in
// milliseconds.
func duration(s string) (int64, error) {
	bad := fmt.Errorf("duration %q: want one such as 30s, 1h30m or 3d", s)
	if s == "" {
		return 0, bad
	}
	var sum time.Duration
	for rest := s; rest != ""; {
		n := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if n <= 0 {
			return 0, bad
		}
		v, err := strconv.ParseInt(rest[:n], 10, 32)
		if err != nil {
			return 0, bad
		}
		rest = rest[n:]
		m := strings.IndexFunc(rest, func(r rune) bool { return r >= '0' && r <= '9' })
		if m < 0 {
			m = len(rest)
		}
		unit, ok := units[rest[:m]]
		if !ok || time.Duration(v) > maxDuration/unit {
			return 0, bad
		}
		sum += time.Duration(v) * unit
		rest = rest[m:]
	}
	if sum > maxDuration {
		return 0, fmt.Errorf("duration %q: want at most %d days", s, maxDuration/units["d"])
	}
	return sum.Milliseconds(), nil
}

// since writes a time since the beginning, such as 3d 04:05:06.
func since(ms int64) string {
	sign := ""
	if ms < 0 {
		sign, ms = "-", -ms
	}
	s := ms / 1000
	return fmt.Sprintf("%s%dd %02d:%02d:%02d", sign, s/86400, s/3600%24, s/60%60, s%60)
}
