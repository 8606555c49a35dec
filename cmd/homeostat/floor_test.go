package main

import (
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
)

// TestAFloorHoldsBackAndIsCounted sees that a server whose configuration has a
// floor tells nobody of what is under it, says how many points that were, and
// says in the list of series what it ignores.
func TestAFloorHoldsBackAndIsCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "floors.yaml")
	text := "detection: {floors: [{match: {job: shop}, ignore_below: 50}]}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := runServer(t, "--config.file", path)
	series := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "queue_depth"}, {Name: "job", Value: "shop"}}}
	start := time.Now().Add(-time.Hour).UnixMilli()
	for n := range 200 {
		v := 100 + math.Sin(float64(n*n))
		if n == 199 {
			v += 30
		}
		series.Samples = append(series.Samples, prompb.Sample{Timestamp: start + int64(n)*15_000, Value: v})
	}
	raw, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{series}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if status, body := r.call(t, http.MethodPost, "/api/v1/write", string(s2.EncodeSnappy(nil, raw)), writeHeaders...); status != http.StatusNoContent {
		t.Fatalf("%d %s", status, body)
	}
	for path, want := range map[string]string{
		"/metrics":          "\nhomeostat_floor_held_points_total 1\n",
		"/api/v1/anomalies": `"anomalies":[]`,
		"/api/v1/series":    `"ignored":50`,
	} {
		if _, body := r.call(t, http.MethodGet, path, ""); !strings.Contains(body, want) {
			t.Errorf("%s lacks %q:\n%.2000s", path, want, body)
		}
	}
}

// TestTheExampleOfFloors sees that the example ignores what its comments say.
func TestTheExampleOfFloors(t *testing.T) {
	c, err := loadConfig("../../testdata/config/floors.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := c.engineConfig()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		labels          []string
		below, relative float64
	}{
		{[]string{"__name__", "http_request_duration_seconds:p99", "namespace", "shop", "deployment", "checkout"}, 0.005, 0},
		{[]string{"__name__", "http_request_duration_seconds:p50", "namespace", "shop", "deployment", "cart"}, 0.05, 0.1},
		{[]string{"__name__", "http_requests_total:error_ratio", "namespace", "shop"}, 0.005, 0},
		{[]string{"__name__", "http_requests_total", "namespace", "shop"}, 0, 0},
	} {
		var below, relative float64
		for _, f := range cfg.Floors {
			if f.Match(labels.FromStrings(x.labels...)) {
				below, relative = f.Below, f.Relative
				break
			}
		}
		if below != x.below || relative != x.relative {
			t.Errorf("%v: ignores %v and %v, want %v and %v", x.labels, below, relative, x.below, x.relative)
		}
	}
}

func TestFloorsAreReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		"detection: {floors: [{match: {}, ignore_below: 1}]}":                           "floors: match of entry 1 is empty",
		"detection: {floors: [{ignore_below: 1}]}":                                      "floors: match of entry 1 is empty",
		"detection: {floors: [{match: {job: '('}, ignore_below: 1}]}":                   "entry 1, label job",
		"detection: {floors: [{match: {job: a}}]}":                                      "entry 1: it ignores nothing",
		"detection: {floors: [{match: {job: a}, ignore_below: -1}]}":                    "ignore_below -1",
		"detection: {floors: [{match: {job: a}, ignore_below: .nan}]}":                  "ignore_below NaN",
		"detection: {floors: [{match: {job: a}, ignore_below: 5ms}]}":                   "cannot unmarshal",
		"detection: {floors: [{match: {job: a}, ignore_relative: 20}]}":                 "ignore_relative 20: want a share",
		"detection: {floors: {match: {job: a}}}":                                        "cannot unmarshal",
		"detection:\n  floors:\n    - match: {job: a}\n      ignore_beneath: 1\n":       `line 4: the key "ignore_beneath" is unknown in detection.floors entry 1; did you mean "ignore_below"?`,
		"detection:\n  floors:\n    - &f {match: {job: a}, ignore_belw: 1}\n    - *f\n": `did you mean "ignore_below"?`,
	} {
		var c fileConfig
		err := parseConfig([]byte(text), func(string) (string, bool) { return "", false }, &c)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want something about %q", text, err, want)
		}
	}
}
