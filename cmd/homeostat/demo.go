package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/homeostat/homeostat/cmd/homeostat/demo"
	"github.com/homeostat/homeostat/testdata/incidents"
)

type demoFlags struct {
	names  []string
	list   bool
	report string
	width  int
}

func newDemo() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Replay recordings of incidents that are built in, and see what is found",
		Long: "Replay recordings of incidents that are built into this program, through the code that serve runs, and see\n" +
			"what is found, how late, and what is false. Needs no server and no network, and writes nothing but the report.",
		Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&f.names, "recording", nil, "show only this recording; may be given several times")
	fl.BoolVar(&f.list, "list", false, "list the recordings and end")
	fl.StringVar(&f.report, "report", "", "write the same with more plots to this HTML file")
	fl.IntVar(&f.width, "width", 0, "columns to draw for; 0 is the terminal's own, 80 without one")
	complete(cmd, "recording", incidents.Names...)
	return cmd
}

func (f *demoFlags) run(cmd *cobra.Command) (err error) {
	if f.width != 0 && f.width < demo.MinWidth {
		return fmt.Errorf("%w: --width %d: want 0, or %d or more", errUsage, f.width, demo.MinWidth)
	}
	names, err := demo.Choose(incidents.Names, f.names)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	cfg := demo.Config{
		Recordings: incidents.Files, Names: names, Where: incidents.Where,
		Out: cmd.OutOrStdout(), Style: styleOf(cmd.OutOrStdout(), os.Getenv),
	}
	if f.width != 0 {
		cfg.Style.Width = f.width
	}
	if f.list {
		return demo.List(cfg)
	}
	if f.report != "" {
		page, err := os.Create(f.report)
		if err != nil {
			return fmt.Errorf("the report: %w", err)
		}
		defer func() {
			if closeErr := page.Close(); err == nil && closeErr != nil {
				err = fmt.Errorf("the report: %w", closeErr)
			}
		}()
		cfg.Report, cfg.ReportName = page, f.report
	}
	_, err = demo.Run(cmd.Context(), cfg)
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(cmd.OutOrStdout(), "stopped")
		return nil // nothing was begun that would be left half done
	}
	return err
}

// styleOf finds out what can be shown where the output goes: colours on a
// terminal only, unless NO_COLOR is set or the terminal is a dumb one, and other
// characters than ASCII only when the locale has them.
func styleOf(out io.Writer, env func(string) string) demo.Style {
	style := demo.Style{Width: 80, Unicode: wideLocale(env) && env("TERM") != "linux"}
	fd, ok := terminal(out)
	if !ok {
		return style
	}
	if width, _, err := term.GetSize(fd); err == nil && width > 0 {
		style.Width = width
	}
	style.Live = env("TERM") != "dumb"
	style.Colour = style.Live && env("NO_COLOR") == ""
	return style
}

// wideLocale says whether the locale's characters are UTF-8. The first variable
// that is set decides, as POSIX has it.
func wideLocale(env func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(env(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}
