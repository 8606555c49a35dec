package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

func TestCommands(t *testing.T) {
	for _, test := range []struct {
		args  string
		says  string // on the output
		fails string // a part of the error; empty when there is none
	}{
		{"", "", "no command"},
		{"dance", "", `unknown command "dance"`},
		{"help", "usage: incidentlab COMMAND", ""},
		{"list", "saturation  28 h  a pool is full and requests wait", ""},
		{"record -help", "-compression", ""},
		{"generate -h", "-seed", ""},
		{"record -scenario quiet", "", "-out is empty"},
		{"record -scenario earthquake -out x", "", `scenario "earthquake": want one of`},
		{"record -scenario quiet -out x -compression 0.5", "", "-compression 0.5: want"},
		{"record -scenario quiet -out x -compression NaN", "", "-compression NaN: want"},
		{"record -scenario quiet -out x -scrape 10ms", "", "-scrape 10ms: want"},
		{"record -scenario quiet -out x -compression 2", "", "a scrape every 0.5 s"},
		{"record -scenario quiet -out x extra", "", `"extra"`},
		{"record -seed -1", "", "record: invalid value"},
		{"generate", "", "-out is empty"},
		{"generate -out x extra", "", `"extra"`},
	} {
		t.Run(test.args, func(t *testing.T) {
			var out bytes.Buffer
			err := run(t.Context(), strings.Fields(test.args), &out)
			if (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
				t.Errorf("the error is %v: want %q", err, test.fails)
			}
			if !strings.Contains(out.String(), test.says) || test.says == "" && out.Len() > 0 {
				t.Errorf("it says %q: want %q", out.String(), test.says)
			}
		})
	}
}

// TestATruthSaysHowToMakeItAgain has every flag in it that is not as usual.
func TestATruthSaysHowToMakeItAgain(t *testing.T) {
	usual := recorder{scenario: "leak", name: "leak_7", out: "testdata/incidents", seed: 7, compression: 240, scrape: 250 * time.Millisecond}
	named := usual
	named.name, named.compression, named.scrape = "slow", 120, 500*time.Millisecond
	for r, want := range map[*recorder]string{
		&usual: "go run ./cmd/incidentlab record -scenario leak -seed 7 -out testdata/incidents",
		&named: "go run ./cmd/incidentlab record -scenario leak -seed 7 -out testdata/incidents -name slow -compression 120 -scrape 500ms",
	} {
		if got := r.command(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestAPrometheusThatDoesNotStartIsAnError has one that can't be run, and one
// that ends at once; what it says is in the error.
func TestAPrometheusThatDoesNotStartIsAnError(t *testing.T) {
	for binary, want := range map[string]string{
		"/nonexistent/prometheus": "starting Prometheus",
		"false":                   "prometheus ended: exit status 1",
		"true":                    "prometheus ended: without an error",
		"ls":                      "unrecognized option",
	} {
		t.Setenv("TMPDIR", t.TempDir())
		r := recorder{name: "none", out: t.TempDir(), prometheus: binary, compression: 240, scrape: usualScrape}
		p := plan{learning: time.Hour, length: 2 * time.Hour}
		if err := r.record(t.Context(), &bytes.Buffer{}, p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with %s the error is %v: want %q", binary, err, want)
		}
	}
}

func TestAPlanThatContradictsItselfIsNotRecorded(t *testing.T) {
	r := recorder{name: "none", out: t.TempDir(), prometheus: "/nonexistent", compression: 240, scrape: usualScrape}
	early := event{kind: scorecard.Errors, service: cart, instance: -1, from: time.Hour, to: 2 * time.Hour, size: 0.1}
	err := r.record(t.Context(), &bytes.Buffer{}, plan{events: []event{early}, learning: 90 * time.Minute, length: 3 * time.Hour})
	if err == nil || !strings.Contains(err.Error(), "outside the scored stretch") {
		t.Errorf("the error is %v: want that the fault lies in the learning stretch", err)
	}
}
