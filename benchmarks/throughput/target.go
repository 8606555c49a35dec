package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/homeostat/homeostat/benchmarks/throughput/load"
)

// The targets that are started here; any other is the URL of a receiver that
// runs already.
const (
	homeostat       = "homeostat"
	prometheus      = "prometheus"
	victoriametrics = "victoriametrics"
)

// target is a receiver that is measured.
type target struct {
	name    string
	pid     int
	write   string // URL that takes remote write
	web     string // base URL of its other pages; empty for a URL
	grpc    string // address; homeostat only
	address netip.AddrPort
	child   *child // nil for a URL
	dir     string // of its data, removed at the end
}

// errProtocol says that a target doesn't speak a protocol.
var errProtocol = errors.New("the target doesn't speak the protocol")

// startTarget starts a receiver, or takes the one of a URL, and returns when it
// is ready. The target must be closed.
func startTarget(ctx context.Context, o *options) (*target, error) {
	if o.target == victoriametrics && o.protocol == load.V2 {
		return nil, fmt.Errorf("%w: %s takes remote write 1.0 only (-protocol v1)", errProtocol, o.target)
	}
	switch o.target {
	case homeostat, prometheus, victoriametrics:
		return launch(ctx, o)
	}
	return runningTarget(o.target, o.pid)
}

// runningTarget is the receiver of a URL and the process that it is said to be.
func runningTarget(text string, pid int) (*target, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("target %q: want %s, %s, %s or an http URL", text, homeostat, prometheus, victoriametrics)
	}
	if pid <= 0 {
		return nil, fmt.Errorf("target %s: want -pid, the process that listens there", text)
	}
	address, err := netip.ParseAddrPort(u.Host)
	if err != nil || !address.Addr().IsLoopback() {
		return nil, fmt.Errorf("target %s: want a loopback address with its port, for the process is measured on this machine", text)
	}
	return &target{name: text, pid: pid, write: text, address: address}, nil
}

// launch builds what is missing, starts it on free ports of loopback with a
// store of its own and waits until it is ready.
func launch(ctx context.Context, o *options) (t *target, err error) {
	program, err := programOf(ctx, o)
	if err != nil {
		return nil, err
	}
	t = &target{name: o.target}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
			t = nil
		}
	}()
	if t.dir, err = os.MkdirTemp("", "throughput-"); err != nil {
		return t, err
	}
	if t.address, err = freeAddress(); err != nil {
		return t, err
	}
	t.web = "http://" + t.address.String()
	t.write = t.web + "/api/v1/write"
	arguments, err := t.arguments(o)
	if err != nil {
		return t, err
	}
	if t.child, err = startChild(program, arguments...); err != nil {
		return t, err
	}
	t.pid = t.child.cmd.Process.Pid
	return t, t.awaitReady(ctx)
}

// programOf is the binary of a target that is started here: ours from this
// tree, a peer's from its module.
func programOf(ctx context.Context, o *options) (string, error) {
	if o.binary != "" {
		return o.binary, nil
	}
	root, err := output(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}", "github.com/homeostat/homeostat")
	if err != nil {
		return "", err
	}
	if o.target != homeostat {
		return output(ctx, root, filepath.Join(root, "benchmarks", "peers", "build.sh"), o.target)
	}
	program := filepath.Join(root, "bin", "homeostat-throughput")
	_, err = output(ctx, root, "env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "./cmd/homeostat")
	return program, err
}

// output runs a command to its end and returns what it printed.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(stdout.String()), nil
}

// arguments are a target's, with what it reads written to its directory.
//
// The data's time runs far faster than the clock and begins hours ago. So
// homeostat is told that a series which sends nothing for five minutes of the
// clock's time isn't silent: every series would be. All else is as shipped.
func (t *target) arguments(o *options) ([]string, error) {
	data, address := filepath.Join(t.dir, "data"), t.address.String()
	file := filepath.Join(t.dir, "config.yaml")
	switch o.target {
	case prometheus:
		if err := os.WriteFile(file, []byte("global:\n  scrape_interval: 15s\n"), 0o666); err != nil {
			return nil, err
		}
		return []string{
			"--config.file=" + file, "--storage.tsdb.path=" + data, "--web.listen-address=" + address,
			"--web.enable-remote-write-receiver", "--log.level=warn",
		}, nil
	case victoriametrics:
		return []string{"-storageDataPath=" + data, "-httpListenAddr=" + address, "-retentionPeriod=1", "-loggerLevel=WARN"}, nil
	}
	if err := os.WriteFile(file, []byte("detection:\n  silent_after: 24h\n"), 0o666); err != nil {
		return nil, err
	}
	rpc, err := freeAddress()
	if err != nil {
		return nil, err
	}
	t.grpc = rpc.String()
	return []string{
		"serve", "--config.file=" + file, "--storage.path=" + data, "--web.listen-address=" + address,
		"--grpc.listen-address=" + t.grpc, "--log.level=warn", "--web.enable-pprof",
	}, nil
}

// awaitReady asks until the target is ready.
func (t *target) awaitReady(ctx context.Context) error {
	page := t.web + "/-/ready"
	if t.name == victoriametrics {
		page = t.web + "/health"
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		_, err := fetch(ctx, page)
		if err == nil {
			return nil
		}
		if ended := t.child.alive(); ended != nil {
			return ended
		}
		if wait(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("%s isn't ready: %w", t.name, err)
		}
	}
}

// check sees that it is the process that listens.
func (t *target) check() error {
	if t.child != nil {
		if err := t.child.alive(); err != nil {
			return err
		}
	}
	return checkListener("/proc", t.pid, t.address)
}

// usage is what the target has used so far.
func (t *target) usage() (usage, error) {
	if t.child != nil {
		if err := t.child.alive(); err != nil {
			return usage{}, err
		}
	}
	return usageOf("/proc", t.pid)
}

// close ends a target that was started here and removes its data.
func (t *target) close() error {
	var err error
	if t.child != nil {
		err = t.child.stop()
	}
	if t.dir != "" {
		err = errors.Join(err, os.RemoveAll(t.dir))
	}
	return err
}

// fetch reads a page that is answered by 200.
func fetch(ctx context.Context, page string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", page, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", page, response.Status)
	}
	return text, nil
}
