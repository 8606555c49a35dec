package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newCheck() *cobra.Command {
	check := &cobra.Command{Use: "check", Short: "Check files without doing anything"}
	check.AddCommand(&cobra.Command{
		Use:   "config FILE...",
		Short: "Check configuration files, with what serve would use and without the network",
		Args:  atLeast(1, "at least one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, path := range args {
				if _, err := loadConfig(path); err != nil {
					return err
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", path); err != nil {
					return err
				}
			}
			return nil
		},
	})
	return check
}
