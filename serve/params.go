package serve

import (
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"google.golang.org/grpc/codes"

	"github.com/homeostat/homeostat/engine"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// The parameters of the lists over HTTP. Whatever is not one of those that a
// list takes is refused: a filter with a slip in its name must not select
// everything.

const (
	maxQueryBytes    = 16 << 10
	maxSelectorBytes = 4 << 10
)

// params are the parameters of one request, by name. The first thing that is
// wrong stays in err, and what is read after it is of no use.
type params struct {
	values url.Values
	err    error
}

// paramsOf reads the query string and sees that it has the known names only,
// each once.
func paramsOf(r *http.Request, known ...string) *params {
	p := &params{}
	if len(r.URL.RawQuery) > maxQueryBytes {
		p.fail("the query has %d bytes, the most are %d", len(r.URL.RawQuery), maxQueryBytes)
		return p
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		p.fail("the query is malformed: %v", err)
		return p
	}
	p.values = values
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names) // so that one request gets one answer
	for _, name := range names {
		if !slices.Contains(known, name) {
			p.fail("the parameter %q is unknown: want %s", clip(name), strings.Join(known, ", "))
		} else if len(values[name]) > 1 {
			p.fail("the parameter %s is there %d times: give it once", name, len(values[name]))
		}
	}
	return p
}

func (p *params) fail(format string, args ...any) {
	if p.err == nil {
		p.err = refuse(codes.InvalidArgument, "PARAMETER_INVALID", nil, format, args...)
	}
}

// text is the value of a parameter, empty when it is not given. One that is
// given and empty is a slip.
func (p *params) text(name string) string {
	v := p.values[name]
	if len(v) == 1 && v[0] == "" {
		p.fail("the parameter %s is empty", name)
	}
	if len(v) != 1 {
		return ""
	}
	return v[0]
}

// words are the values of a parameter that takes several, separated by commas.
func (p *params) words(name string) []string {
	v := p.text(name)
	if v == "" {
		return nil
	}
	return strings.Split(v, ",")
}

// place is limit and page_token.
func (p *params) place() place {
	most := p.limit()
	at, err := pageOf(p.text("page_token"), most)
	if err != nil && p.err == nil {
		p.err = err
	}
	return at
}

func (p *params) limit() int32 {
	v := p.text("limit")
	if v == "" {
		return defaultPage
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > maxPage {
		p.fail("limit %q: want a number from 1 to %d", clip(v), maxPage)
	}
	return int32(min(max(n, 1), maxPage))
}

// time is a time as Prometheus takes it, in milliseconds: RFC 3339 or seconds
// since 1970. It is 0 when there is none.
func (p *params) time(name string) int64 {
	const most = 253402300799 // the year 9999
	v := p.text(name)
	if v == "" {
		return 0
	}
	if s, err := strconv.ParseFloat(v, 64); err == nil {
		if math.IsNaN(s) || s <= 0 || s > most {
			p.fail("%s %q: want seconds since 1970, up to the year 9999", name, clip(v))
			return 0
		}
		return int64(math.Round(s * 1000))
	}
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil || t.Unix() <= 0 || t.Unix() > most {
		p.fail("%s %q: want RFC 3339, such as 2026-03-02T14:00:00Z, or seconds since 1970", name, clip(v))
		return 0
	}
	return t.UnixMilli()
}

// chooser is start, end, kind, workload, match[] and state.
func (p *params) chooser(b *Board, states []string) *chooser {
	c := &chooser{board: b, filter: &homeostatv1.Filter{Workload: p.text("workload")}, from: p.time("start"), to: p.time("end")}
	if c.from > 0 && c.to > 0 && c.from > c.to {
		p.fail("end is before start")
	}
	for _, w := range p.words("kind") {
		k, err := engine.ParseKind(w)
		if err != nil {
			p.fail("kind: %q is unknown", clip(w))
		}
		c.filter.Kinds = append(c.filter.Kinds, homeostatv1.Kind(k))
	}
	for _, w := range p.words("state") {
		if !slices.Contains(states, w) {
			p.fail("state %q: want %s", clip(w), strings.Join(states, ", "))
		}
		c.states = append(c.states, w)
	}
	p.selector(c)
	return c
}

// selector is match[], one series selector in Prometheus' own words.
func (p *params) selector(c *chooser) {
	v := p.text("match[]")
	if v == "" {
		return
	}
	if len(v) > maxSelectorBytes {
		p.fail("match[] has %d bytes, the most are %d", len(v), maxSelectorBytes)
		return
	}
	var err error
	if c.matchers, err = parser.NewParser(parser.Options{}).ParseMetricSelector(v); err != nil {
		p.fail("match[]: %v", err)
	} else if !slices.ContainsFunc(c.matchers, func(m *labels.Matcher) bool { return !m.Matches("") }) {
		p.fail("match[] selects everything: want a matcher that an absent label does not pass")
	}
}
