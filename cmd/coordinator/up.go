package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"yohaku/cmd/internal/cli"
	"yohaku/coordinator"
	"yohaku/coordinator/config"
	"yohaku/coordinator/evidence"
	"yohaku/coordinator/gate"
	"yohaku/coordinator/runstore"
	"yohaku/model/demo"
)

func upCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "up",
		Short: "Start a run: train on preference pairs, and compare the result with the base",
		Long: `Start a run. Without --model and --data it tunes a small built-in model towards a built-in
brand on this machine, in about five minutes, and needs nothing else.`,
		Args: cli.NoArgs,
	}
	flags := config.Bind(c.Flags())
	c.RunE = func(c *cobra.Command, _ []string) error {
		u := &up{flags: flags, out: c.OutOrStdout()}
		err := u.run(c.Context())
		if errors.Is(err, coordinator.ErrStopped) {
			_, err = fmt.Fprintf(u.out, "stopped before the first step; continue with: coordinator up --resume %s\n", u.o.Config.RunID)
		}
		return err
	}
	return c
}

// up is one call of the command.
type up struct {
	flags *config.Flags
	out   io.Writer
	o     coordinator.Options

	locals processes
}

// run checks everything that can be checked before the first file is written, then runs.
func (u *up) run(ctx context.Context) error {
	stop, release := cli.Interrupts(u.locals.kill)
	defer release()
	u.o.Stop, u.o.Version = stop, cli.Version()
	for _, step := range []func(context.Context) error{u.configure, u.openModel, u.openData} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if u.o.Config.DryRun {
		return u.printPlan()
	}
	if err := u.prepareOutput(); err != nil {
		return err
	}
	report, err := coordinator.Run(ctx, u.o)
	if err != nil {
		return err
	}
	if err := u.printSummary(report); err != nil {
		return err
	}
	return u.gated(report)
}

// configure loads the configuration, over that of the run to resume if there is one.
func (u *up) configure(context.Context) error {
	c, err := u.flags.Load()
	if err != nil {
		return cli.UsageError{Err: err}
	}
	u.o.Takeover, u.o.Force = c.Takeover, c.Force
	switch {
	case c.Resume != "":
		if u.o.ResumeDir, err = runstore.Find(c.Out, c.Resume); err != nil {
			return fmt.Errorf("--resume: %w", err)
		}
		c, err = resumeConfig(u.flags, u.o.ResumeDir)
	case !c.DryRun:
		c, err = u.unfinished(c)
	}
	if err != nil {
		return err
	}
	if c.Gate != "" {
		if _, err := gate.Read(c.Gate, c.GateStage); err != nil {
			return err
		}
	}
	c.Takeover, c.Force = false, false // As what follows.
	if c.RunID == "" {
		c.RunID = time.Now().Format("20060102-150405") + "-" + uuid.NewString()[:4]
	}
	u.o.Config = c
	return nil
}

// unfinished finds the run that the same command began, if its coordinator was killed, to take it up.
func (u *up) unfinished(c config.Config) (config.Config, error) {
	dir, err := runstore.Unfinished(c.Out, c.RunID)
	if err != nil || dir == "" {
		return c, err
	}
	manifest, saved, err := readConfig(dir)
	if err != nil {
		return c, err
	}
	id := manifest.RunID
	if flag, value, was := c.FirstDifference(saved); flag != "" {
		return c, fmt.Errorf("--%s is %v, but the unfinished run %s in %s has %v: continue that run as it is with --resume %s, or start another one with another --run-id or --out", flag, value, id, c.Out, was, id)
	}
	u.o.ResumeDir, c.RunID = dir, id
	return c, nil
}

// readConfig reads the configuration of the run in dir.
func readConfig(dir string) (runstore.Manifest, config.Config, error) {
	manifest, err := runstore.ReadManifest(dir)
	if err != nil {
		return manifest, config.Config{}, err
	}
	saved, err := config.Parse(manifest.Config)
	if err != nil {
		return manifest, saved, fmt.Errorf("configuration in %s: %w", filepath.Join(dir, "manifest.json"), err)
	}
	return manifest, saved, nil
}

// resumeConfig is the configuration of the run in dir with the flags given now laid over it.
func resumeConfig(flags *config.Flags, dir string) (config.Config, error) {
	manifest, saved, err := readConfig(dir)
	if err != nil {
		return config.Config{}, fmt.Errorf("--resume: %w", err)
	}
	saved.RunID = "" // The folder names the run.
	c, err := flags.LoadOver(saved)
	if err != nil {
		return config.Config{}, cli.UsageError{Err: err}
	}
	c.Out, c.RunID, c.Resume = filepath.Dir(dir), manifest.RunID, "" // The folder keeps what the run is, not how it was called.
	if key := saved.FirstChange(c); key != "" {
		return config.Config{}, cli.UsageError{Err: fmt.Errorf("--%s differs from the run %s, whose result it decides: leave it out to continue, or start a new run", key, c.RunID)}
	}
	return c, nil
}

