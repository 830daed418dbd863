package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/spf13/cobra"

	"yohaku/cmd/internal/cli"
	"yohaku/coordinator/chaos"
	"yohaku/coordinator/runstore"
)

// holder says whose the lock of the run folder dir is.
func holder(dir string) (pid int, held bool, err error) {
	c, err := runstore.Inspect(dir)
	return c.PID, c.Held, err
}

func chaosCommand() *cobra.Command {
	var t target
	var asJSON bool
	c := chaos.Config{}
	cmd := &cobra.Command{
		Use:   "chaos",
		Short: "Hurt a run of yours and measure how it recovers",
		Long: `Hurt a run that is going on: kill, freeze and cut off workers and start further ones, one after
the other at random moments, kill the coordinator and start it again, and measure how the run recovers from each.

Workers of this machine are hurt by signals. Workers elsewhere, and partitions, take an order
that the worker must allow with --allow-chaos; local workers of 'coordinator up' do. A
coordinator of this machine is started again by its own command, in its folder, and goes on after
this command; its output goes to coordinator.log in the run folder.`,
		Example: "  coordinator chaos --kill 5 --freeze 2 --join 2 --partition 1",
		Args:    cli.NoArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !cmd.Flags().Changed("seed") {
			c.Seed = rand.Uint64N(1_000_000)
		}
		if err := c.Validate(); err != nil {
			return cli.UsageError{Err: err}
		}
		c.Out, c.Holder = t.out, holder
		stop, release := cli.Interrupts(nil)
		defer release()
		ctx, cancel := cli.Until(cmd.Context(), stop)
		defer cancel()
		report, err := chaos.Run(ctx, c, t.client, os.Stderr)
		if err != nil {
			return err
		}
		if asJSON {
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			err = e.Encode(report)
		} else {
			err = report.Print(cmd.OutOrStdout())
		}
		if err == nil && !report.Recovered {
			err = fmt.Errorf("run %s did not recover from every fault; its log says why; the same faults come with --seed %d", report.RunID, report.Seed)
		}
		return err
	}
	t.bind(cmd)
	flags := cmd.Flags()
	flags.IntVar(&c.Kills, "kill", 0, "workers to kill (kill -9)")
	flags.IntVar(&c.Freezes, "freeze", 0, "workers to freeze (SIGSTOP)")
	flags.IntVar(&c.Joins, "join", 0, "further local workers to start")
	flags.IntVar(&c.Partitions, "partition", 0, "workers to cut off from the network")
	flags.IntVar(&c.CoordinatorKills, "coordinator-kill", 0, "times to kill the coordinator (kill -9) and start it again")
	flags.Uint64Var(&c.Seed, "seed", 0, "repeats the order, the pauses and the choice of workers; default: random")
	flags.DurationVar(&c.FreezeFor, "freeze-for", 5*time.Second, "how long a freeze lasts")
	flags.DurationVar(&c.PartitionFor, "partition-for", 10*time.Second, "how long a partition lasts")
	flags.DurationVar(&c.AwayFor, "away-for", 2*time.Second, "how long a killed coordinator stays away")
	flags.DurationVar(&c.Pause, "pause", 2*time.Second, "longest pause before a fault")
	flags.DurationVar(&c.Limit, "limit", time.Minute, "longest recovery from one fault")
	flags.BoolVar(&c.Replace, "replace", true, "start a local worker for each one of this machine that is killed")
	flags.BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}
