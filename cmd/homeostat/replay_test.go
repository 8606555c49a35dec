package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// command runs a command line in this process.
func command(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, messages bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&messages)
	err = root.ExecuteContext(t.Context())
	return out.String(), messages.String(), err
}

// dayOf is a day of a gauge at every 15 s, which ends now and of which the last
// hour but one is wrong.
func dayOf() (times []int64, values []float64) {
	end := time.Now().Truncate(time.Minute).UnixMilli()
	for at := end - 23*3600_000; at <= end; at += 15_000 {
		v := 100 + 5*math.Sin(float64(at)/40_000) + float64(at/15_000%7)
		if end-at < 2*3600_000 && end-at > 3600_000 {
			v += 400
		}
		times, values = append(times, at), append(values, v)
	}
	return times, values
}

// api answers as a Prometheus that holds the day, and keeps the credentials that
// it is sent.
type api struct {
	*httptest.Server
	credentials string
	queries     []string
}

func startAPI(t *testing.T) *api {
	times, values := dayOf()
	a := &api{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.credentials = r.Header.Get("Authorization")
		if r.URL.Path == "/api/v1/metadata" {
			fmt.Fprint(w, `{"status":"success","data":{}}`)
			return
		}
		query := r.FormValue("query")
		a.queries = append(a.queries, query)
		open := strings.LastIndexByte(query, '[')
		span, err := strconv.ParseInt(strings.TrimSuffix(query[open+1:], "ms]"), 10, 64)
		to, _ := strconv.ParseFloat(r.FormValue("time"), 64)
		if err != nil || query[:open] != "{}" && query[:open] != `{__name__=~".+"}` {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"status":"error","errorType":"bad_data","error":"parse error"}`)
			return
		}
		points := [][2]any{}
		for i, at := range times {
			if end := int64(to*1000 + 0.5); at > end-span && at <= end {
				points = append(points, [2]any{float64(at) / 1000, strconv.FormatFloat(values[i], 'g', -1, 64)})
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{
			"resultType": "matrix", "result": []any{map[string]any{"metric": map[string]string{"__name__": "load", "job": "api"}, "values": points}},
		}})
	}))
	t.Cleanup(a.Close)
	return a
}

func TestReplayFromAPrometheusIsThatOfAFile(t *testing.T) {
	server := startAPI(t)
	got, messages, err := command(t, "replay", "--from", "prometheus", "--url", server.URL, "--last", "2d", "--match", "{}", "-o", "jsonl")
	if err != nil {
		t.Fatal(err)
	}
	times, values := dayOf()
	var text strings.Builder
	for i, at := range times {
		fmt.Fprintf(&text, "load{job=\"api\"} %v %.3f\n", values[i], float64(at)/1000)
	}
	file := filepath.Join(t.TempDir(), "load.om")
	if err := os.WriteFile(file, []byte(text.String()+"# EOF\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want, _, err := command(t, "replay", file, "-o", "jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if got != want || !strings.Contains(got, `"type":"anomaly"`) {
		t.Errorf("from the API:\n%s\nfrom the file:\n%s", got, want)
	}
	for _, line := range strings.Split(strings.TrimSuffix(got, "\n"), "\n") {
		if !json.Valid([]byte(line)) {
			t.Errorf("stdout holds %q, which is no event", line)
		}
	}
	if !strings.HasPrefix(messages, fmt.Sprintf("%d samples of 1 series in ", len(times))) || strings.Contains(messages, "\r") {
		t.Errorf("stderr, which is no terminal, holds %q", messages)
	}
}

func TestReplaySendsCredentials(t *testing.T) {
	server := startAPI(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := command(t, "replay", "--from", "prometheus", "--url", server.URL, "--last", "1h", "--bearer-token-file", token); err != nil {
		t.Fatal(err)
	}
	if server.credentials != "Bearer s3cret" {
		t.Errorf("the server was sent %q", server.credentials)
	}
	link, _ := url.Parse(server.URL)
	link.User = url.UserPassword("reader", "s3cret")
	if _, _, err := command(t, "replay", "--from", "prometheus", "--url", link.String(), "--last", "1h"); err != nil {
		t.Fatal(err)
	}
	if server.credentials != "Basic cmVhZGVyOnMzY3JldA==" {
		t.Errorf("the server was sent %q", server.credentials)
	}
	// Nothing that is said holds a secret.
	_, messages, err := command(t, "replay", "--from", "prometheus", "--url", link.String(), "--match", "up{")
	if err == nil || strings.Contains(err.Error()+messages, "s3cret") || !strings.Contains(err.Error(), "reader:xxxxx@") {
		t.Errorf("error %v with %q, want one of reader without the password", err, messages)
	}
	for name, args := range map[string][]string{
		"no file":    {"--bearer-token-file", token + "x"},
		"empty file": {"--bearer-token-file", os.DevNull},
		"a user too": {"--bearer-token-file", token, "--url", link.String()},
	} {
		if _, _, err := command(t, append([]string{"replay", "--from", "prometheus", "--url", server.URL}, args...)...); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// A redirect would carry the token to somebody else.
func TestATokenIsNotRedirected(t *testing.T) {
	other := startAPI(t)
	first := httptest.NewServer(http.RedirectHandler(other.URL+"/api/v1/query", http.StatusTemporaryRedirect))
	defer first.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := command(t, "replay", "--from", "prometheus", "--url", first.URL, "--bearer-token-file", token); err == nil || !strings.Contains(err.Error(), "307") {
		t.Errorf("error %v, want one of the redirect", err)
	}
	if other.credentials != "" {
		t.Errorf("another server was sent %q", other.credentials)
	}
}

func TestReplayIsToldClearly(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
	}{
		{"", "at least one file or folder"},
		{"--from influx", "want prometheus"},
		{"--from prometheus", "wants --url"},
		{"--from prometheus --url http://localhost x.csv", "takes no path"},
		{"--from prometheus --url localhost:9090", "want http://host:port"},
		{"--from prometheus --url http://localhost --last 0", "want a duration such as"},
		{"--from prometheus --url http://localhost --last 1.5d", "for \"--last\" flag"},
		{"--from prometheus --url http://localhost --last 11y", "up to 10 years"},
		{"x.csv --last 1d", "--last goes with --from prometheus only"},
		{"x.csv --url http://localhost", "--url goes with"},
	} {
		_, _, err := command(t, append([]string{"replay"}, strings.Fields(c.args)...)...)
		if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("replay %s: error %v, want one of usage with %q", c.args, err, c.want)
		}
	}
}

func TestBootstrapTakesPrometheusDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"14d": 14 * 24 * time.Hour, "2w": 14 * 24 * time.Hour, "1h30m": 90 * time.Minute, "336h": 336 * time.Hour} {
		cmd := newServe()
		if err := cmd.ParseFlags([]string{"--bootstrap.last", text}); err != nil {
			t.Errorf("--bootstrap.last %s: %v", text, err)
			continue
		}
		if got := cmd.Flags().Lookup("bootstrap.last").Value.String(); got != "2w" && want == 14*24*time.Hour || got != "1h30m" && want == 90*time.Minute {
			t.Errorf("--bootstrap.last %s is %s", text, got)
		}
	}
}
