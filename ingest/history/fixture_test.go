package history

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/homeostat/homeostat/engine"
)

// put writes a file into a folder of the test.
func put(t testing.TB, folder, name, text string) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func putGzip(t testing.TB, folder, name, text string) string {
	t.Helper()
	path := put(t, folder, name, "")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func putZstd(t testing.TB, folder, name, text string) string {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return put(t, folder, name, string(z.EncodeAll([]byte(text), nil)))
}

type events interface {
	Next() (engine.Event, error)
}

// tell writes events as text, one a line: ticks in seconds, samples with theirs.
func tell(t testing.TB, src events) (text string, err error) {
	t.Helper()
	var b strings.Builder
	tick := int64(none)
	for {
		ev, err := src.Next()
		if err == io.EOF {
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
		switch ev := ev.(type) {
		case engine.Tick:
			if ev.Now <= tick {
				t.Errorf("tick %d does not follow tick %d", ev.Now, tick)
			}
			tick = ev.Now
			fmt.Fprintf(&b, "tick %v\n", float64(ev.Now)/1000)
		case *engine.Batch:
			if len(ev.Samples)+len(ev.Histograms) == 0 {
				t.Errorf("an empty batch after tick %d", tick)
			}
			fmt.Fprintf(&b, "batch %s quiet=%v\n", ev.Sender, ev.Quiet)
			for _, s := range ev.Samples {
				if s.Partition != s.Series.Partition {
					t.Errorf("sample %+v carries a partition that is not its series'", s)
				}
				fmt.Fprintf(&b, "  %s %v @%v\n", s.Series.Labels, s.Value, float64(s.At)/1000)
			}
			for _, h := range ev.Histograms {
				fmt.Fprintf(&b, "  %s count %v sum %v %v @%v\n", h.Series.Labels, h.Count, h.Sum, h.Buckets, float64(h.At)/1000)
			}
		}
	}
}

// samples is the lines of tell that are samples.
func samples(text string) string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "  ") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return strings.Join(out, "\n")
}

func replay(t testing.TB, cfg Config, paths ...string) (string, *Replay, error) {
	t.Helper()
	r, err := Open(cfg, paths...)
	if err != nil {
		return "", nil, err
	}
	t.Cleanup(func() { r.Close() })
	text, err := tell(t, r)
	return text, r, err
}

func want(t testing.TB, got, expected string) {
	t.Helper()
	expected = strings.Trim(strings.ReplaceAll(expected, "\t", ""), "\n")
	if got = strings.Trim(got, "\n"); got != expected {
		t.Errorf("got\n%s\nwant\n%s", got, expected)
	}
}
