package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"yohaku/cmd/internal/cli"
)

func deskCommand() *cobra.Command {
	var t target
	var viewer bool
	c := &cobra.Command{Use: "desk", Short: "Print the link that opens a run's pages in a browser", Args: cli.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		client, err := t.client()
		if err != nil {
			return err
		}
		e := client.Endpoint()
		token := e.Bearer
		if viewer {
			token = e.Viewer
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), e.SignIn(token))
		return err
	}}
	t.bind(c)
	c.Flags().BoolVar(&viewer, "viewer", false, "a link that can look, but not steer the run")
	return c
}
