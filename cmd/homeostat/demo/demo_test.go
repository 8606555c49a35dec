package demo

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
	"github.com/homeostat/homeostat/ingest/history"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

var names = []string{"payment_slow", "quiet_backup"}

func recordings(t testing.TB) fs.FS {
	t.Helper()
	return together(
		shop{name: names[0], seed: 1, hours: 26, fault: slowPayment()}.files(t),
		shop{name: names[1], seed: 2, hours: 26, blip: cartBlip()}.files(t),
	)
}

func still() time.Time { return shopStart }

// shown is what a run prints, and its report.
func shown(t *testing.T, set fs.FS, names []string, style Style) (text, page string, result *Result) {
	t.Helper()
	var out, report bytes.Buffer
	result, err := Run(t.Context(), Config{
		Recordings: set, Names: names, Where: "computed by a test", Style: style, Out: &out,
		Report: &report, ReportName: "report.html", Now: still,
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), report.String(), result
}

// TestWhatIsPrinted reads a run as someone without a terminal sees it.
func TestWhatIsPrinted(t *testing.T) {
	got, _, _ := shown(t, recordings(t), names, Style{Width: 80})
	golden := filepath.Join("testdata", "plain.txt")
	if *rewrite {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("run go test -run %s -rewrite and read what changed (- golden, + now):\n%s", t.Name(), diff)
	}
}

func TestNoLineIsWiderThanTheTerminal(t *testing.T) {
	set := recordings(t)
	for _, width := range []int{MinWidth, 45, 100} {
		for _, wide := range []bool{false, true} {
			text, _, _ := shown(t, set, names, Style{Width: width, Unicode: wide})
			for _, line := range strings.Split(text, "\n") {
				if n := utf8.RuneCountInString(line); n > width {
					t.Errorf("%d columns in %d: %q", n, width, line)
				}
			}
			if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && r < ' ' || !wide && r > '~' }); i >= 0 {
				t.Errorf("width %d, unicode %v: an unfit character in %q", width, wide, text[i:min(len(text), i+20)])
			}
		}
	}
}

var ansi = regexp.MustCompile("\x1b\\[[0-9]+m")

// Colours change nothing of the text, and come only where they are wanted.
func TestColoursAreOnlyColours(t *testing.T) {
	set := recordings(t)
	coloured, _, _ := shown(t, set, names, Style{Width: 70, Colour: true})
	plain, _, _ := shown(t, set, names, Style{Width: 70})
	if strings.Contains(plain, "\x1b") {
		t.Error("the plain text holds an escape sequence")
	}
	if !strings.Contains(coloured, "\x1b") {
		t.Error("the coloured text holds no colour")
	}
	if diff := cmp.Diff(plain, ansi.ReplaceAllString(coloured, "")); diff != "" {
		t.Errorf("the colours change the text:\n%s", diff)
	}
}

// The report needs nothing but itself, and is well formed.
func TestReportStandsAlone(t *testing.T) {
	_, page, _ := shown(t, recordings(t), names, Style{Width: 80})
	for _, word := range []string{"http:", "https:", "<script", "src=", "href=", "url(", "@import", "javascript:"} {
		if strings.Contains(page, word) {
			t.Errorf("the report holds %q", word)
		}
	}
	for _, word := range []string{"prefers-color-scheme: dark", `class="band"`, `class="values abnormal"`, "the bank answers slowly", "a backup opens connections"} {
		if !strings.Contains(page, word) {
			t.Errorf("the report lacks %q", word)
		}
	}
	d := xml.NewDecoder(strings.NewReader(page))
	d.Entity = xml.HTMLEntity
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the report is not well formed: %v", err)
		}
	}
}

// What a label's value holds is text, in the terminal and on the page.
func TestHostileLabelIsText(t *testing.T) {
	set := shop{name: "hostile", seed: 1, hours: 18, fault: slowPayment(), hostile: "<script>alert(1)</script>\x1b[31m\r\n\"}'`\u202e"}.files(t)
	text, page, result := shown(t, set, []string{"hostile"}, Style{Width: 100, Unicode: true})
	if result.Sum.Found != 1 {
		t.Error("the fault was not found, so that the label is not shown")
	}
	if !strings.Contains(text, "alert(1)") || !strings.Contains(page, "alert(1)") {
		t.Error("the label isn't shown, so that this tests nothing")
	}
	if i := strings.IndexAny(text, "\x1b\r\u202e"); i >= 0 {
		t.Errorf("a control character is printed: %q", text[max(0, i-20):i+5])
	}
	for _, word := range []string{"<script", "\x1b", "\u202e"} {
		if strings.Contains(page, word) {
			t.Errorf("the report holds %q", word)
		}
	}
}

// The card is what scorecard.Judge says of the incidents that notify somebody
// in a replay that this package has no hand in.
func TestCardIsTheJudges(t *testing.T) {
	set := recordings(t)
	text, _, result := shown(t, set, names, Style{Width: 80})
	for i, name := range names {
		b, err := fs.ReadFile(set, name+truthSuffix)
		if err != nil {
			t.Fatal(err)
		}
		truth, err := scorecard.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		want := scorecard.Judge(&truth, incidentsOf(t, set, name))
		got := result.Cards[i]
		for k := range got.Alarms {
			got.Alarms[k].Text = ""
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (- judged, + shown):\n%s", name, diff)
		}
		var one scorecard.Sum
		one.Add(&want)
		row := fmt.Sprintf(`(?m)^%s +%d +%d +%d +\S+ +%d$`, name, one.Found, one.Faults-one.Found, one.False, one.Named)
		if !regexp.MustCompile(row).MatchString(text) {
			t.Errorf("the card has no row %s", row)
		}
	}
}

