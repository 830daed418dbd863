package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"yohaku/cmd/internal/cli"
	"yohaku/coordinator"
	"yohaku/coordinator/evidence"
	"yohaku/coordinator/gate"
	"yohaku/coordinator/runstore"
)

func gateCommand() *cobra.Command {
	var out, file, stage string
	c := &cobra.Command{
		Use:   "gate RUN",
		Short: "Hold an ended run against the gates of a pilot, and release its checkpoint or withhold it",
		Long: `Hold an ended run against gates.yaml: one line for each figure with its bound and where it came from.
A figure that is missing fails, and says how to get it. The verdict is written to gate.json in the run
folder. If all pass, the checkpoint is marked with released.json and final leads to it; otherwise final is
removed. RUN is a run folder, a run id under --out, or 'latest'. The exit code is 0 only if all pass.

gates.yaml:
  price_per_worker_hour: 2.5
  stages:                      # a stage asks for all of the stages before it, too
    - name: poc
      kpis: [{name: win_rate_low, at_least: 0.5}, {name: hours, at_most: 2}]
    - name: pilot
      kpis: [{name: diversity_ratio, at_least: 0.8}, {name: copy_rate, at_most: 0}]
    - name: release
      kpis: [{name: adoption_rate, at_least: 0.6}, {name: edits_per_picture, at_most: 1}, {name: cost, at_most: 500}]`,
		Args: cli.ExactArgs(1, "a run folder, a run id under --out, or 'latest'"),
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := runstore.Find(out, args[0])
			if err != nil {
				return err
			}
			f, err := gate.Read(file, stage)
			if err != nil {
				return err
			}
			return judge(dir, f, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&out, "out", "runs", "folder that holds the run folders")
	c.Flags().StringVar(&file, "gate", "gates.yaml", "the gates")
	c.Flags().StringVar(&stage, "stage", "", "stage to pass; empty is the one the file names, or its first")
	return c
}

// judge prints the verdict on the run in dir, and releases or withholds its checkpoint.
func judge(dir string, f gate.File, out io.Writer) (err error) {
	run, err := runstore.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.Close()) }()
	if run.Unfinished {
		return fmt.Errorf("the coordinator of run %s was killed before it ended: take the run up again with coordinator up --resume", run.Manifest.RunID)
	}
	v, err := coordinator.Release(run, f)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(out, v.String()); err != nil {
		return err
	}
	return failure(v)
}

// failure is the error of a gate that was not passed.
func failure(v gate.Verdict) error {
	if v.Pass {
		return nil
	}
	var names []string
	for _, r := range v.Results {
		if !r.Pass {
			names = append(names, r.KPI)
		}
	}
	return fmt.Errorf("gate: stage %s failed on %s, so the checkpoint is not released; see gate.json for what each figure is and how to get a missing one", v.Stage, strings.Join(names, ", "))
}

// gated is the error of a run that its gate did not let pass.
func (u *up) gated(r evidence.Report) error {
	if r.Released == nil || *r.Released {
		return nil
	}
	return fmt.Errorf("gate: run %s did not pass, so its checkpoint is not released and there is no final; see `coordinator gate %s --out %s --gate %s`", r.RunID, r.RunID, u.o.Config.Out, u.o.Config.Gate)
}
