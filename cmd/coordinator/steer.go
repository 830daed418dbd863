package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"yohaku/cmd/internal/cli"
	"yohaku/coordinator/api"
	"yohaku/coordinator/runstore"
	"yohaku/internal/epoch"
)

// target says which run a command means.
type target struct{ out, runID, http string }

func (t *target) bind(c *cobra.Command) {
	c.Flags().StringVar(&t.out, "out", "runs", "folder that holds the run folders")
	c.Flags().StringVar(&t.runID, "run-id", "", "the run; default: the newest")
	c.Flags().StringVar(&t.http, "http", "", "address of the run's API, instead of --run-id")
}

func (t target) client() (api.Client, error) {
	if t.http != "" {
		return api.FindByAddress(t.out, t.http)
	}
	dir, err := runstore.Find(t.out, t.runID)
	if err != nil {
		return api.Client{}, err
	}
	if err := orphaned(t.out, dir); err != nil {
		return api.Client{}, err
	}
	return api.Find(dir)
}

// orphaned tells of a run whose coordinator was killed, and what becomes of it.
func orphaned(out, dir string) error {
	condition, err := runstore.Inspect(dir)
	if err != nil || !condition.Died {
		return err
	}
	manifest, saved, err := readConfig(dir)
	if err != nil {
		return err
	}
	return fmt.Errorf("the coordinator of run %s, process %d, was killed; its workers go on with training, and end by themselves when they have been without one for %v: take the run up again with `coordinator up --resume %s --out %s`",
		manifest.RunID, condition.PID, saved.AbsenceLimit(), manifest.RunID, out)
}

func statusCommand() *cobra.Command {
	var t target
	var asJSON bool
	c := &cobra.Command{Use: "status", Short: "Show a run and its workers", Args: cli.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		var s api.Status
		if err := t.ask(c, http.MethodGet, "status", &s); err != nil {
			return err
		}
		if asJSON {
			e := json.NewEncoder(c.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(s)
		}
		return printStatus(c.OutOrStdout(), s)
	}}
	t.bind(c)
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

func (t target) ask(c *cobra.Command, method, path string, v any) error {
	client, err := t.client()
	if err != nil {
		return err
	}
	return client.Do(c.Context(), method, path, v)
}

func printStatus(w io.Writer, s api.Status) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(tw, "run\t%s\nstate\t%s\nstep\t%d of %d\ngeneration\t%d, epoch %s\nloss\t%.4f\nmargin\t%+.5f\nspeed\t%.1f items/s\njoin at\t%s\n\n",
		s.RunID, s.State, s.Step, s.Steps, s.Generation, epoch.String(s.Epoch), s.Loss, s.LogOdds, s.ItemsPerSecond, s.Join) // Flush reports the error.
	_, _ = fmt.Fprintln(tw, "RANK\tWORKER\tHOST\tPID\tDEVICE\tKERNELS\tITEMS/S\tSTATE") // As above.
	for _, n := range s.Nodes {
		_, _ = fmt.Fprintf(tw, "%d\t%s\t%s\t%d\t%s\t%s\t%.1f\t%s\n", n.Rank, n.Name, n.Host, n.PID, n.Device, n.KernelSet, n.ItemsPerSecond, n.State) // As above.
	}
	return tw.Flush()
}

func stopCommand() *cobra.Command {
	var t target
	c := &cobra.Command{Use: "stop", Short: "End a run at the next step, with a checkpoint", Args: cli.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		var s api.Status
		if err := t.ask(c, http.MethodPost, "stop", &s); err != nil {
			return err
		}
		_, err := fmt.Fprintf(c.OutOrStdout(), "run %s ends after step %d; continue it with: coordinator up --resume %s\n", s.RunID, s.Step, s.RunID)
		return err
	}}
	t.bind(c)
	return c
}
