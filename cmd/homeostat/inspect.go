package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/store"
)

func newInspect() *cobra.Command {
	var dir, salvage, format string
	cmd := &cobra.Command{
		Use:   "inspect",
		Short: "Look at a store without changing it, or copy what is intact of a damaged one",
		Long: "Look at a store without changing it: its log, labels and pages, and every place that is damaged, with\n" +
			"exit code 3 when there is one. -o jsonl writes the events of its log. --salvage DIR copies what is\n" +
			"intact into a new directory and says what was lost.",
		Args: exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format, formats...); err != nil {
				return err
			}
			if format != "table" {
				if salvage != "" {
					return fmt.Errorf("%w: -o %s does not go with --salvage", errUsage, format)
				}
				out := &printer{w: cmd.OutOrStdout(), format: format}
				err := store.Read(dir, 0, func(seq uint64, r engine.Record) error {
					out.event(seq, r)
					return out.err
				})
				return errors.Join(err, out.end())
			}
			look := store.Inspect
			if salvage != "" {
				look = func(dir string) (store.Report, error) { return store.Salvage(dir, salvage) }
			}
			report, err := look(dir)
			if err != nil {
				return err
			}
			if err := report.WriteText(cmd.OutOrStdout()); err != nil {
				return err
			}
			if salvage == "" && !report.Sound() {
				return fmt.Errorf("%w: the store %s is damaged", errFindings, dir)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "storage.path", "data", "directory of the store")
	f.StringVar(&salvage, "salvage", "", "copy what is intact into this new directory")
	f.StringVarP(&format, "output", "o", "table", "table, or the events of the log as json or jsonl")
	return cmd
}
