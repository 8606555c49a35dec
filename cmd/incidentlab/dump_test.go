package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

// dumped is a series as a reader of OpenMetrics sees it.
type dumped struct {
	labels labels.Labels
	at     []int64 // milliseconds
	value  []float64
}

// read parses OpenMetrics text and holds what every dump must keep: each line is
// read, a family has one type and comes once, and a series' times rise.
func read(t *testing.T, text []byte) map[string]*dumped {
	t.Helper()
	p := textparse.NewOpenMetricsParser(text, labels.NewSymbolTable())
	lines, family, past, series := 0, "", map[string]bool{}, map[string]*dumped{}
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("line %d: %v", lines+1, err)
		}
		lines++
		switch entry {
		case textparse.EntryType:
			name, _ := p.Type()
			family = string(name)
			if past[family] {
				t.Errorf("line %d: family %s comes twice", lines, family)
			}
			past[family] = true
		case textparse.EntrySeries:
			_, at, value := p.Series()
			var ls labels.Labels
			p.Labels(&ls)
			if at == nil {
				t.Fatalf("line %d has no time", lines)
			}
			if got := familyOf(ls.Get(labels.MetricName)); got != family {
				t.Errorf("line %d: %s stands in family %s", lines, ls, family)
			}
			s := series[ls.String()]
			if s == nil {
				s = &dumped{labels: ls.Copy()}
				series[ls.String()] = s
			}
			if n := len(s.at); n > 0 && *at <= s.at[n-1] {
				t.Errorf("line %d: %s is at %d after %d", lines, ls, *at, s.at[n-1])
			}
			s.at, s.value = append(s.at, *at), append(s.value, value)
		default:
			t.Errorf("line %d is neither a type nor a sample", lines)
		}
	}
	if want := bytes.Count(text, []byte("\n")) - 1; lines != want || !bytes.HasSuffix(text, []byte("\n# EOF\n")) {
		t.Errorf("%d of %d lines were read, and # EOF must be the last", lines, want)
	}
	return series
}

// scrapedAtRandom is what Prometheus could answer: the shop's families for some
// services, in any order, scraped as often as chance has it.
func scrapedAtRandom(r *rand.Rand) []scraped {
	var out []scraped
	for i := range 1 + r.IntN(3) {
		for _, name := range []string{
			"http_requests_total", "http_request_duration_seconds_bucket", "http_request_duration_seconds_count",
			"container_memory_working_set_bytes", "container_spec_memory_limit_bytes", "shop_pool_in_use",
			"shop_pool_waiting", "shop_build_info", "up",
		} {
			labels := map[string]string{"__name__": name, "deployment": services[i], "pod": `a "pod" in C:\` + "\n"}
			if strings.HasSuffix(name, "_bucket") {
				labels["le"] = []string{"0.1", "1.0", "+Inf"}[r.IntN(3)]
			}
			s := scraped{labels: labels}
			at, value := time.Unix(1000, 0), 0
			for range r.IntN(40) {
				at = at.Add(time.Duration(1+r.IntN(300)) * time.Millisecond)
				value += r.IntN(5)
				s.at, s.value = append(s.at, at), append(s.value, strconv.Itoa(value))
			}
			out = append(out, s)
		}
	}
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// TestADumpIsOpenMetrics dumps what scrapes could be, at every compression, and
// reads it as Prometheus would.
func TestADumpIsOpenMetrics(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		all := scrapedAtRandom(r)
		c := clock{began: time.Unix(1000, 0), start: start, compression: []float64{1, 7.5, 240}[r.IntN(3)]}
		var text bytes.Buffer
		if err := dump(&text, all, c.stretched); err != nil {
			t.Fatal(err)
		}
		got := read(t, text.Bytes())
		for _, s := range all {
			ls := labels.FromMap(s.labels).String()
			checkDumped(t, ls, s, got[ls], c)
			delete(got, ls)
		}
		for ls := range got {
			t.Errorf("seed %d: nobody scraped %s", seed, ls)
		}
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

// checkDumped sees that a series holds the first sample of each second that has
// one, and with it that a counter that rose still rises.
func checkDumped(t *testing.T, name string, s scraped, got *dumped, c clock) {
	t.Helper()
	var want []string
	last := int64(-1)
	for i, at := range s.at {
		if second := c.stretched(at).Unix(); second > last {
			last = second
			want = append(want, fmt.Sprintf("%s@%d", s.value[i], second*1000))
		}
	}
	var have []string
	if got != nil {
		for i, at := range got.at {
			have = append(have, fmt.Sprintf("%v@%d", got.value[i], at))
			if i > 0 && got.value[i] < got.value[i-1] {
				t.Errorf("%s falls from %v to %v", name, got.value[i-1], got.value[i])
			}
		}
	}
	if strings.Join(have, " ") != strings.Join(want, " ") {
		t.Errorf("%s holds\n%v\nwant\n%v", name, have, want)
	}
}

func TestAMetricWithoutATypeIsAnError(t *testing.T) {
	s := scraped{labels: map[string]string{"__name__": "go_goroutines"}, at: []time.Time{start}, value: []string{"1"}}
	if err := dump(io.Discard, []scraped{s}, func(at time.Time) time.Time { return at }); err == nil {
		t.Error("it was dumped")
	}
}

// TestBothCompressorsWriteWhatCanBeRead holds the library's and, where there is
// one, the program's against the text.
func TestBothCompressorsWriteWhatCanBeRead(t *testing.T) {
	text := strings.Repeat("up{job=\"cart\"} 1 1772409600\n", 10_000)
	write := func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
	ways := map[string]func(string, func(io.Writer) error) error{"library": compressedByLibrary}
	if _, err := exec.LookPath("zstd"); err == nil {
		ways["program"] = compressed
	}
	for name, compress := range ways {
		path := filepath.Join(t.TempDir(), "file.zst")
		if err := compress(path, write); err != nil {
			t.Fatal(err)
		}
		if got := string(unpacked(t, path)); got != text {
			t.Errorf("%s: of %d bytes came back %d, or others", name, len(text), len(got))
		}
		broken := errors.New("the disk is full")
		if err := compress(path, func(io.Writer) error { return broken }); !errors.Is(err, broken) {
			t.Errorf("%s: a write that failed gave %v", name, err)
		}
	}
}

func unpacked(t *testing.T, path string) []byte {
	t.Helper()
	packed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	text, err := z.DecodeAll(packed, nil)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return text
}
