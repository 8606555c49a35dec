package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/engine"
)

// Upstream says what to read from a Prometheus. Its zero value but for URL and
// End is usable.
type Upstream struct {
	URL    string        // such as http://prometheus:9090, with a path if it has a prefix
	Client *http.Client  // carries authentication and TLS. Default http.DefaultClient
	End    time.Time     // read up to here; of what is Quiet, the last tick is here
	Last   time.Duration // and from so long before. Default 24 h
	// Selectors are what to read. Default {__name__=~".+"}.
	Selectors []string
	// Chunk is how much time one query asks for; it is halved when Prometheus
	// says that it is too much, or its answer is too large, and grows again.
	// Default 30 min.
	Chunk time.Duration
	// MaxAnswer bounds the bytes of one answer. Default 256 MiB.
	MaxAnswer int64
	// Attempts bounds how often a query is tried when Prometheus can't be
	// reached or fails. Default 6, with pauses from 1 s, doubling, to 30 s.
	Attempts int
	// Timeout bounds one query. Default 2 min.
	Timeout time.Duration
	// Pause waits between attempts. Default a timer.
	Pause func(ctx context.Context, d time.Duration) error
}

func (u Upstream) withDefaults() Upstream {
	if u.Client == nil {
		u.Client = http.DefaultClient
	}
	orDefault(&u.Last, 24*time.Hour)
	orDefault(&u.Chunk, 30*time.Minute)
	orDefault(&u.MaxAnswer, 256<<20)
	orDefault(&u.Attempts, 6)
	orDefault(&u.Timeout, 2*time.Minute)
	if len(u.Selectors) == 0 {
		u.Selectors = []string{`{__name__=~".+"}`}
	}
	if u.Pause == nil {
		u.Pause = pause
	}
	return u
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Validate says which field is out of its bounds. It changes nothing.
func (u Upstream) Validate() error {
	link, err := url.Parse(u.URL)
	if err != nil || link.Scheme != "http" && link.Scheme != "https" || link.Host == "" {
		return errors.New("url: want http://host:port or https://host:port")
	}
	if u.End.IsZero() || u.End.UnixMilli() < 0 || u.End.UnixMilli() > maxMillis {
		return fmt.Errorf("end %v: want a time after 1970", u.End)
	}
	if u.Last < 0 || u.Last > 10*365*24*time.Hour {
		return fmt.Errorf("last %v: want a duration up to 10 years", u.Last)
	}
	if u.Chunk != 0 && (u.Chunk < time.Second || u.Chunk > 24*time.Hour) {
		return fmt.Errorf("chunk %v: want a duration from 1 s to 24 h", u.Chunk)
	}
	if u.MaxAnswer < 0 || u.Attempts < 0 || u.Timeout < 0 {
		return errors.New("max_answer, attempts and timeout: want 0 or more")
	}
	return nil
}

// PrometheusSource reads raw samples from a Prometheus' HTTP API, a chunk of
// time at a time, by instant queries with range selectors: those return every
// sample as it was scraped, with its own time. Stale markers are not among
// them. The answer of the API holds native histograms as well.
type PrometheusSource struct {
	*pace
	pull *puller
}

// Prometheus makes a source of an upstream's history. ctx bounds all of its
// requests.
func Prometheus(ctx context.Context, cfg Config, up Upstream) (*PrometheusSource, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	if err := up.Validate(); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	cfg, up = cfg.withDefaults(), up.withDefaults()
	end := up.End.UnixMilli()
	start := max(0, end-up.Last.Milliseconds())
	p := &puller{
		ctx: ctx, cfg: cfg, up: up, start: start, end: end, chunk: up.Chunk.Milliseconds(),
	}
	p.series = newSeriesTable(&p.cfg, &seriesRoom{cfg: cfg, used: new(int)})
	p.at.Store(start)
	s := &PrometheusSource{pace: newPace(cfg, p), pull: p}
	if cfg.Quiet {
		s.pace.limit = end // live data goes on from there
	}
	return s, nil
}

// Progress is how much of the time asked for was read, in milliseconds of event
// time, and how much there is. It may be asked for while Next runs.
func (s *PrometheusSource) Progress() (done, total int64) {
	return s.pull.at.Load() - s.pull.start, s.pull.end - s.pull.start
}

// Samples is how many samples and histograms were read, and how many histograms
// were left out because they could not be understood.
func (s *PrometheusSource) Samples() (read, skipped uint64) {
	return s.pull.samples.Load(), s.pull.skipped.Load()
}

// puller yields the rows of chunk after chunk.
type puller struct {
	ctx        context.Context
	cfg        Config
	up         Upstream
	start, end int64
	chunk      int64 // ms, as it stands
	at         atomic.Int64
	samples    atomic.Uint64
	skipped    atomic.Uint64
	series     *seriesTable
	rows       []row
	turn       int
}

// errTooMuch says that a query asked for more than one answer may hold.
var errTooMuch = errors.New("too many samples for one answer")

func (p *puller) next() (row, error) {
	for p.turn == len(p.rows) {
		if p.at.Load() >= p.end {
			return row{}, io.EOF
		}
		if err := p.fetch(); err != nil {
			return row{}, fmt.Errorf("history of %s: %w", p.up.Name(), err)
		}
	}
	r := p.rows[p.turn]
	p.turn++
	return r, nil
}

// Name is the address without its password, for messages.
func (u Upstream) Name() string {
	link, err := url.Parse(u.URL)
	if err != nil {
		return "upstream"
	}
	return link.Redacted()
}

// minChunk is the least time that a query asks for.
const minChunk = 1000

// fetch reads the next chunk, and asks for half as long when it is too much.
func (p *puller) fetch() error {
	if p.series.types == nil {
		p.series.types = p.declared()
	}
	for {
		from := p.at.Load()
		to := min(from+p.chunk, p.end)
		rows := p.rows[:0]
		var err error
		for _, selector := range p.up.Selectors {
			if rows, err = p.query(rows, selector, from, to); err != nil {
				break
			}
		}
		if errors.Is(err, errTooMuch) && p.chunk > minChunk {
			p.chunk = max(minChunk, p.chunk/2)
			continue
		}
		if err != nil {
			return err
		}
		slices.SortStableFunc(rows, func(a, b row) int {
			return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.series.ID, b.series.ID))
		})
		p.rows, p.turn = distinct(rows), 0
		p.samples.Add(uint64(len(p.rows)))
		p.at.Store(to)
		// What went well may grow, slowly, up to what was asked for.
		p.chunk = min(p.chunk+p.chunk/4, p.up.Chunk.Milliseconds())
		return nil
	}
}

