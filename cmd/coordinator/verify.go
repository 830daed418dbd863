package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"yohaku/cmd/internal/cli"
	"yohaku/coordinator/runstore"
	"yohaku/coordinator/verify"
	"yohaku/internal/wire"
	"yohaku/worker"
)

// verification is one call of the command.
type verification struct {
	dir, model    string
	step, threads int
	out           io.Writer
}

func verifyCommand() *cobra.Command {
	v := verification{}
	var out string
	c := &cobra.Command{
		Use:   "verify RUN",
		Short: "Check a run's ledger, and compute one of its steps again",
		Long: `Check that a run's ledger holds: its chain of digests, that every micro-batch of every step
counts exactly once, and that metrics and checkpoints agree with it. With --step, compute up to
that step again on this machine, from the nearest checkpoint before it, and compare the digests.
RUN is a run folder, a run id under --out, or 'latest'. The exit code is 0 only if all holds.`,
		Args: cli.ExactArgs(1, "a run folder, a run id under --out, or 'latest'"),
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("step") && v.step < 1 {
				return cli.UsageError{Err: fmt.Errorf("--step must be at least 1, got %d", v.step)}
			}
			dir, err := runstore.Find(out, args[0])
			if err != nil {
				return err
			}
			v.dir, v.out = dir, c.OutOrStdout()
			return v.run(c.Context())
		},
	}
	flags := c.Flags()
	flags.StringVar(&out, "out", "runs", "folder that holds the run folders")
	flags.IntVar(&v.step, "step", 0, "compute this step again and compare")
	flags.StringVar(&v.model, "model", "", "with --step: the run's base model, when it has moved")
	flags.IntVar(&v.threads, "threads", 0, "with --step: kernel threads; 0 is one for each core")
	return c
}

func (v verification) run(ctx context.Context) error {
	r, err := verify.Check(v.dir)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(v.out, r.Summary()); err != nil || v.step == 0 {
		return err
	}
	return v.recompute(ctx, r)
}

// recompute computes the steps from the nearest state to --step again.
func (v verification) recompute(ctx context.Context, r *verify.Run) error {
	origin, err := r.Origin(ctx, v.step, v.model)
	if err != nil {
		return err
	}
	from := fmt.Sprintf("the checkpoint of step %d", origin.Step)
	if origin.Step == 0 {
		from = "the base model"
	}
	if _, err := fmt.Fprintf(v.out, "computing steps %d to %d again from %s\n", origin.Step+1, v.step, from); err != nil {
		return err
	}
	err = worker.Recompute(ctx, worker.Recomputation{
		Base: origin.Base, State: origin.State, Shards: origin.Shards, Pairs: r.Manifest.Pairs, FirstStep: origin.Step, To: v.step, LastStep: r.LastStep(v.step),
		Hyper: r.Config.Hyper(), KernelSet: r.Manifest.KernelSet, Threads: v.threads,
		Step: func(s wire.StepReport) error {
			if err := r.Compare(s, origin); err != nil {
				return err
			}
			_, err := fmt.Fprintf(v.out, "  step %d agrees: sums %.12s… parameters %.12s…\n", s.Step, s.SumsSHA256, s.ParamsSHA256)
			return err
		},
	})
	if err != nil {
		return fmt.Errorf("run %s: %w", v.dir, err)
	}
	return nil
}
