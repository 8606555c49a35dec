package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
	"github.com/homeostat/homeostat/ingest/remotewrite"
	serving "github.com/homeostat/homeostat/serve"
	"github.com/homeostat/homeostat/store"
)

// stage is a reloader over real parts, and the files that it reads.
type stage struct {
	*reloader
	t   *testing.T
	dir string
	log *journal
}

func newStage(t *testing.T) *stage {
	t.Helper()
	dir := t.TempDir()
	s := &stage{t: t, dir: dir, log: &journal{news: make(chan struct{})}}
	e, err := engine.New(engine.Config{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(filepath.Join(dir, "data"), store.Config{MinFreeBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	l := loop.New(loop.Config{}, e, st)
	write, err := remotewrite.New(remotewrite.Config{}, e.Naming(), l.Submit)
	if err != nil {
		t.Fatal(err)
	}
	s.reloader = &reloader{
		config: filepath.Join(dir, "homeostat.yaml"), log: slog.New(slog.NewTextHandler(s.log, nil)), store: st, loop: l, write: write,
		service: serving.NewService(serving.Config{}, serving.NewBoard(), st, l), successful: true,
		now: func() time.Time { return time.UnixMilli(1_772_000_000_500) },
	}
	s.set("")
	s.tried = s.contents()
	return s
}

// set writes the configuration file.
func (s *stage) set(text string) {
	s.t.Helper()
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// gauge reads one of the reloader's own metrics.
func (s *stage) gauge(name string) float64 {
	s.t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.reloader)
	families, err := registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "homeostat_config_"+name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	s.t.Fatalf("there is no %s", name)
	return 0
}

// tooLarge says whether a body of 100 bytes is refused for its size.
func (s *stage) tooLarge() bool {
	r := httptest.NewRequest(http.MethodPost, "/api/v1/write", strings.NewReader(strings.Repeat("x", 100)))
	r.Header.Set("Content-Encoding", "snappy")
	w := httptest.NewRecorder()
	s.write.ServeHTTP(w, r)
	return w.Code == http.StatusRequestEntityTooLarge
}

func TestReloadPutsLiveKeysInForce(t *testing.T) {
	s := newStage(t)
	s.set("remote_write: {max_compressed_bytes: 10}\nstorage: {min_free_bytes: 1000000000000000}\nqueue: {batches: 7}\nwatch: {heartbeat: 1s}\n")
	warnings, err := s.Reload()
	if err != nil || len(warnings) > 0 {
		t.Fatalf("reloading: %v, %v", warnings, err)
	}
	if !s.tooLarge() {
		t.Error("the limit of the body is not in force")
	}
	if err := s.store.Admit(); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("the floor of free space is not in force: %v", err)
	}
	if s.running.Queue.Batches != 7 || s.running.Watch.Heartbeat != time.Second {
		t.Errorf("in force is %+v", s.running)
	}
	if s.gauge("last_reload_successful") != 1 || s.gauge("restart_needed") != 0 || s.gauge("last_reload_success_timestamp_seconds") != 1_772_000_000.5 {
		t.Error("the metrics don't say so")
	}
	s.set("") // and the defaults are back
	if _, err := s.Reload(); err != nil || s.tooLarge() {
		t.Errorf("the defaults are not back: %v", err)
	}
}

// What changes a result waits for a restart as a whole and is said to; when it
// is taken back nothing waits.
func TestWhatChangesResultsWaitsForARestart(t *testing.T) {
	s := newStage(t)
	s.set("detection: {grace: 20s, workload_by: [[team]], floors: [{match: {job: a}, ignore_below: 1}]}\nstorage: {sweep_every: 1m}\nremote_write: {max_compressed_bytes: 10}\n")
	warnings, err := s.Reload()
	want := []string{
		"detection.workload_by changed and takes effect after a restart",
		"detection.grace changed and takes effect after a restart",
		"detection.floors changed and takes effect after a restart",
		"storage.sweep_every changed and takes effect after a restart",
	}
	if err != nil || !slices.Equal(warnings, want) {
		t.Errorf("warned of %q, %v", warnings, err)
	}
	if s.running.Detection.Grace != 0 || s.running.Detection.WorkloadBy != nil || s.running.Storage.SweepEvery != 0 {
		t.Errorf("some of it is taken for being in force: %+v", s.running)
	}
	if !s.tooLarge() {
		t.Error("the rest of the file is not in force")
	}
	if s.gauge("restart_needed") != 1 || s.gauge("last_reload_successful") != 1 {
		t.Error("the metrics don't say so")
	}
	s.set("remote_write: {max_compressed_bytes: 10}\n")
	if warnings, err := s.Reload(); err != nil || len(warnings) > 0 || s.gauge("restart_needed") != 0 {
		t.Errorf("taken back, and still: %q, %v", warnings, err)
	}
}

// A file that is wrong anywhere changes nothing, is logged once while it stays as
// it is, and shows in the metrics until it is right again.
func TestAFailedReloadChangesNothing(t *testing.T) {
	for what, text := range map[string]string{
		"an unknown key":     "remote_write: {max_compressed_bytes: 10}\nwotch: {}\n",
		"a value of a type":  "remote_write: {max_compressed_bytes: 10}\nwatch: {heartbeat: soon}\n",
		"a value out of bed": "remote_write: {max_compressed_bytes: 10}\nqueue: {batches: -1}\n",
		"an unset variable":  "remote_write: {max_compressed_bytes: 10}\nwatch: {heartbeat: \"${NOT_SET_AT_ALL}\"}\n",
		"no YAML":            "remote_write: {max_compressed_bytes: 10",
	} {
		t.Run(what, func(t *testing.T) {
			s := newStage(t)
			s.set(text)
			for range 5 {
				s.Poll()
			}
			if s.tooLarge() {
				t.Error("half of it is in force")
			}
			if s.gauge("last_reload_successful") != 0 || s.gauge("last_reload_success_timestamp_seconds") > 0 {
				t.Error("the metrics don't say so")
			}
			if n := strings.Count(s.log.String(), "\n"); n != 1 {
				t.Errorf("five looks at it wrote %d lines", n)
			}
			s.set("remote_write: {max_compressed_bytes: 10}\n")
			if s.Poll(); !s.tooLarge() || s.gauge("last_reload_successful") != 1 {
				t.Error("the file was mended and is not in force")
			}
		})
	}
	s := newStage(t)
	if err := os.Remove(s.config); err != nil {
		t.Fatal(err)
	}
	s.Poll()
	s.Poll()
	if n := strings.Count(s.log.String(), "was not reloaded"); n != 1 || s.gauge("last_reload_successful") != 0 {
		t.Errorf("a file that is gone was told %d times", n)
	}
}

// The content counts, not the file: a ConfigMap swaps a link to another folder.
func TestPollFollowsALinkThatIsSwapped(t *testing.T) {
	s := newStage(t)
	folder := func(name, text string) {
		if err := os.MkdirAll(filepath.Join(s.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.dir, name, "c.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	folder("one", "")
	folder("two", "remote_write: {max_compressed_bytes: 10}\n")
	link := filepath.Join(s.dir, "now")
	if err := os.Symlink("one", link); err != nil {
		t.Fatal(err)
	}
	s.config = filepath.Join(link, "c.yaml")
	s.Poll()
	if s.log.String() != "" {
		t.Error("the same content was loaded again")
	}
	if err := errors.Join(os.Symlink("two", link+"~"), os.Rename(link+"~", link)); err != nil {
		t.Fatal(err)
	}
	if s.Poll(); !s.tooLarge() {
		t.Error("the swapped link was not seen")
	}
}

// Bad tokens keep a good configuration out too: both are one change.
func TestTokensAndConfigurationAreOneChange(t *testing.T) {
	s := newStage(t)
	secret, token, err := serving.NewToken("one", serving.RoleRead)
	if err != nil {
		t.Fatal(err)
	}
	if s.guard, err = serving.NewGuard([]serving.Token{token}); err != nil {
		t.Fatal(err)
	}
	lets := func() bool {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer "+secret)
		w := httptest.NewRecorder()
		s.guard.Allow(serving.RoleRead, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
		return w.Code == http.StatusOK
	}
	s.tokens = filepath.Join(s.dir, "tokens.yaml")
	s.set("remote_write: {max_compressed_bytes: 10}\n")
	if err := os.WriteFile(s.tokens, []byte("tokens: [{name: one, roles: [reed], sha256: "+fmt.Sprintf("%x", token.Digest)+"}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reload(); err == nil || s.tooLarge() || !lets() {
		t.Errorf("a bad file of tokens: %v", err)
	}
	if err := os.WriteFile(s.tokens, []byte("tokens: [{name: two, roles: [read], sha256: "+strings.Repeat("ab", 32)+"}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s.Poll(); !s.tooLarge() || lets() {
		t.Error("the tokens were not replaced together with the configuration")
	}
}

// TestEveryKeyIsLiveOrWaits sets each key by itself: those of the list are live,
// and every other is said to wait.
func TestEveryKeyIsLiveOrWaits(t *testing.T) {
	live := []string{
		"remote_write.sender_header", "remote_write.max_compressed_bytes", "remote_write.max_decoded_bytes", "remote_write.max_series",
		"remote_write.max_labels", "remote_write.replicas.cluster_label", "remote_write.replicas.replica_label",
		"storage.min_free_bytes", "queue.batches", "queue.samples", "watch.heartbeat", "watch.max_subscribers",
	}
	for _, key := range keysOf(reflect.TypeOf(fileConfig{}), "") {
		var running, file fileConfig
		setKey(t, reflect.ValueOf(&file).Elem(), strings.Split(key, "."))
		liveKeys(&running, &file)
		waits := changedKeys(reflect.ValueOf(running), reflect.ValueOf(file), "")
		if slices.Contains(live, key) {
			if len(waits) != 0 {
				t.Errorf("%s is to be live, and waits", key)
			}
		} else if !slices.Equal(waits, []string{key}) {
			t.Errorf("%s changed and is neither live nor said to wait: %v", key, waits)
		}
	}
}

func setKey(t *testing.T, v reflect.Value, path []string) {
	t.Helper()
	for i := range v.NumField() {
		if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ","); name != path[0] {
			continue
		}
		switch f := v.Field(i); f.Kind() {
		case reflect.Struct:
			setKey(t, f, path[1:])
		case reflect.String:
			f.SetString("x")
		case reflect.Float64:
			f.SetFloat(3)
		case reflect.Int, reflect.Int64:
			f.SetInt(3)
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		default:
			t.Fatalf("%v: teach the test this kind", f.Kind())
		}
	}
}

// TestReloadUnderWriters reloads a whole server by signal, by HTTP and by its
// poll while writers write: every sample is accounted for. The race detector
// looks on.
func TestReloadUnderWriters(t *testing.T) {
	const writers, requests = 4, 60
	file := filepath.Join(t.TempDir(), "homeostat.yaml")
	set := func(text string) {
		// Renamed into its place, so that no reload sees half of it.
		if err := errors.Join(os.WriteFile(file+"~", []byte(text), 0o600), os.Rename(file+"~", file)); err != nil {
			t.Error(err)
		}
	}
	set("")
	r := runServer(t, "--config.file", file, "--config.poll-interval", "2ms", "--web.enable-lifecycle")
	now := time.Now()
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for n := range requests {
				body := writeBody(t, now.Add(time.Duration(n)*time.Millisecond), float64(n), "__name__", "load", "replica", "a", "writer", strconv.Itoa(w))
				if code, text := r.call(t, "POST", "/api/v1/write", body, writeHeaders...); code != 204 && code != 400 && code != 503 {
					t.Errorf("a writer was told %d %s", code, text)
				}
			}
		})
	}
	for n := range 30 {
		set(fmt.Sprintf("remote_write: {max_labels: %d, replicas: {replica_label: %q}}\nqueue: {batches: %d}\nwatch: {heartbeat: %ds}\nstorage: {min_free_bytes: %d}\n",
			2+n%3, []string{"", "replica"}[n%2], 1+n, 1+n, 1+n))
		if n%10 == 0 {
			if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}
		if code, text := r.call(t, "POST", "/-/reload", ""); code != 200 {
			t.Errorf("reloading: %d %s", code, text)
		}
	}
	wait.Wait()
	set("wrong: 1\n")
	r.log.await(t, "was not reloaded")
	_, page := r.call(t, "GET", "/metrics", "")
	sum := func(pattern string) (total float64) {
		for _, m := range regexp.MustCompile(`(?m)^`+pattern+` (\S+)$`).FindAllStringSubmatch(page, -1) {
			v, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			total += v
		}
		return total
	}
	received := sum(`homeostat_ingest_samples_total\{outcome="received",protocol="[^"]*"\}`)
	accounted := sum(`homeostat_ingest_samples_total\{outcome="scored",protocol="[^"]*"\}`) +
		sum(`homeostat_ingest_absorbed_total\{[^}]*\}`) + sum(`homeostat_ingest_rejected_total\{[^}]*\}`)
	deferred := sum(`homeostat_ingest_deferred_total`)
	if received != accounted || received+deferred != writers*requests {
		t.Errorf("received %v, accounted for %v, deferred %v; %d were sent", received, accounted, deferred, writers*requests)
	}
	if sum(`homeostat_config_last_reload_successful`) != 0 {
		t.Error("the last reload failed, and the metric says that it did not")
	}
}
