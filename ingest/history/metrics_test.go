package history

import (
	"strings"
	"testing"

	"github.com/homeostat/homeostat/engine"
)

const exposition = `# HELP http_requests Requests.
# TYPE http_requests counter
http_requests_total{job="api",path="/a\nb\"\\"} 1 1700000000.5
http_requests_total{job="api",path="/a\nb\"\\"} 2 1700000060
# TYPE http_seconds histogram
http_seconds_bucket{job="api",le="+Inf"} 3 1700000000
http_seconds_count{job="api"} 3 1700000000
# TYPE temperature gauge
temperature{job="api"} -4.5e-1 1699999990
temperature{job="api"} NaN 1700000060
# EOF
`

func TestOpenMetricsIsSortedByTimeAcrossSeries(t *testing.T) {
	path := put(t, t.TempDir(), "dump.om", exposition)
	text, r, err := replay(t, Config{}, path)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(samples(text), "\n")
	for i, at := range []string{"@1.69999999e+09", "@1.7e+09", "@1.7e+09", "@1.7000000005e+09", "@1.70000006e+09", "@1.70000006e+09"} {
		if !strings.HasSuffix(got[i], at) {
			t.Errorf("sample %d is %s, want %s", i, got[i], at)
		}
	}
	if !strings.Contains(text, `{__name__="http_requests_total", job="api", path="/a\nb\"\\"} 1 @`) {
		t.Errorf("the escaped label is missing in\n%s", text)
	}
	if read, total := r.Progress(); read != total {
		t.Errorf("read %d of %d bytes", read, total)
	}
}

func TestOpenMetricsTypesAreDeclared(t *testing.T) {
	r, err := Open(Config{}, put(t, t.TempDir(), "dump.om", exposition))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	types := map[string]engine.Type{}
	for {
		ev, err := r.Next()
		if err != nil {
			break
		}
		if b, ok := ev.(*engine.Batch); ok {
			for _, s := range b.Samples {
				types[s.Series.Labels.Get("__name__")] = s.Series.Type
			}
		}
	}
	for name, typ := range map[string]engine.Type{
		"http_requests_total": engine.TypeCounter, "http_seconds_bucket": engine.TypeHistogram,
		"http_seconds_count": engine.TypeHistogram, "temperature": engine.TypeGauge,
	} {
		if types[name] != typ {
			t.Errorf("%s is of type %d, want %d", name, types[name], typ)
		}
	}
}

func TestBadOpenMetricsNamesItsLine(t *testing.T) {
	folder := t.TempDir()
	for _, c := range []struct {
		name, text, where, why string
		kept                   int
	}{
		{"no timestamp", "a 1 1\nb 2\nc 3 3\n# EOF\n", ":2: ", "no timestamp", 2},
		{"no value", "a 1 1\nb\nc 3 3\n# EOF\n", ":2: ", "", 2},
		{"no end", "a 1 1\n", ":1: ", "cut short", 1},
		{"text after the end", "a 1 1\n# EOF\nb 2 2\n", ":3: ", "after # EOF", 1},
		{"a time before 1970", "a 1 1\nb 1 -5\n# EOF\n", ":2: ", "1970", 1},
		{"an empty line", "a 1 1\n\nb 2 2\n# EOF\n", ":2: ", "", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := put(t, folder, "m.om", c.text)
			_, _, err := replay(t, Config{}, path)
			if err == nil || !strings.Contains(err.Error(), path+c.where) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("error %v, want %s%s…%s", err, path, c.where, c.why)
			}
			text, r, err := replay(t, Config{Lenient: true}, path)
			if err != nil || r.Skipped() != 1 || strings.Count(samples(text), "@") != c.kept {
				t.Errorf("lenient: %v, skipped %d, want 1, kept %d, want %d", err, r.Skipped(), strings.Count(samples(text), "@"), c.kept)
			}
		})
	}
}

func TestBoundsHoldEvenWhenLenient(t *testing.T) {
	folder := t.TempDir()
	path := put(t, folder, "m.om", "a 1 1\nb 2 2\nc 3 3\n# EOF\n")
	if _, _, err := replay(t, Config{MaxSamples: 2, Lenient: true}, path); err == nil || !strings.Contains(err.Error(), "more than 2 samples") {
		t.Errorf("three samples of two: error %v", err)
	}
	if _, _, err := replay(t, Config{MaxSeries: 2, Lenient: true}, path); err == nil || !strings.Contains(err.Error(), "more than 2 series") {
		t.Errorf("three series of two: error %v", err)
	}
	wide := put(t, folder, "w.csv", "time,a,b,c\n1,1,1,1\n")
	if _, _, err := replay(t, Config{MaxSeries: 2}, wide); err == nil || !strings.Contains(err.Error(), "more than 2 series") {
		t.Errorf("three columns of two: error %v", err)
	}
}

func TestChunksOfALargeFileKeepTheirLines(t *testing.T) {
	text := strings.Repeat("a 1 1\n", 3*chunkLines) + "b\n# EOF\n"
	path := put(t, t.TempDir(), "m.om", text)
	_, _, err := replay(t, Config{}, path)
	if err == nil || !strings.Contains(err.Error(), ":6001: ") {
		t.Errorf("error %v, want line 6001", err)
	}
}

func FuzzOpenMetrics(f *testing.F) {
	f.Add([]byte(exposition), true)
	f.Add([]byte("a 1 1\na{} 2 2\n# EOF"), false)
	f.Add([]byte("# TYPE a counter\na_total{x=\"\xff\"} 1 1e300\n# EOF\n"), false)
	f.Add([]byte("# TYPE a histogram\na_bucket{le=\"1\"} 1 1 # {t=\"x\"} 1 1\n"), true)
	f.Fuzz(func(t *testing.T, data []byte, lenient bool) {
		fuzzFile(t, append([]byte("# TYPE fuzz gauge\n"), data...), lenient)
	})
}