// distinct drops what several selectors returned.
func distinct(rows []row) []row {
	return slices.CompactFunc(rows, func(a, b row) bool {
		return a.at == b.at && a.series == b.series && (a.shape == nil) == (b.shape == nil)
	})
}

// query appends the samples in (from, to] of one selector.
func (p *puller) query(rows []row, selector string, from, to int64) ([]row, error) {
	span := to - from
	form := url.Values{
		"query": {fmt.Sprintf("%s[%dms]", selector, span)},
		"time":  {fmt.Sprintf("%d.%03d", to/1000, to%1000)},
	}
	var a matrix
	if err := p.ask(p.ctx, "/api/v1/query", form, &a); err != nil {
		return rows, err
	}
	for i := range a.Result {
		var err error
		if rows, err = p.take(rows, &a.Result[i], from, to); err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// take appends what an answer holds of one series. Prometheus 2 counts the
// sample at the very beginning of a range, which the chunk before held already.
func (p *puller) take(rows []row, a *answerSeries, from, to int64) ([]row, error) {
	s, err := p.known(a.Metric)
	if err != nil {
		return rows, err
	}
	for _, v := range a.Values {
		if v.at > from && v.at <= to {
			rows = append(rows, row{series: s, at: v.at, value: v.value})
		}
	}
	for i := range a.Histograms {
		h := &a.Histograms[i]
		if h.at <= from || h.at > to {
			continue
		}
		shape, ok := h.sample(s)
		if !ok {
			p.skipped.Add(1)
			continue
		}
		rows = append(rows, row{series: s, at: h.at, shape: shape})
	}
	if len(rows) > p.cfg.MaxSamples {
		return rows, errTooMuch
	}
	return rows, nil
}

// known is the series with these labels.
func (p *puller) known(metric map[string]string) (*engine.Series, error) {
	n, err := p.series.number(labels.FromMap(metric))
	if err != nil {
		return nil, fmt.Errorf("%w; narrow the selector", err)
	}
	return p.series.all[n], nil
}

// declared is the types of metrics as Prometheus knows them; without them the
// names have to do.
func (p *puller) declared() map[string]engine.Type {
	types := map[string]engine.Type{}
	var a map[string][]struct {
		Type string `json:"type"`
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.up.Timeout)
	defer cancel()
	if err := p.once(ctx, "/api/v1/metadata", url.Values{"limit_per_metric": {"1"}}, &a); err != nil {
		return types
	}
	for name, entries := range a {
		if len(entries) > 0 {
			types[name] = engineType(modelType(entries[0].Type))
		}
	}
	return types
}

// selectorError is a query that no repetition makes better.
type selectorError struct{ text string }

func (e *selectorError) Error() string { return e.text }

// ask asks until there is an answer, within bounds.
func (p *puller) ask(ctx context.Context, path string, form url.Values, into any) error {
	wait := time.Second
	for attempt := 1; ; attempt++ {
		within, cancel := context.WithTimeout(ctx, p.up.Timeout)
		err := p.once(within, path, form, into)
		if err != nil && within.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w: no answer within %v", errTooMuch, p.up.Timeout)
		}
		cancel()
		var final *selectorError
		if err == nil || errors.Is(err, errTooMuch) || errors.As(err, &final) || ctx.Err() != nil {
			return err
		}
		if attempt >= p.up.Attempts {
			return fmt.Errorf("after %d attempts: %w", attempt, err)
		}
		if err := p.up.Pause(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, 30*time.Second)
	}
}

// once asks one time.
func (p *puller) once(ctx context.Context, path string, form url.Values, into any) error {
	link := strings.TrimSuffix(p.up.URL, "/") + path
	// The metadata are read by GET, for which POST does not exist.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, link, strings.NewReader(form.Encode()))
	if path != "/api/v1/query" {
		req, err = http.NewRequestWithContext(ctx, http.MethodGet, link+"?"+form.Encode(), nil)
	}
	if err != nil {
		return err
	}
	if req.Method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := p.up.Client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return decode(res, p.up.MaxAnswer, into)
}
