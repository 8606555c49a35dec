package history

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homeostat/homeostat/engine"
)

func TestTimesAreReadInManyNotations(t *testing.T) {
	const at = 1_700_000_000_000
	for _, c := range []struct {
		text string
		want int64
	}{
		{"1700000000", at},
		{"1700000000.25", at + 250},
		{"1700000000000", at},
		{"1700000000000000", at},
		{"1700000000000000000", at},
		{"2023-11-14T22:13:20Z", at},
		{"2023-11-14T23:13:20.250+01:00", at + 250},
		{"2023-11-14 22:13:20", at},
		{"2023-11-14 22:13:20.5", at + 500},
		{"2023-11-14 22:13:20+00:00", at},
		{"2023-11-14T22:13:20", at},
		{"2023-11-14 22:13", at - 20_000},
		{"2023/11/14 22:13:20", at},
		{"2023-11-14", 1_699_920_000_000},
		{"0", 0},
	} {
		var clock clock
		if got, err := clock.read(c.text); err != nil || got != c.want {
			t.Errorf("%q is %d, %v, want %d", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{"", "yesterday", "NaN", "Inf", "-5", "1e300", "2023-13-01", "timestamp"} {
		var clock clock
		if got, err := clock.read(text); err == nil {
			t.Errorf("%q is %d, want an error", text, got)
		}
	}
}

func TestColumnsBecomeSeries(t *testing.T) {
	folder := t.TempDir()
	for _, c := range []struct{ name, file, text, want string }{
		{"a value and a label", "kpi-7.csv", "timestamp,value,label\n60,1.5,0\n", `{__name__="kpi_7", job="replay", service="kpi-7"} 1.5 @60`},
		{"no header", "kpi.csv", "60,1.5\n120,2\n", "{__name__=\"kpi\", job=\"replay\", service=\"kpi\"} 1.5 @60\n{__name__=\"kpi\", job=\"replay\", service=\"kpi\"} 2 @120"},
		{"no header, with a label", "kpi.csv", "60,1.5,1\n", `{__name__="kpi", job="replay", service="kpi"} 1.5 @60`},
		{"time is not the first column", "kpi.csv", "value,Date\n5,1970-01-02\n", `{__name__="kpi", job="replay", service="kpi"} 5 @86400`},
		{
			"wide, with an empty cell", "shop.csv", "ts,requests_total,p 99,is_anomaly\n60,1,,0\n61,2,3,1\n",
			"{__name__=\"requests_total\", job=\"replay\", service=\"shop\"} 1 @60\n{__name__=\"p_99\", job=\"replay\", service=\"shop\"} 3 @61\n{__name__=\"requests_total\", job=\"replay\", service=\"shop\"} 2 @61",
		},
		{"semicolons, quotes, carriage returns, a byte order mark", "q.csv", "\ufefftime;\"a \"\"b\"\"\"\r\n60;\"1.5\"\r\n\r\n", `{__name__="a__b_", job="replay", service="q"} 1.5 @60`},
		{"tabs", "t.tsv", "time\tvalue\n60\t1\n", `{__name__="t", job="replay", service="t"} 1 @60`},
		{"values that are no numbers to a baseline", "n.csv", "time,value\n60,NaN\n61,1e999\n", "{__name__=\"n\", job=\"replay\", service=\"n\"} NaN @60\n{__name__=\"n\", job=\"replay\", service=\"n\"} +Inf @61"},
		{"a name that begins with a digit", "5xx.csv", "time,value\n60,1\n", `{__name__="_5xx", job="replay", service="5xx"} 1 @60`},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, _, err := replay(t, Config{}, put(t, folder, c.file, c.text))
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Split(samples(text), "\n")
			expected := strings.Split(c.want, "\n")
			// Within a second the order is that of the series' IDs.
			for _, line := range expected {
				found := false
				for _, g := range got {
					found = found || g == line
				}
				if !found {
					t.Errorf("%s is missing in\n%s", line, samples(text))
				}
			}
			if len(got) != len(expected) {
				t.Errorf("%d samples, want %d", len(got), len(expected))
			}
		})
	}
}

func TestTypesOfColumns(t *testing.T) {
	path := put(t, t.TempDir(), "requests_total.csv", "time,value,errors_total\n60,1,1\n")
	r, err := Open(Config{}, path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		ev, err := r.Next()
		if err != nil {
			break
		}
		b, ok := ev.(*engine.Batch)
		if !ok {
			continue
		}
		for _, s := range b.Samples {
			want := engine.TypeUnknown
			if s.Series.Labels.Get("__name__") == "requests_total" {
				want = engine.TypeGauge
			}
			if s.Series.Type != want {
				t.Errorf("%v is of type %d, want %d", s.Series.Labels, s.Series.Type, want)
			}
		}
	}
}

func TestBadRowsAreErrorsOrCounted(t *testing.T) {
	folder := t.TempDir()
	for _, c := range []struct{ name, row, why string }{
		{"a value that is no number", "61,abc", `value "abc" is not a number`},
		{"a time that is no number", "soon,1", `time "soon" is not written like the first one`},
		{"too few cells", "61", "fewer cells"},
		{"time goes back", "59,1", "before that of the row above"},
		{"an open quote", `61,"1`, "quote is not closed"},
		{"a line without end", "61," + strings.Repeat("1", 100_000), "longer than 64 KiB"},
		{"a terminal's escape", "61,\x1b[31m", `value "\x1b[31m" is not a number`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := put(t, folder, "bad.csv", "time,value\n60,1\n"+c.row+"\n62,3\n")
			text, _, err := replay(t, Config{}, path)
			if err == nil || !strings.Contains(err.Error(), c.why) || !strings.Contains(err.Error(), path+":3: ") {
				t.Errorf("error %v, want %s:3: …%s…", err, path, c.why)
			}
			if n := strings.Count(samples(text), "@"); n != 1 {
				t.Errorf("%d samples before the error, want 1", n)
			}
			if strings.Contains(text, "tick 62") {
				t.Errorf("time went on after the error:\n%s", text)
			}
			text, r, err := replay(t, Config{Lenient: true}, path)
			if err != nil || r.Skipped() != 1 || strings.Count(samples(text), "@") != 2 {
				t.Errorf("lenient: error %v, %d skipped, want 1, samples\n%s", err, r.Skipped(), samples(text))
			}
		})
	}
	for _, text := range []string{"a,b,c,d\n", "60,1,2,3\n", "time,x y,x_y\n60,1,1\n", "time\n", "time,\"x\n"} {
		if _, _, err := replay(t, Config{Lenient: true}, put(t, folder, "head.csv", text)); err == nil && text != "a,b,c,d\n" {
			t.Errorf("header %q is accepted", text)
		}
	}
}

