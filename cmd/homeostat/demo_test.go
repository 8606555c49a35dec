package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/homeostat/homeostat/cmd/homeostat/demo"
	"github.com/homeostat/homeostat/testdata/incidents"
)

// embedded is one run of everything that is built in, as a terminal of 90
// columns sees it.
var embedded = sync.OnceValues(func() (*embeddedRun, error) {
	r := &embeddedRun{}
	var out, page bytes.Buffer
	result, err := demo.Run(context.Background(), demo.Config{
		Recordings: incidents.Files, Names: incidents.Names, Where: incidents.Where,
		Style: demo.Style{Width: 90, Colour: true, Unicode: true}, Out: &out, Report: &page, ReportName: "report.html",
	})
	r.result, r.text, r.page = result, out.String(), page.String()
	return r, err
})

type embeddedRun struct {
	result     *demo.Result
	text, page string
}

// TestDemo runs what is built in. It finds most faults and counts what it shows.
func TestDemo(t *testing.T) {
	r, err := embedded()
	if err != nil {
		t.Fatal(err)
	}
	if len(incidents.Names) < 4 {
		t.Errorf("%d recordings are built in, want 4 or more", len(incidents.Names))
	}
	if size := embeddedSize(t); size > 4<<20 {
		t.Errorf("%d bytes are built in, want 4 MiB or less", size)
	}
	sum := &r.result.Sum
	if sum.Faults < 4 || sum.Found*2 < sum.Faults {
		t.Errorf("%d of %d faults were found", sum.Found, sum.Faults)
	}
	plain := escapes.ReplaceAllString(r.text, "")
	if n := strings.Count(plain, "FOUND after"); n != sum.Found {
		t.Errorf("%d found faults are told of, the card has %d", n, sum.Found)
	}
	falses := strings.Count(plain, "✘ FALSE:")
	for _, m := range regexp.MustCompile(`✘ and (\d+) more false`).FindAllStringSubmatch(plain, -1) {
		n, _ := strconv.Atoi(m[1])
		falses += n
	}
	if n := falses; n != sum.False {
		t.Errorf("%d false alarms are told of, the card has %d", n, sum.False)
	}
	if n := strings.Count(plain, "MISSED"); n != sum.Faults-sum.Found {
		t.Errorf("%d missed faults are told of, the card has %d", n, sum.Faults-sum.Found)
	}
	if strings.Contains(r.page, "http:") || strings.Contains(r.page, "<script") {
		t.Error("the report does not stand alone")
	}
	if n := strings.Count(r.page, `<polyline class="values"`); n < len(incidents.Names) {
		t.Errorf("the report has %d plots of %d recordings", n, len(incidents.Names))
	}
}

func embeddedSize(t *testing.T) (size int64) {
	t.Helper()
	files, err := incidents.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	return size
}

var escapes = regexp.MustCompile("\x1b\\[[0-9]+m")

// TestDemoPicture keeps the README's picture true: what it says of the score is
// what a run says. With -rewrite it is drawn anew from a run.
func TestDemoPicture(t *testing.T) {
	r, err := embedded()
	if err != nil {
		t.Fatal(err)
	}
	const path = "../../docs/demo.svg"
	if *rewrite {
		if err := os.WriteFile(path, []byte(picture(excerpt(r.text), 90)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := &r.result.Sum
	want := fmt.Sprintf("%d of %d faults found, %d with the culprit named", sum.Found, sum.Faults, sum.Named)
	if !strings.Contains(string(kept), want) {
		t.Errorf("%s does not say %q: run go test -run %s -rewrite", filepath.Base(path), want, t.Name())
	}
	if len(kept) > 100_000 {
		t.Errorf("%s has %d bytes", filepath.Base(path), len(kept))
	}
}

// excerpt is the first recording and the score card.
func excerpt(text string) string {
	first, rest, _ := strings.Cut(text, "\n\n\x1b[1m2/")
	_, card, _ := strings.Cut(rest, "\x1b[1mScore card")
	card, _, _ = strings.Cut(card, "\n\x1b[1mTell it")
	return "$ homeostat demo\n" + first + "\n\n  ...\n\n\x1b[1mScore card" + card
}

// runDemo is what the command prints without a terminal.
func runDemo(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := newDemo()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs(append([]string{}, args...))
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestDemoCommand(t *testing.T) {
	run := func(args ...string) (string, error) { return runDemo(t, args...) }
	list, err := run("--list")
	if err != nil || strings.Count(list, "\n") < len(incidents.Names) {
		t.Errorf("listed %q, %v", list, err)
	}
	if _, err := run("--recording", "nothing"); !errors.Is(err, errUsage) || !strings.Contains(err.Error(), incidents.Names[0]) {
		t.Errorf("an unknown recording: %v", err)
	}
	if _, err := run("--width", "10"); !errors.Is(err, errUsage) {
		t.Errorf("a narrow width: %v", err)
	}
	if _, err := run("--report", filepath.Join(t.TempDir(), "missing", "x.html")); err == nil {
		t.Error("a report in a folder that is not there was written")
	}
	path := filepath.Join(t.TempDir(), "report.html")
	text, err := run("--recording", incidents.Names[0], "--report", path)
	if err != nil {
		t.Fatal(err)
	}
	if page, err := os.ReadFile(path); err != nil || !bytes.Contains(page, []byte("</html>")) {
		t.Errorf("the report: %v", err)
	}
	if !strings.Contains(text, "1/1 ") || strings.ContainsAny(text, "\x1b\r") {
		t.Errorf("the output is not plain, or not of one recording:\n%q", text)
	}
}

// TestDemoEndsOnASignal sees that it ends cleanly when it is interrupted.
func TestDemoEndsOnASignal(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cmd := newDemo()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{})
	if err := cmd.ExecuteContext(ctx); err != nil {
		t.Errorf("it ends with %v", err)
	}
	if !strings.HasSuffix(out.String(), "stopped\n") {
		t.Errorf("it ends with %q", out.String())
	}
}

func TestLocaleDecidesOverCharacters(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{
		{map[string]string{}, false},
		{map[string]string{"LANG": "en_GB.UTF-8"}, true},
		{map[string]string{"LANG": "C"}, false},
		{map[string]string{"LANG": "C.utf8"}, true},
		{map[string]string{"LC_ALL": "C", "LANG": "en_GB.UTF-8"}, false},
		{map[string]string{"LC_CTYPE": "en_GB.UTF-8", "LANG": "C"}, true},
		{map[string]string{"LANG": "en_GB.UTF-8", "TERM": "linux"}, false},
	} {
		style := styleOf(&bytes.Buffer{}, func(name string) string { return c.env[name] })
		if style.Unicode != c.want || style.Colour || style.Live {
			t.Errorf("%v gives %+v", c.env, style)
		}
	}
}