// openModel opens the base model and checks that it can be trained.
func (u *up) openModel(context.Context) error {
	m, err := openModel(u.o.Config.Model)
	if err != nil {
		return err
	}
	u.o.UnpackModel, u.o.ModelDir, u.o.ModelName = demo.Extract, m.dir, m.name
	u.o.EvalScheduler = m.sampler()
	u.o.Resolution = u.o.Config.Resolution
	if u.o.Resolution == 0 {
		u.o.Resolution = m.resolution
	}
	if f := m.factor; u.o.Resolution%f != 0 || u.o.Resolution <= 0 {
		return fmt.Errorf("--resolution must be a multiple of %d for this model, got %d", f, u.o.Resolution)
	}
	return nil
}

// openData reads and checks the pairs, and finds the prompts of the evaluation.
func (u *up) openData(ctx context.Context) error {
	c := u.o.Config
	src, err := openSource(c.Data, c.Seed)
	if err != nil {
		return err
	}
	u.o.DataName = src.Name()
	if u.o.Data, err = collect(ctx, src, c); err != nil {
		return err
	}
	if c.NoEval {
		return nil
	}
	u.o.EvalPrompts, u.o.EvalNote, err = evalPrompts(c, u.o.Data)
	return err
}

// prepareOutput sets up logs and the progress bar.
func (u *up) prepareOutput() error {
	if err := logTo(&u.o); err != nil {
		return err
	}
	u.o.LocalStarted = u.locals.add
	u.o.Announce = func(join, desk string, run *runstore.Run) {
		_, _ = fmt.Fprintf(u.out, "run %s in %s\nadd a worker with:\n  %s\nfollow it in a browser:\n  %s\n", run.Manifest.RunID, run.Dir, join, desk) // The run goes on without a reader.
	}
	return nil
}

func (u *up) printPlan() error {
	c := u.o.Config
	_, err := fmt.Fprintf(u.out, `plan of run %s (nothing was written)
  model        %s
  data         %s: %d pairs, %d ties, %d rows set aside
  resolution   %d
  steps        %d of %d micro-batches of %d items
  workers      %d here, %d wanted for the first step
  evaluation   %d prompts, %d seeds
`, c.RunID, u.o.ModelName, u.o.DataName, len(u.o.Data.Pairs), u.o.Data.Ties, len(u.o.Data.Rejects), u.o.Resolution,
		c.Steps, c.GradientAccumulationSteps, c.TrainBatchSize, c.LocalWorkers, c.Workers(), len(u.o.EvalPrompts), c.EvalSeeds)
	return err
}

// printSummary says how the run ended and where everything is.
func (u *up) printSummary(r evidence.Report) error {
	var b strings.Builder
	if r.Complete {
		fmt.Fprintf(&b, "\nrun %s is complete: %d steps in %.0f s (training %.0f s)\n", r.RunID, r.Steps, r.Seconds, r.TrainingSeconds)
	} else {
		fmt.Fprintf(&b, "\nrun %s stopped after step %d; continue it with: coordinator up --resume %s\n", r.RunID, r.Steps, r.RunID)
	}
	fmt.Fprintf(&b, "  pairs       %d, %d rows set aside\n", r.Pairs, r.RejectedRows)
	if r.WinRate != nil {
		fmt.Fprintf(&b, "  win rate    %.3f of tuned against base, 95 %% interval %.3f to %.3f (%d comparisons, judge: %s)\n", *r.WinRate, *r.WinRateLow, *r.WinRateHigh, r.Comparisons, r.Judge)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "  note        %s\n", note)
	}
	fmt.Fprintf(&b, "  checkpoint  %s\n  digest      %s\n", r.Checkpoint, r.CheckpointSHA256)
	if r.Grid != "" {
		fmt.Fprintf(&b, "  pictures    %s\n  evaluation  %s\n", r.Grid, filepath.Join(u.o.Config.Out, r.RunID, "evaluation.html"))
	}
	fmt.Fprintf(&b, "  report      %s\n", filepath.Join(u.o.Config.Out, r.RunID, "report.json"))
	_, err := io.WriteString(u.out, b.String())
	return err
}
