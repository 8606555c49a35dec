package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// scraper is a real Prometheus over the shop.
type scraper struct {
	url    string
	dir    string
	client http.Client
	cmd    *exec.Cmd
	ended  chan struct{}
	err    error        // how it ended; read it after ended
	log    bytes.Buffer // likewise
}

type target struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// startScraper starts Prometheus in a directory of its own and waits until it has
// scraped each pod.
func startScraper(ctx context.Context, binary string, every time.Duration, s *shop) (*scraper, error) {
	dir, err := os.MkdirTemp("", "incidentlab-")
	if err != nil {
		return nil, err
	}
	p := &scraper{dir: dir, client: http.Client{Transport: &http.Transport{}}, ended: make(chan struct{})}
	if err := p.start(ctx, binary, every, s); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (p *scraper) start(ctx context.Context, binary string, every time.Duration, s *shop) error {
	config, err := scrapeConfig(every, s)
	if err != nil {
		return err
	}
	file := filepath.Join(p.dir, "prometheus.yml")
	if err := os.WriteFile(file, config, 0o644); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := l.Addr().String()
	l.Close()
	p.url = "http://" + address
	p.cmd = exec.Command(binary, "--config.file", file, "--storage.tsdb.path", filepath.Join(p.dir, "data"),
		"--web.listen-address", address, "--log.level", "warn")
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("starting Prometheus: %w", err)
	}
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
	}()
	pods := 0
	for _, all := range s.pods {
		pods += len(all)
	}
	return p.ready(ctx, pods)
}

// scrapeConfig is a configuration as JSON, which YAML contains. The labels are
// those that a scrape of pods would have.
func scrapeConfig(every time.Duration, s *shop) ([]byte, error) {
	var jobs []any
	for i, service := range services {
		var targets []target
		for n, pod := range s.pods[service] {
			targets = append(targets, target{[]string{pod.spec.Scrape}, map[string]string{
				"namespace": namespace, "deployment": service, "instance": fmt.Sprintf("10.0.%d.%d:8080", i, n+1),
			}})
		}
		jobs = append(jobs, map[string]any{"job_name": service, "static_configs": targets})
	}
	interval := strconv.FormatInt(every.Milliseconds(), 10) + "ms"
	return json.Marshal(map[string]any{
		"global":         map[string]any{"scrape_interval": interval, "scrape_timeout": interval},
		"scrape_configs": jobs,
	})
}

// ready waits until so many targets were scraped well.
func (p *scraper) ready(ctx context.Context, targets int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	beat := time.NewTicker(50 * time.Millisecond)
	defer beat.Stop()
	for {
		up, err := p.query(ctx, "sum(up)", time.Now())
		if err == nil && len(up) == 1 && up[0].value[0] == strconv.Itoa(targets) {
			return nil
		}
		select {
		case <-p.ended:
			return p.gone()
		case <-ctx.Done():
			return fmt.Errorf("prometheus has not scraped %d pods (%v): %w", targets, err, context.Cause(ctx))
		case <-beat.C:
		}
	}
}

// gone is the error of a Prometheus that ended by itself.
func (p *scraper) gone() error {
	return fmt.Errorf("prometheus ended: %w\n%s", cmp.Or(p.err, errors.New("without an error")), p.log.Bytes())
}

// guard calls fail when Prometheus ends before ctx does.
func (p *scraper) guard(ctx context.Context, fail func(error)) {
	select {
	case <-p.ended:
		fail(p.gone())
	case <-ctx.Done():
	}
}

// stop ends Prometheus, or kills it when it does not end, and removes what it
// wrote.
func (p *scraper) stop() {
	if p.cmd != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		patience := time.NewTimer(20 * time.Second)
		defer patience.Stop()
		select {
		case <-p.ended:
		case <-patience.C:
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
	}
	p.client.CloseIdleConnections()
	os.RemoveAll(p.dir)
}

func (p *scraper) get(ctx context.Context, path string, values url.Values) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path+"?"+values.Encode(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		resp.Body.Close()
		return nil, fmt.Errorf("%s: %s", resp.Status, b)
	}
	return resp.Body, nil
}

// scraped is one series with its values at real times.
type scraped struct {
	labels map[string]string
	at     []time.Time
	value  []string // as Prometheus writes them
}

// kept selects what goes into a recording: what says something, once.
const kept = `{__name__=~"http_requests_total|http_request_duration_seconds_(bucket|count)|container_.+|shop_.+|up"}`

// samples reads every sample between two real times.
func (p *scraper) samples(ctx context.Context, from, to time.Time) ([]scraped, error) {
	window := int(to.Sub(from).Seconds()) + 1
	out, err := p.query(ctx, fmt.Sprintf("%s[%ds]", kept, window), to)
	if err != nil {
		return nil, err
	}
	for i := range out {
		s := &out[i]
		n := 0
		for n < len(s.at) && s.at[n].Before(from) {
			n++
		}
		s.at, s.value = s.at[n:], s.value[n:]
	}
	out = slices.DeleteFunc(out, func(s scraped) bool { return len(s.at) == 0 })
	if len(out) == 0 {
		return nil, errors.New("prometheus has no sample of the shop")
	}
	return out, nil
}

// query evaluates an expression at a time, to one value a series or to many.
func (p *scraper) query(ctx context.Context, expr string, at time.Time) ([]scraped, error) {
	body, err := p.get(ctx, "/api/v1/query", url.Values{
		"query": {expr}, "time": {fmt.Sprintf("%.3f", float64(at.UnixMilli())/1000)},
	})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
				Value  [2]any            `json:"value"`
				Values [][2]any          `json:"values"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(body).Decode(&answer); err != nil {
		return nil, err
	}
	var out []scraped
	for _, r := range answer.Data.Result {
		s := scraped{labels: r.Metric}
		if len(r.Values) == 0 {
			r.Values = [][2]any{r.Value}
		}
		for _, v := range r.Values {
			at, isTime := v[0].(float64)
			value, isText := v[1].(string)
			if !isTime || !isText {
				return nil, fmt.Errorf("a sample is %v", v)
			}
			s.at, s.value = append(s.at, time.UnixMilli(int64(at*1000+0.5))), append(s.value, value)
		}
		out = append(out, s)
	}
	return out, nil
}
