package main

import (
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

// TestDeepChoosesByLabels sees that an entry chooses a series when all of its
// labels match as a whole, and that what would choose by mistake is refused.
func TestDeepChoosesByLabels(t *testing.T) {
	read := func(text string) (*fileConfig, error) {
		var c fileConfig
		return &c, parseConfig([]byte(text), func(string) (string, bool) { return "", false }, &c)
	}
	c, err := read("detection: {deep: {match: [{namespace: shop, job: 'cart|pay'}, {__name__: 'probe_.+'}], max_bytes: 1000000}}")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := c.engineConfig()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Deep.MaxBytes != 1_000_000 {
		t.Errorf("max_bytes is %d", cfg.Deep.MaxBytes)
	}
	for _, x := range []struct {
		want   bool
		labels []string
	}{
		{true, []string{"__name__", "up", "namespace", "shop", "job", "cart"}},
		{true, []string{"__name__", "probe_duration_seconds"}},
		{false, []string{"__name__", "up", "namespace", "shop", "job", "carts"}},
		{false, []string{"__name__", "up", "namespace", "shop"}},
		{false, []string{"__name__", "up", "job", "cart"}},
	} {
		if got := cfg.Deep.Match(labels.FromStrings(x.labels...)); got != x.want {
			t.Errorf("%v: chosen %v, want %v", x.labels, got, x.want)
		}
	}
	if c, err = read("detection: {}"); err != nil {
		t.Fatal(err)
	}
	if cfg, _ := c.engineConfig(); cfg.Deep.Match != nil {
		t.Error("without an entry there is a condition")
	}
	for text, want := range map[string]string{
		"detection: {deep: {match: [{}]}}":               "entry 1 is empty",
		"detection: {deep: {match: [{job: '('}]}}":       "entry 1, label job",
		"detection: {deep: {match: [{'': a}]}}":          "is no label name",
		"detection: {deep: {max_bytes: 100}}":            "one series takes",
		"detection: {deep: {max_bytes: -1}}":             "want 0 or more",
		"detection: {deep: {matches: [{job: cart}]}}":    `did you mean "match"`,
		"detection: {deep: {match: [{job: [a, cart]}]}}": "cannot unmarshal",
	} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want something about %q", text, err, want)
		}
	}
}
