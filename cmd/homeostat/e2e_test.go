//go:build e2e

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// The end-to-end tests run the built binary with real peers. This chapter is the
// stage: the binary, a running server, its metrics and the accounting identity.

// built is the path of the binary, built once for all tests.
var built = sync.OnceValues(func() (string, error) {
	path, err := filepath.Abs(filepath.Join("..", "..", "bin", "homeostat-e2e"))
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building homeostat: %w\n%s", err, out)
	}
	return path, nil
})

func program(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs the binary to its end and returns what it wrote to stdout.
func run(t *testing.T, args ...string) []byte {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program(t), args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("homeostat %s: %v\n%s", strings.Join(args, " "), err, tailOf(stderr.String()))
	}
	return stdout.Bytes()
}

// eventually asks until the answer is nil, and fails with the last one when that
// takes longer than it may.
func eventually(t *testing.T, within time.Duration, what string, ask func() error) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %v: %v", what, within, err)
		case <-t.Context().Done():
			t.Fatalf("%s: the test ended: %v", what, err)
		}
	}
}

// freeAddress is an address on loopback that nobody listens on. Another process
// could take it before it is used; on the machine of a test nobody does.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// process is a child whose output is kept and whose end is waited for.
type process struct {
	cmd    *exec.Cmd
	ended  chan struct{} // closed once it has ended and its output is complete
	err    error         // how it ended; read it after ended
	mu     sync.Mutex
	output []string // the lines of stderr and stdout
}

func start(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = in, in
	// A group of its own, so that a tracer takes the traced with it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	in.Close()
	go func() {
		defer close(p.ended)
		defer out.Close()
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadString('\n')
			if line != "" {
				p.mu.Lock()
				p.output = append(p.output, strings.TrimSuffix(line, "\n"))
				p.mu.Unlock()
			}
			if err != nil {
				break
			}
		}
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the last output of %s:\n%s", filepath.Base(name), tailOf(strings.Join(p.lines(), "\n")))
		}
	})
	return p
}

func (p *process) lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.output...)
}

// kill ends the process and its group at once, as kill -9 does, and waits.
func (p *process) kill() {
	select {
	case <-p.ended:
	default:
		p.shoot()
		<-p.ended
	}
}

// shoot sends SIGKILL to the process and its group.
func (p *process) shoot() { syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// stop asks the process to end and waits until it has.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("stopping %s: %v", p.cmd.Path, err)
	}
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		p.kill()
		t.Fatalf("%s did not end within 30 s of SIGTERM", p.cmd.Path)
	}
}

// tailOf is the end of a long text.
func tailOf(s string) string {
	const most = 6000
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

// server is a running homeostat serve.
type server struct {
	*process
	http, grpc string // addresses
	storage    string
	client     homeostatv1.HomeostatServiceClient
}

// serveOptions say how a server is started.
type serveOptions struct {
	storage string   // default: a new directory
	config  string   // text of a configuration file; none by default
	args    []string // further flags
	env     []string // further environment
	around  []string // a command that runs the server, such as a tracer
	http    string   // addresses to listen on again; free ones by default
	grpc    string
}

// serve starts a server and waits until it is ready.
func serve(t *testing.T, o serveOptions) *server {
	t.Helper()
	s := launch(t, o)
	s.awaitReady(t)
	return s
}

// launch starts a server and waits for nothing.
func launch(t *testing.T, o serveOptions) *server {
	t.Helper()
	s := &server{http: o.http, grpc: o.grpc, storage: o.storage}
	if s.storage == "" {
		s.storage = filepath.Join(t.TempDir(), "data")
	}
	if s.http == "" {
		s.http, s.grpc = freeAddress(t), freeAddress(t)
	}
	args := append(append([]string{}, o.around...), program(t), "serve",
		"--storage.path="+s.storage, "--web.listen-address="+s.http, "--grpc.listen-address="+s.grpc)
	if o.config != "" {
		file := filepath.Join(t.TempDir(), "homeostat.yaml")
		if err := os.WriteFile(file, []byte(o.config), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config.file="+file)
	}
	args = append(args, o.args...)
	s.process = start(t, o.env, args[0], args[1:]...)
	conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s.client = homeostatv1.NewHomeostatServiceClient(conn)
	return s
}

func (s *server) awaitReady(t *testing.T) {
	t.Helper()
	eventually(t, 30*time.Second, "homeostat is ready", s.ready)
}

func (s *server) ready() error {
	select {
	case <-s.ended:
		return fmt.Errorf("homeostat ended: %w", s.err)
	default:
	}
	response, err := http.Get("http://" + s.http + "/-/ready")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(response.Body)
		return fmt.Errorf("%s: %s", response.Status, body)
	}
	return nil
}

// metrics are the families of a /metrics page, by name.
type metrics map[string]*dto.MetricFamily

func scrape(t *testing.T, address string) metrics {
	t.Helper()
	m, err := tryScrape(address)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func tryScrape(address string) (metrics, error) {
	response, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(response.Body)
}

// sum adds the values of a family whose labels include those given, as name,
// value, name, value.
func (m metrics) sum(name string, labels ...string) float64 {
	total := 0.0
	for _, metric := range m[name].GetMetric() {
		if matches(metric, labels) {
			total += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + metric.GetUntyped().GetValue()
		}
	}
	return total
}

func matches(metric *dto.Metric, labels []string) bool {
	for i := 0; i < len(labels); i += 2 {
		found := false
		for _, l := range metric.GetLabel() {
			found = found || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
		}
		if !found {
			return false
		}
	}
	return true
}

// watched is what a subscriber saw, in order.
type watched struct {
	mu     sync.Mutex
	events []*homeostatv1.WatchResponse
	token  string // of the last message
	ended  chan struct{}
	err    error // why the stream ended; read it after ended
}

// watch subscribes after the token and keeps what comes until ctx ends.
func (s *server) watch(ctx context.Context, t *testing.T, token string) *watched {
	t.Helper()
	w := &watched{token: token, ended: make(chan struct{})}
	stream, err := s.client.Watch(ctx, &homeostatv1.WatchRequest{ResumeToken: token}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatalf("watching: %v", err)
	}
	go func() {
		defer close(w.ended)
		for {
			message, err := stream.Recv()
			if err != nil {
				w.err = err
				return
			}
			w.mu.Lock()
			w.token = message.GetResumeToken()
			w.events = append(w.events, message)
			w.mu.Unlock()
		}
	}()
	return w
}

// seen is a copy of what has come so far, and the token to go on after.
func (w *watched) seen() ([]*homeostatv1.WatchResponse, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*homeostatv1.WatchResponse(nil), w.events...), w.token
}

// await waits for an event that satisfies the test and returns it.
func (w *watched) await(t *testing.T, within time.Duration, what string, is func(*homeostatv1.WatchResponse) bool) *homeostatv1.WatchResponse {
	t.Helper()
	var found *homeostatv1.WatchResponse
	next := 0
	eventually(t, within, what, func() error {
		events, _ := w.seen()
		for ; next < len(events); next++ {
			if is(events[next]) {
				found = events[next]
				return nil
			}
		}
		return fmt.Errorf("%d events came, none of them it", len(events))
	})
	return found
}

// nameOf is the metric name of a series.
func nameOf(s *homeostatv1.Series) string { return labelOf(s, "__name__") }

func labelOf(s *homeostatv1.Series, name string) string {
	for _, l := range s.GetLabels() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
