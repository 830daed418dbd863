package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"yohaku/cmd/internal/cli"
	"yohaku/dataset"
)

func dataCommand() *cobra.Command {
	c := &cobra.Command{Use: "data", Short: "Look at preference data"}
	var asJSON bool
	inspect := &cobra.Command{
		Use:   "inspect PATH",
		Short: "Read pairs, decode every picture, and say what is there and what is wrong",
		Args:  cli.ExactArgs(1, "a parquet file, a folder, or 'brand'"),
		RunE: func(c *cobra.Command, args []string) error {
			src, err := openSource(args[0], 0)
			if err != nil {
				return err
			}
			s, err := dataset.Inspect(c.Context(), src)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(s)
			}
			_, err = fmt.Fprint(c.OutOrStdout(), s)
			return err
		},
	}
	inspect.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	c.AddCommand(inspect, auditCommand())
	return c
}
