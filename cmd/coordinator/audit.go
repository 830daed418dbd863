package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"yohaku/cmd/internal/cli"
	"yohaku/coordinator/runstore"
	"yohaku/coordinator/verify"
	"yohaku/dataset"
	"yohaku/dataset/audit"
	"yohaku/dataset/palette"
	"yohaku/dataset/similarity"
	"yohaku/internal/atomicfile"
	"yohaku/internal/wire"
	"yohaku/worker"
)

// dataAudit is one call of `data audit`.
type dataAudit struct {
	path, heldOut, model, runs, out string
	timesteps, threads              int
	dropSuspects                    bool
	seed                            uint64
	stdout                          io.Writer
}

func auditCommand() *cobra.Command {
	a := dataAudit{}
	c := &cobra.Command{
		Use:   "audit PATH",
		Short: "Look for labels, rows and pictures that should not be trained on",
		Long: `Audit preference data: agreement between those who judged, agreement with the brand's palette, labels that a
trained model finds turned round (--model RUN), rows that repeat or contradict each other, and training
pictures that are in the held-out data too (--held-out PATH). Writes audit.json, audit.md, audit.html,
cleaned.jsonl and removed.jsonl to --out, and changes nothing else. In a folder's metadata.jsonl the key
"annotator" names who judged.`,
		Args: cli.ExactArgs(1, "a parquet file, a folder, or 'brand'"),
		RunE: func(c *cobra.Command, args []string) error {
			a.path, a.stdout = args[0], c.OutOrStdout()
			if a.timesteps < 1 || a.timesteps > 64 {
				return cli.UsageError{Err: fmt.Errorf("--timesteps must be from 1 to 64, got %d", a.timesteps)}
			}
			return a.run(c.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&a.out, "out", "audit", "folder to write to")
	f.StringVar(&a.heldOut, "held-out", "", "data that must not be trained on: a parquet file or a folder")
	f.StringVar(&a.model, "model", "", "a run on this data, whose model the labels are held against")
	f.StringVar(&a.runs, "runs", "runs", "folder that holds the run folders")
	f.IntVar(&a.timesteps, "timesteps", 4, "with --model: draws for each pair")
	f.IntVar(&a.threads, "threads", 0, "with --model: kernel threads; 0 is one for each core")
	f.BoolVar(&a.dropSuspects, "drop-suspects", false, "leave labels of negative margin out of the cleaned list")
	f.Uint64Var(&a.seed, "seed", 0, "seed of the brand set")
	return c
}

func (a dataAudit) run(ctx context.Context) error {
	pairs, err := a.read(ctx, a.path)
	if err != nil {
		return err
	}
	o := audit.Options{
		Judge: func(m image.Image) float64 { return palette.Score(m, palette.Brand) }, JudgeName: "palette",
		DropSuspects: a.dropSuspects, Threshold: similarity.Default,
	}
	if a.heldOut != "" {
		if o.HeldOut, err = a.read(ctx, a.heldOut); err != nil {
			return fmt.Errorf("--held-out: %w", err)
		}
	}
	if a.model != "" {
		o.MarginsOf = a.model
		if o.Margins, err = a.margins(ctx, pairs); err != nil {
			return err
		}
	}
	r, err := audit.Run(ctx, a.path, pairs, o)
	if err != nil {
		return err
	}
	return a.write(r, pairs, o.HeldOut)
}

// read reads all rows of a source, ties among them; bad rows are left to `data inspect`.
func (a dataAudit) read(ctx context.Context, path string) ([]dataset.Pair, error) {
	src, err := openSource(path, a.seed)
	if err != nil {
		return nil, err
	}
	set, err := dataset.Collect(ctx, src, dataset.Options{MaxRejectedRatio: 1})
	return set.Pairs, err
}

// margins holds the labels against the model of a run on the same data.
func (a dataAudit) margins(ctx context.Context, pairs []dataset.Pair) ([]float64, error) {
	dir, err := runstore.Find(a.runs, a.model)
	if err != nil {
		return nil, fmt.Errorf("--model: %w", err)
	}
	r, err := verify.Check(dir)
	if err != nil {
		return nil, fmt.Errorf("--model: %w", err)
	}
	if err := a.sameData(ctx, r, pairs); err != nil {
		return nil, err
	}
	if len(r.Checkpoints) == 0 {
		return nil, fmt.Errorf("--model: run %s has no checkpoint; --resume it to its end", dir)
	}
	origin, err := r.Origin(ctx, 1, "") // The base, and the latents.
	if err != nil {
		return nil, err
	}
	last := r.Checkpoints[len(r.Checkpoints)-1]
	shown := 0
	margins, err := worker.Margins{
		Base: origin.Base, Tuned: last.Dir, Shards: origin.Shards, Pairs: r.Manifest.Pairs, Timesteps: a.timesteps, Hyper: r.Config.Hyper(), Threads: a.threads,
		Progress: func(pair int) {
			if percent := 100 * pair / r.Manifest.Pairs; percent >= shown+10 {
				shown = percent
				_, _ = fmt.Fprintf(a.stdout, "margins: %d %%\n", percent) // Only for the eye.
			}
		},
	}.Compute(ctx)
	if err != nil {
		return nil, fmt.Errorf("--model: %w", err)
	}
	return margins, nil
}

// sameData checks that the run was trained on these rows, in this order.
func (a dataAudit) sameData(ctx context.Context, r *verify.Run, pairs []dataset.Pair) error {
	c := r.Config
	if !c.RemoveTies && slices.ContainsFunc(pairs, func(p dataset.Pair) bool { return p.Tie }) {
		return errors.New("--model: the run was trained with ties as preferences, which have no label to hold against it; name a run with --remove-ties")
	}
	set, err := readAsRun(ctx, a.path, c)
	if err != nil {
		return err
	}
	if set.Digest != r.Manifest.DataDigest {
		return fmt.Errorf("--model: run %s was trained on data of digest %.12s…, %s has %.12s…; name a run on this data, and give its --seed for the brand set", r.Manifest.RunID, r.Manifest.DataDigest, a.path, set.Digest)
	}
	if set.Swapped > 0 {
		return fmt.Errorf("--model: run %s was trained with --label-noise-prob %g, so its margins are not those of these labels; name a run without it", r.Manifest.RunID, c.LabelNoiseProb)
	}
	return nil
}

func (a dataAudit) write(r audit.Result, pairs, heldOut []dataset.Pair) error {
	if err := os.MkdirAll(a.out, 0o755); err != nil {
		return fmt.Errorf("--out: %w; name a folder that can be written", err)
	}
	var html bytes.Buffer
	if err := r.Report.HTML(&html, pairs, heldOut); err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"audit.json": jsonLines([]audit.Report{r.Report}), "audit.md": []byte(r.Report.Markdown()), "audit.html": html.Bytes(),
		"cleaned.jsonl": jsonLines(r.Kept), "removed.jsonl": jsonLines(r.Removed),
	} {
		if err := atomicfile.Write(filepath.Join(a.out, name), data); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
	}
	s := r.Report
	alpha := "not measured"
	if s.Alpha != nil {
		alpha = fmt.Sprintf("%.3f", *s.Alpha)
	}
	_, err := fmt.Fprintf(a.stdout, "%d preferences, %d ties\nalpha         %s\njudge agrees  %s\nsuspects      %d labels of negative margin\nleaks         %d\nnear          %d rows with nearly the same picture as another\ncleaned list  %d rows kept, %d left out\nsee %s\n",
		s.Pairs, s.Ties, alpha, s.JudgeAgrees, len(s.Suspects), len(s.Leaks), len(s.Duplicates), s.Kept, s.Removed, filepath.Join(a.out, "audit.html"))
	return err
}

// jsonLines are rows as JSON lines.
func jsonLines[T any](rows []T) []byte {
	var out []byte
	for _, row := range rows {
		out = append(append(out, wire.Encode(row)...), '\n')
	}
	return out
}