func incidentsOf(t *testing.T, set fs.FS, name string) []scorecard.Alarm {
	t.Helper()
	e, err := engine.New(engine.Config{}, 2)
	if err != nil {
		t.Fatal(err)
	}
	src, err := history.OpenFS(history.Config{Naming: e.Naming()}, set, seriesFile(set, name))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	seen := &told{workloads: map[engine.IncidentID]engine.Workload{}}
	d := loop.NewDriver(loop.Config{Sinks: []loop.Sink{seen}}, e, &loop.Numbers{})
	defer d.Close()
	for {
		ev, err := src.Next()
		if errors.Is(err, io.EOF) {
			return seen.alarms
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Take(ev); err != nil {
			t.Fatal(err)
		}
	}
}

type told struct {
	workloads map[engine.IncidentID]engine.Workload
	alarms    []scorecard.Alarm
}

func (o *told) Deliver(_ uint64, records []engine.Record) {
	for _, rec := range records {
		switch r := rec.(type) {
		case *engine.Incident:
			o.workloads[r.ID] = r.Workload
		case engine.Decision:
			if r.Verb == engine.Act {
				o.alarms = append(o.alarms, scorecard.Alarm{At: time.UnixMilli(r.At).UTC(), Workload: string(o.workloads[r.Incident])})
			}
		}
	}
}

// A plot shows what the whole replay scored, although it is filmed from one
// partition alone.
func TestFilmShowsWhatWasScored(t *testing.T) {
	rec, err := load(recordings(t), names[0])
	if err != nil {
		t.Fatal(err)
	}
	p, err := rec.run(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	scenes := rec.scenes(p)
	if err := rec.film(t.Context(), scenes); err != nil {
		t.Fatal(err)
	}
	s := scenes[0]
	var want []engine.Scored
	if _, _, err := rec.replay(t.Context(), watcher{scored: func(points []engine.Scored) {
		for _, x := range points {
			if x.Series.ID == s.series.ID && x.At >= s.from && x.At <= s.to {
				want = append(want, x)
			}
		}
	}}); err != nil {
		t.Fatal(err)
	}
	if len(want) < 100 || len(want) != len(s.points) {
		t.Fatalf("%d points were filmed, %d scored", len(s.points), len(want))
	}
	alarms := 0
	for i, x := range want {
		p := s.points[i]
		if p.at != x.At || p.value != x.Value || p.expected != x.Reading.Expected || p.alarm != x.Alarm {
			t.Errorf("at %s: filmed %+v, scored %+v", stampOf(x.At), p, x)
		}
		if x.Opened {
			alarms++
			if !p.band || p.value >= p.lower && p.value <= p.upper {
				t.Errorf("an episode opened within the band: %+v", p)
			}
		}
	}
	if alarms == 0 {
		t.Error("no episode opened, so that the band is not tested")
	}
}

// The three lines for prometheus.yml are YAML in a narrow terminal too.
func TestLinesToCopyStayWhole(t *testing.T) {
	for _, width := range []int{MinWidth, 45, 60, 120} {
		var out bytes.Buffer
		s := &screen{w: &out, style: Style{Width: width}}
		s.closing(&Config{}, nil, 0)
		_, text, _ := strings.Cut(out.String(), "prometheus.yml:\n")
		text, _, _ = strings.Cut(text, "(Prometheus 2")
		var got struct {
			RemoteWrite []map[string]string `yaml:"remote_write"`
		}
		if err := yaml.Unmarshal([]byte(text), &got); err != nil {
			t.Errorf("width %d: %v in\n%s", width, err, text)
			continue
		}
		want := []map[string]string{{"url": "http://127.0.0.1:9860/api/v1/write", "protobuf_message": "io.prometheus.write.v2.Request"}}
		if diff := cmp.Diff(want, got.RemoteWrite); diff != "" {
			t.Errorf("width %d:\n%s", width, diff)
		}
	}
}

func TestRunEndsWhenItIsAskedTo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Run(ctx, Config{Recordings: recordings(t), Names: names, Style: Style{Width: 80}, Out: io.Discard, Now: still})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

func TestRecordingsAreListedAndChosen(t *testing.T) {
	var out bytes.Buffer
	if err := List(Config{Recordings: recordings(t), Names: names, Style: Style{Width: 80}, Out: &out}); err != nil {
		t.Fatal(err)
	}
	want := "payment_slow 1d2h: latency\nquiet_backup 1d2h: harmless backup\n"
	if out.String() != want {
		t.Errorf("listed\n%swant\n%s", out.String(), want)
	}
	if got, err := Choose(names, nil); err != nil || len(got) != 2 {
		t.Errorf("all: %v, %v", got, err)
	}
	if got, err := Choose(names, names[1:]); err != nil || len(got) != 1 || got[0] != names[1] {
		t.Errorf("one: %v, %v", got, err)
	}
	if _, err := Choose(names, []string{"payment"}); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown: %v", err)
	}
}

// A recording that is cut short is an error that names it.
func TestDamagedRecordingIsNamed(t *testing.T) {
	set := shop{name: "torn", seed: 1, hours: 9}.files(t)
	set["torn.om.gz"].Data = set["torn.om.gz"].Data[:1000]
	_, err := Run(t.Context(), Config{Recordings: set, Names: []string{"torn"}, Style: Style{Width: 80}, Out: io.Discard, Now: still})
	if err == nil || !strings.Contains(err.Error(), "torn") {
		t.Errorf("the error is %v", err)
	}
}
