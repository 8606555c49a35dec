// Command homeostat watches time series, learns what is normal for each, says
// when something is not, groups that into incidents and learns from what people
// and outcomes say of them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// The exit codes.
const (
	exitOK       = 0
	exitError    = 1
	exitUsage    = 2
	exitFindings = 3
)

// errUsage wraps an error in how a command was called.
var errUsage = errors.New("usage")

// errFindings says that a command did its work and found what it was asked to
// fail on.
var errFindings = errors.New("findings")

func main() {
	// The second signal ends the process at once: the first one asks it to.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop()
	}()
	os.Exit(execute(ctx, os.Args[1:]))
}

// execute runs the command line and returns the exit code.
func execute(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	finish(root)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFindings):
		fmt.Fprintln(os.Stderr, "homeostat:", err)
		return exitFindings
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "homeostat:", err)
		fmt.Fprintln(os.Stderr, "try: homeostat --help")
		return exitUsage
	}
	fmt.Fprintln(os.Stderr, "homeostat:", err)
	return exitError
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "homeostat",
		Short:         "Anomaly detection that learns, for Prometheus, Kubernetes and CI/CD",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%w: unknown command %q%s", errUsage, args[0], suggestion(cmd, args[0]))
			}
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	root.AddCommand(newDemo(), newServe(), newReplay(), newWatch(), newExplain(), newLabel(), newUndo(), newWhatIf(), newTest(), newCheck(), newInspect(), newToken(), newVersion())
	completeFormats(root)
	return root
}

// finish adds cobra's own completion command, once it is known where output goes,
// and has every command that only groups others refuse what it doesn't know.
func finish(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, below := range root.Commands() {
		refuseUnknown(below)
	}
}

// refuseUnknown makes a command that only has others below it refuse words that
// name none of them.
func refuseUnknown(cmd *cobra.Command) {
	if cmd.Runnable() || !cmd.HasSubCommands() {
		return
	}
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("%w: unknown command %q%s", errUsage, args[0], suggestion(cmd, args[0]))
		}
		return cmd.Help()
	}
}

func suggestion(cmd *cobra.Command, word string) string {
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		return fmt.Sprintf("; did you mean %q?", near[0])
	}
	return ""
}

// exactly is cobra.ExactArgs with an error that counts as one of usage.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return fmt.Errorf("%w: want %s, got %d arguments", errUsage, what, len(args))
		}
		return nil
	}
}

// atLeast is cobra.MinimumNArgs likewise.
func atLeast(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < n {
			return fmt.Errorf("%w: want %s", errUsage, what)
		}
		return nil
	}
}
