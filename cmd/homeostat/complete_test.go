package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// The shells ask the binary itself for what may follow.
func TestTheShellsAreOfferedValues(t *testing.T) {
	for _, c := range []struct {
		words []string
		want  []string
	}{
		{[]string{"replay", "-o", ""}, []string{"table", "json", "jsonl"}},
		{[]string{"watch", "--output", ""}, []string{"table", "jsonl"}},
		{[]string{"explain", "-o", ""}, []string{"table", "json"}},
		{[]string{"inspect", "-o", ""}, []string{"table", "json", "jsonl"}},
		{[]string{"label", "0123456789abcdef", ""}, []string{"false-alarm", "true"}},
		{[]string{"label", ""}, nil},
		{[]string{"token", "new", "--role", ""}, []string{"ingest", "read", "label", "admin"}},
		{[]string{"serve", "--log.level", ""}, []string{"debug", "info", "warn", "error"}},
		{[]string{"tok"}, []string{"token"}},
		{[]string{"completion", ""}, []string{"bash", "fish", "powershell", "zsh"}},
	} {
		out, err := commandLine(append([]string{"__complete"}, c.words...)...)
		if err != nil {
			t.Errorf("%v: %v", c.words, err)
			continue
		}
		var got []string
		for line := range strings.Lines(out) {
			if !strings.HasPrefix(line, ":") {
				value, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
				got = append(got, value)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("behind %q come %q, want %q", c.words, got, c.want)
		}
	}
}

func TestEveryShellHasItsScript(t *testing.T) {
	for shell, holds := range map[string]string{
		"bash": "complete -o default", "zsh": "#compdef homeostat", "fish": "complete -c homeostat", "powershell": "Register-ArgumentCompleter",
	} {
		out, err := commandLine("completion", shell)
		if err != nil || !strings.Contains(out, holds) {
			t.Errorf("%s: %v, a script of %d bytes", shell, err, len(out))
		}
	}
	if _, err := commandLine("completion", "tcsh"); !errors.Is(err, errUsage) {
		t.Errorf("a shell that nobody knows: %v", err)
	}
}
