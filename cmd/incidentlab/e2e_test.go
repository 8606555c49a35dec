//go:build e2e

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

// prometheusForTest is the pinned Prometheus; that it is absent is a failure.
func prometheusForTest(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "../../benchmarks/peers/build.sh", "prometheus")
	cmd.Stderr = t.Output()
	path, err := cmd.Output()
	if err != nil {
		t.Fatalf("building Prometheus: %v", err)
	}
	return strings.TrimSpace(string(path))
}

// expectNothingLeft sees that neither a process nor a file of a lab that wrote
// into this folder is left.
func expectNothingLeft(t *testing.T, temporary string) {
	t.Helper()
	left, err := os.ReadDir(temporary)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		t.Errorf("%s is left", f.Name())
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(commands) == 0 {
		t.Fatalf("the processes can't be listed: %v", err)
	}
	for _, path := range commands {
		// A process that ends meanwhile has no command line any more.
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte(temporary)) {
			t.Errorf("%s still runs: %s", path, bytes.ReplaceAll(b, []byte{0}, []byte{' '}))
		}
	}
}

// TestE2EIncidentLab records 74 minutes of the shop, 18 real seconds, with the
// real Prometheus: payment grows slow, an instance of cart begins anew, catalog
// falls silent. The program's goroutines are watched by TestMain.
func TestE2EIncidentLab(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	slow := event{kind: scorecard.Latency, service: payment, instance: -1, from: 34 * time.Minute, to: 46 * time.Minute, size: 8}
	again := event{kind: restart, service: cart, instance: 1, from: 48 * time.Minute, to: 50 * time.Minute, harmless: true}
	silent := event{kind: scorecard.Silence, service: catalog, instance: -1, from: 54 * time.Minute, to: 64 * time.Minute}
	p := plan{start: start, events: []event{slow, again, silent}, learning: 30 * time.Minute, length: 74 * time.Minute}
	r := &recorder{
		scenario: "short", name: "short_1", out: t.TempDir(), prometheus: prometheusForTest(t),
		seed: 1, compression: usualCompression, scrape: usualScrape,
	}
	if err := r.record(t.Context(), t.Output(), p); err != nil {
		t.Fatal(err)
	}
	expectNothingLeft(t, temporary)
	b, err := os.ReadFile(filepath.Join(r.out, "short_1.truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	truth, err := scorecard.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(truth.Faults) != 2 || !truth.Faults[0].Start.Equal(start.Add(slow.from)) || truth.Faults[1].Workload != workloadOf(catalog) {
		t.Errorf("the truth is %+v: want the two events", truth)
	}
	rec := recorded{t, read(t, unpacked(t, filepath.Join(r.out, "short_1.om.zst")))}
	rec.expectSeriesOfEveryInstance(p.length)
	rec.expectSlow(slow)
	rec.expectRestart(again)
	rec.expectSilent(silent)
}

// recorded is what a recording holds, by series.
type recorded struct {
	*testing.T
	series map[string]*dumped
}

// of finds the series of a metric with these labels: name, value, name, value.
func (r recorded) of(metric string, want ...string) (found []*dumped) {
	for _, s := range r.series {
		have := s.labels.Get(labels.MetricName) == metric
		for i := 0; i < len(want); i += 2 {
			have = have && s.labels.Get(want[i]) == want[i+1]
		}
		if have {
			found = append(found, s)
		}
	}
	return found
}

// between is how much the counters of a metric with these labels rose from one
// offset to another, in a recording in which they were not reset there.
func (r recorded) between(from, to time.Duration, metric string, want ...string) (rise float64) {
	for _, s := range r.of(metric, want...) {
		var first, last float64
		n := 0
		for i, at := range s.at {
			if off := time.UnixMilli(at).Sub(start); off >= from && off <= to {
				if n == 0 {
					first = s.value[i]
				}
				last, n = s.value[i], n+1
			}
		}
		rise += last - first
	}
	return rise
}

// expectSeriesOfEveryInstance sees that each was scraped from begin to end.
func (r recorded) expectSeriesOfEveryInstance(length time.Duration) {
	r.Helper()
	for service, n := range instances {
		for _, metric := range []string{"up", "container_cpu_usage_seconds_total", "container_memory_working_set_bytes", "container_spec_memory_limit_bytes", "shop_pool_in_use", "shop_pool_waiting", "shop_build_info", "http_request_duration_seconds_count"} {
			found := r.of(metric, "namespace", namespace, "deployment", service, "job", service)
			if len(found) != n {
				r.Errorf("%s has %d series of %s: want %d", service, len(found), metric, n)
			}
			for _, s := range found {
				first, last := time.UnixMilli(s.at[0]).Sub(start), time.UnixMilli(s.at[len(s.at)-1]).Sub(start)
				if first < 0 || first > 3*time.Minute || last < length-3*time.Minute || last > length+time.Minute {
					r.Errorf("%s is there from %v to %v: want all of %v", s.labels, first, last, length)
				}
			}
		}
		if got := r.between(0, 34*time.Minute, "http_requests_total", "deployment", service, "code", "200"); got < 100 {
			r.Errorf("%s answered %v requests well: want hundreds", service, got)
		}
	}
}

// expectSlow sees that few requests take longer than 100 ms before the fault, and
// most do while it lasts.
func (r recorded) expectSlow(e event) {
	r.Helper()
	slow := func(from, to time.Duration) float64 {
		all := r.between(from, to, "http_request_duration_seconds_count", "deployment", e.service)
		return 1 - r.between(from, to, "http_request_duration_seconds_bucket", "deployment", e.service, "le", "0.1")/all
	}
	before, during := slow(0, e.from), slow(e.from+2*time.Minute, e.to)
	if !(before < 0.3 && during > 0.8) {
		r.Errorf("%.0f %% of the requests to %s take over 100 ms before it grows slow, and %.0f %% then", 100*before, e.service, 100*during)
	}
}

// expectSilent sees that no scrape of a service is answered while it is silent,
// that all others are, and that its counters go on.
func (r recorded) expectSilent(e event) {
	r.Helper()
	for _, service := range services {
		for _, s := range r.of("up", "deployment", service) {
			restarts := s.labels.Get("instance") == "10.0.1.2:8080" // cart, in between
			for i, at := range s.at {
				off := time.UnixMilli(at).Sub(start)
				if restarts && off > 47*time.Minute && off < 53*time.Minute {
					continue
				}
				inside, edge := off > e.from && off < e.to, (off-e.from).Abs() < 2*time.Minute || (off-e.to).Abs() < 2*time.Minute
				if want := service != e.service || !inside; !edge && (s.value[i] == 1) != want {
					r.Errorf("%s is %v at %v", s.labels, s.value[i], off)
				}
			}
		}
	}
	for _, s := range r.of("http_requests_total", "deployment", e.service, "code", "200") {
		gaps := 0
		for i := range s.at[1:] {
			if time.UnixMilli(s.at[i+1]).Sub(time.UnixMilli(s.at[i])) > 5*time.Minute {
				gaps++
			}
			if s.value[i+1] < s.value[i] {
				r.Errorf("%s falls from %v to %v: nobody started it anew", s.labels, s.value[i], s.value[i+1])
			}
		}
		if gaps != 1 {
			r.Errorf("%s has %d gaps: want one", s.labels, gaps)
		}
	}
}

// expectRestart sees that the process is another one afterwards: its counters and
// its processor time are those of a young one.
func (r recorded) expectRestart(e event) {
	r.Helper()
	for _, metric := range []string{"http_request_duration_seconds_count", "container_cpu_usage_seconds_total"} {
		for n := range instances[e.service] {
			instance := fmt.Sprintf("10.0.%d.%d:8080", slices.Index(services, e.service), n+1)
			for _, s := range r.of(metric, "instance", instance) {
				falls := 0
				for i := range s.at[1:] {
					if s.value[i+1] < s.value[i] {
						falls++
					}
				}
				if want := n == e.instance; (falls == 1) != want || falls > 1 {
					r.Errorf("%s falls %d times: that it begins anew is %v", s.labels, falls, want)
				}
			}
		}
	}
}

// TestE2EIncidentLabInterrupted presses Ctrl-C in the middle of a recording.
func TestE2EIncidentLabInterrupted(t *testing.T) {
	temporary, out := t.TempDir(), t.TempDir()
	binary := filepath.Join(t.TempDir(), "incidentlab")
	if b, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, b)
	}
	cmd := exec.CommandContext(t.Context(), binary, "record", "-scenario", "quiet", "-out", out, "-prometheus", prometheusForTest(t))
	cmd.Env = append(os.Environ(), "TMPDIR="+temporary)
	var said bytes.Buffer
	cmd.Stderr = &said
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The line that it begins with comes when the shop and Prometheus run.
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.Contains(line, "30h0m0s of recording take 7m30s") {
		t.Errorf("it begins with %q (%v)", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(said.String(), "recording quiet_1: interrupt signal received") {
		t.Errorf("it ended with %v and said %q: want 1 and that it was interrupted", err, said.String())
	}
	expectNothingLeft(t, temporary)
	if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
		t.Errorf("it left %v (%v)", left, err)
	}
}
