package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"yohaku/cmd/internal/cli"
	"yohaku/coordinator/api"
)

func tokenCommand() *cobra.Command {
	var t target
	var expires time.Duration
	var rotate bool
	var revoke string
	c := &cobra.Command{
		Use: "token", Short: "Print the line with which workers join a run, make a new token, or revoke one", Args: cli.NoArgs,
		Long: `Print the line with which workers join a run.

With --rotate all tokens given out so far are refused from now on, and the line has a new one; workers
that have joined stay, and the gossip key changes as well. With --revoke one token is refused.`,
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		query := ""
		if expires != 0 {
			query = "?expires=" + url.QueryEscape(expires.String())
		}
		var a api.Token
		err := t.call(c, func(ctx context.Context, client api.Client) error {
			switch {
			case rotate:
				return client.Post(ctx, "token/rotate"+query, struct{}{}, &a)
			case revoke != "":
				return client.Post(ctx, "token/revoke"+query, api.RevokeToken{Token: revoke}, &a)
			}
			return client.Do(ctx, http.MethodGet, "token"+query, &a)
		})
		if err != nil {
			return err
		}
		if revoke != "" {
			_, err = fmt.Fprintln(c.OutOrStdout(), "the token is refused from now on")
			return err
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), a.Join)
		return err
	}
	t.bind(c)
	c.Flags().DurationVar(&expires, "expires", 0, "how long the printed token is good, such as 24h; default: until it is rotated or revoked")
	c.Flags().BoolVar(&rotate, "rotate", false, "refuse all tokens given out so far, and print a new one")
	c.Flags().StringVar(&revoke, "revoke", "", "refuse this token from now on")
	c.MarkFlagsMutuallyExclusive("rotate", "revoke")
	c.MarkFlagsMutuallyExclusive("expires", "revoke")
	return c
}

func nodeCommand() *cobra.Command {
	var t target
	c := &cobra.Command{Use: "node", Short: "Steer the nodes of a run"}
	revoke := &cobra.Command{
		Use: "revoke NODE", Short: "Put a node out of the run for good", Args: cli.ExactArgs(1, "the name of a node"),
		Long: `Put a node out of the run for good: its certificate is refused by all nodes, its routes end, its work goes
to the others. All join tokens are replaced, since it may know one, and the gossip key changes. The name is
as in "coordinator status".`,
		RunE: func(c *cobra.Command, args []string) error {
			var a api.Token
			err := t.call(c, func(ctx context.Context, client api.Client) error {
				return client.Post(ctx, "node/revoke", api.RevokeNode{Node: args[0]}, &a)
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "node %s is out; workers join with a new token from now on:\n%s\n", args[0], a.Join)
			return err
		},
	}
	t.bind(revoke)
	c.AddCommand(revoke)
	return c
}

func (t target) call(c *cobra.Command, fn func(context.Context, api.Client) error) error {
	client, err := t.client()
	if err != nil {
		return err
	}
	return fn(c.Context(), client)
}