// reference reads a simple table by the obvious means.
func reference(text string) []string {
	var out []string
	s := bufio.NewScanner(strings.NewReader(text))
	for n := 0; s.Scan(); n++ {
		var at, v float64
		if n > 0 {
			if _, err := fmt.Sscanf(s.Text(), "%f,%f", &at, &v); err == nil {
				out = append(out, fmt.Sprintf("%v @%v", v, at))
			}
		}
	}
	return out
}

func TestManyRowsReadAsTheObviousReaderDoes(t *testing.T) {
	var b strings.Builder
	b.WriteString("timestamp,value\n")
	for i := range 20_000 {
		fmt.Fprintf(&b, "%d,%v\n", 1_600_000_000+i*60, math.Sin(float64(i))*1e3)
	}
	text, _, err := replay(t, Config{}, putGzip(t, t.TempDir(), "x.csv.gz", b.String()))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(samples(text), "\n")
	expected := reference(b.String())
	if len(got) != len(expected) {
		t.Fatalf("%d samples, want %d", len(got), len(expected))
	}
	for i := range got {
		if !strings.HasSuffix(got[i], "} "+expected[i]) {
			t.Fatalf("sample %d is %s, want %s", i, got[i], expected[i])
		}
	}
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{
		"timestamp,value\n60,1\n120,2\n", "60,1\n61,2\n", "ts;a;b\n1;2;3\n", "time,\"q\"\"x\"\n2024-01-01 00:00:00,1\n",
		"\xef\xbb\xbftime,value,label\r\n1700000000000,1e9,0\r\n", "time,value\n1,NaN\n1,\n\n2,Inf", "a,b\n", "\x1f\x8b\x08",
		"m{a=\"b\"} 1 2\n# EOF\n",
	} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(fuzzFile)
}

// fuzzFile replays hostile bytes: no panic, time never goes back, and being
// lenient never loses what being strict accepts.
func fuzzFile(t *testing.T, data []byte, lenient bool) {
	path := filepath.Join(t.TempDir(), "f.csv")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	count := func(lenient bool) (int, error) {
		r, err := Open(Config{Lenient: lenient, MaxSamples: 10_000, MaxSeries: 1000}, path)
		if err != nil {
			return 0, err
		}
		defer r.Close()
		n, events, tick := 0, 0, int64(none)
		for ; events < 20_000; events++ {
			ev, err := r.Next()
			if err == io.EOF {
				return n, nil
			}
			if err != nil {
				if strings.ContainsAny(strings.ReplaceAll(err.Error(), path, ""), "\x1b\n\x00") {
					t.Errorf("an error holds control characters: %q", err)
				}
				return n, err
			}
			switch ev := ev.(type) {
			case engine.Tick:
				if ev.Now <= tick {
					t.Fatalf("tick %d after tick %d", ev.Now, tick)
				}
				tick = ev.Now
			case *engine.Batch:
				n += len(ev.Samples)
				for _, s := range ev.Samples {
					if floorSecond(s.At) != tick {
						t.Fatalf("sample at %d after tick %d", s.At, tick)
					}
				}
			}
		}
		return n, nil
	}
	strict, err := count(false)
	if err != nil {
		strict = 0
	}
	if n, _ := count(true); n < strict {
		t.Errorf("lenient reads %d samples, strict %d", n, strict)
	}
}

func BenchmarkCSV(b *testing.B) {
	var text strings.Builder
	text.WriteString("timestamp,value,label\n")
	const rows = 100_000
	for i := range rows {
		fmt.Fprintf(&text, "%d,%.6f,0\n", 1_600_000_000+i*60, math.Sin(float64(i))*1e3)
	}
	path := put(b, b.TempDir(), "x.csv", text.String())
	b.ReportAllocs()
	for b.Loop() {
		r, err := Open(Config{}, path)
		if err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := r.Next(); err != nil {
				break
			}
		}
		r.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}
