package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
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
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

// peer is the Prometheus that evaluates the rules.
type peer struct{ prometheus, promtool, rules string }

// theirs loads a recording into a real Prometheus, has promtool evaluate the
// recording rules over it, and asks for the alerts' expressions at every
// interval.
func theirs(ctx context.Context, r *recording, p peer) ([]scorecard.Alarm, error) {
	alerts, err := readRules(p.rules)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "homeostat-incidents-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	text := filepath.Join(dir, "recording.om")
	if err := unpack(r.path, text); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if err := command(ctx, p.promtool, "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration", "336h", text, data); err != nil {
		return nil, err
	}
	err = p.serving(ctx, dir, func(url string) error {
		return command(ctx, p.promtool, "tsdb", "create-blocks-from", "rules", "--url", url, "--output-dir", data,
			"--eval-interval", interval.String(), "--start", stamp(r.truth.Start), "--end", stamp(r.truth.End), p.rules)
	})
	if err != nil {
		return nil, fmt.Errorf("recording rules: %w", err)
	}
	var alarms []scorecard.Alarm
	err = p.serving(ctx, dir, func(url string) error {
		for i := range alerts {
			series, err := query(ctx, url, alerts[i].Expr, r.truth.Start, r.truth.End)
			if err != nil {
				return fmt.Errorf("alert %s: %w", alerts[i].Alert, err)
			}
			alarms = append(alarms, firing(&alerts[i], series)...)
		}
		return nil
	})
	return alarms, err
}

func stamp(t time.Time) string { return fmt.Sprint(t.Unix()) }

// unpack writes what is in a recording.
func unpack(from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	var in io.Reader = bufio.NewReader(f)
	switch filepath.Ext(from) {
	case ".gz":
		z, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		in = z
	case ".zst":
		z, err := zstd.NewReader(in)
		if err != nil {
			return err
		}
		defer z.Close()
		in = z
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// command runs a program to its end and gives its output as the error's text.
func command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args[:min(3, len(args))], " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// serving runs Prometheus over the data directory while do runs.
func (p peer) serving(ctx context.Context, dir string, do func(url string) error) error {
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("global: {}\n"), 0o644); err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.prometheus, "--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--storage.tsdb.retention.time", "100y", "--web.listen-address", address, "--log.level", "error")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	err = ready(ctx, "http://"+address, ended)
	if err == nil {
		err = do("http://" + address)
	}
	cancel()
	<-ended
	if err != nil && log.Len() > 0 {
		return fmt.Errorf("%w\n%s", err, bytes.TrimSpace(log.Bytes()))
	}
	return err
}

// freeAddress is an address of loopback that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// ready waits until Prometheus answers, at most a minute.
func ready(ctx context.Context, base string, ended chan error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	beat := time.NewTicker(50 * time.Millisecond)
	defer beat.Stop()
	for {
		if body, err := get(ctx, base+"/-/ready"); err == nil {
			body.Close()
			return nil
		}
		select {
		case err := <-ended:
			ended <- err
			return fmt.Errorf("prometheus ended before it was ready: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("prometheus is not ready: %w", ctx.Err())
		case <-beat.C:
		}
	}
}

func get(ctx context.Context, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
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

// query evaluates an expression at every interval from start to end.
func query(ctx context.Context, base, expr string, start, end time.Time) ([]sampled, error) {
	values := url.Values{"query": {expr}, "start": {stamp(start)}, "end": {stamp(end)}, "step": {fmt.Sprint(interval.Seconds())}}
	body, err := get(ctx, base+"/api/v1/query_range?"+values.Encode())
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string    `json:"metric"`
				Values [][2]json.RawMessage `json:"values"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(body).Decode(&answer); err != nil {
		return nil, err
	}
	var out []sampled
	for _, r := range answer.Data.Result {
		s := sampled{labels: r.Metric}
		for _, v := range r.Values {
			var at float64
			if err := json.Unmarshal(v[0], &at); err != nil {
				return nil, fmt.Errorf("a time that is no number: %w", err)
			}
			s.at = append(s.at, time.UnixMilli(int64(at*1000)).UTC())
		}
		out = append(out, s)
	}
	return out, nil
}
