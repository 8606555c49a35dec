package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/homeostat/homeostat/engine"
)

// homeostat completion bash|zsh|fish|powershell is cobra's own command. Here is
// what the shells are told beyond the names of commands and flags.

// complete has the shell offer the values of a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // no such flag: a mistake in this program
	}
}

// completeFormats has the shell offer the formats of every -o below a command.
// The usage text of the flag names those that it takes.
func completeFormats(cmd *cobra.Command) {
	if f := cmd.Flags().Lookup("output"); f != nil {
		var takes []string
		words := strings.FieldsFunc(f.Usage, func(r rune) bool { return r == ' ' || r == ',' || r == ';' })
		for _, format := range formats {
			for _, w := range words {
				if w == format {
					takes = append(takes, format)
					break
				}
			}
		}
		complete(cmd, "output", takes...)
	}
	for _, below := range cmd.Commands() {
		completeFormats(below)
	}
}

// completeJudgement offers the judgements behind the ID of an anomaly.
func completeJudgement(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{engine.JudgedFalse.String(), engine.JudgedTrue.String()}, cobra.ShellCompDirectiveNoFileComp
}
