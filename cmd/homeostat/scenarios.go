package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/homeostat/homeostat/engine/enginetest"
)

func newTest() *cobra.Command {
	var config string
	var shards int
	var text bool
	cmd := &cobra.Command{
		Use:   "test FILE...",
		Short: "Run scenario files: made-up series and what must come of them",
		Args:  atLeast(1, "at least one scenario file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadConfig(config)
			if err != nil {
				return err
			}
			engineCfg, err := cfg.engineConfig()
			if err != nil {
				return err
			}
			failed := 0
			for _, path := range args {
				src, err := os.ReadFile(path)
				if err != nil {
					return fmt.Errorf("reading a scenario: %w", err)
				}
				s, err := enginetest.Parse(path, src)
				if err != nil {
					var wrong *enginetest.Error
					if errors.As(err, &wrong) {
						return fmt.Errorf("%w: %w", errUsage, err)
					}
					return err
				}
				r, err := s.Run(enginetest.Options{Shards: shards, Config: engineCfg})
				if err != nil {
					return err
				}
				report := r.Report(path)
				if report == "" {
					report = path + ": ok\n"
				} else {
					failed++
				}
				if text {
					report = r.Text() + report
				}
				if _, err := fmt.Fprint(cmd.OutOrStdout(), report); err != nil {
					return err
				}
			}
			if failed > 0 {
				return fmt.Errorf("%w: %d of %d scenarios do not hold", errFindings, failed, len(args))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&config, "config.file", "", "configuration file; a scenario's own settings go before it")
	f.IntVar(&shards, "shards", 1, "number of shards; it changes no result")
	f.BoolVarP(&text, "verbose", "v", false, "print what came of each scenario")
	return cmd
}
