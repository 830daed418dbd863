package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"yohaku/cmd/internal/cli"
	"yohaku/coordinator/card"
	"yohaku/coordinator/copycheck"
	"yohaku/coordinator/runstore"
	"yohaku/internal/atomicfile"
)

// copyCheck is one call of the command.
type copyCheck struct {
	dir, registered, data string
	out                   io.Writer
}

func copycheckCommand() *cobra.Command {
	k := copyCheck{}
	var out string
	c := &cobra.Command{
		Use:   "copycheck RUN",
		Short: "Hold a run's pictures against its training pictures and against registered works",
		Long: `Hold the pictures that a run's evaluation made against the pictures it was trained on and those of a folder of
registered works, by perceptual hash and features, and measure how much its pictures of one prompt differ. Writes
copycheck.json and copycheck.html to the run folder, where coordinator gate reads them, and the model card again.
The exit code tells only whether the check was made: gates decide what may be released.`,
		Args: cli.ExactArgs(1, "a run folder, a run id under --out, or 'latest'"),
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if k.dir, err = runstore.Find(out, args[0]); err != nil {
				return err
			}
			k.out = c.OutOrStdout()
			return k.run(c.Context())
		},
	}
	c.Flags().StringVar(&out, "out", "runs", "folder that holds the run folders")
	c.Flags().StringVar(&k.registered, "registered", "", "folder of works that must not be copied")
	c.Flags().StringVar(&k.data, "data", "", "the run's data, when it has moved")
	return c
}

func (k copyCheck) run(ctx context.Context) (err error) {
	run, err := runstore.Open(k.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.Close()) }()
	tuned, err := k.samples("tuned")
	if err != nil {
		return err
	}
	base, err := k.samples("base")
	if err != nil {
		return err
	}
	references, err := k.training(ctx)
	if err != nil {
		return err
	}
	works, err := registeredWorks(k.registered)
	if err != nil {
		return err
	}
	references = append(references, works...)
	generated := slices.Concat(tuned...)
	r, err := copycheck.Check(generated, references)
	if err != nil {
		return err
	}
	if k.registered == "" {
		r.Notes = append(r.Notes, "no registered works were looked at: name their folder with --registered")
	}
	r.DiversityTuned, r.DiversityBase = copycheck.Diversity(tuned), copycheck.Diversity(base)
	if r.CheckpointSHA256, err = run.ReportedCheckpoint(); err != nil {
		return err
	}
	return k.write(run, r, generated, references)
}

func (k copyCheck) write(run *runstore.Run, r copycheck.Report, generated, references []copycheck.Picture) error {
	var html bytes.Buffer
	if err := r.HTML(&html, generated, references); err != nil {
		return err
	}
	if err := run.WriteJSON("copycheck.json", r); err != nil {
		return err
	}
	if err := atomicfile.Write(run.Path("copycheck.html"), html.Bytes()); err != nil {
		return err
	}
	if err := k.describe(run, r.CheckpointSHA256); err != nil {
		return err
	}
	_, err := fmt.Fprintf(k.out, "%s\nthreshold %.4f: precision %.3f, recall %.3f on altered references\nsee %s\n", r.Summary(), r.Threshold, r.Precision, r.Recall, run.Path("copycheck.html"))
	return err
}

// describe writes the model card again, with what is known now.
func (k copyCheck) describe(run *runstore.Run, digest string) error {
	checkpoint, err := run.ByDigest(digest)
	if err != nil {
		return err
	}
	text, err := card.Make(run.Dir)
	if err != nil {
		return err
	}
	return checkpoint.Add(card.Name, text)
}

// samples are the pictures of the run's evaluation by one model, [prompts][seeds].
func (k copyCheck) samples(model string) ([][]copycheck.Picture, error) {
	files, err := filepath.Glob(filepath.Join(k.dir, "samples", model, "*-seed*.png"))
	if err != nil {
		return nil, fmt.Errorf("list samples: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("run %s has no pictures of the %s model in its folder samples: coordinator up --resume it without --no-eval", k.dir, model)
	}
	slices.Sort(files)
	var prompts [][]copycheck.Picture
	last := ""
	for _, file := range files {
		p, err := readPicture(file, "generated")
		if err != nil {
			return nil, err
		}
		prompt, _, _ := strings.Cut(filepath.Base(file), "-seed")
		if prompt != last {
			prompts, last = append(prompts, nil), prompt
		}
		prompts[len(prompts)-1] = append(prompts[len(prompts)-1], p)
	}
	return prompts, nil
}

// training are the pictures of the run's data.
func (k copyCheck) training(ctx context.Context) ([]copycheck.Picture, error) {
	manifest, c, err := readConfig(k.dir)
	if err != nil {
		return nil, err
	}
	data := cmp.Or(k.data, c.Data)
	set, err := readAsRun(ctx, data, c)
	if err != nil {
		return nil, err
	}
	if set.Digest != manifest.DataDigest {
		return nil, fmt.Errorf("--data: %s has digest %.12s…, the run was trained on %.12s…; name the data as it was", data, set.Digest, manifest.DataDigest)
	}
	var all []copycheck.Picture
	for _, p := range set.Pairs {
		for _, side := range []struct {
			name string
			data []byte
		}{{"winner", p.Winner}, {"loser", p.Loser}} {
			m, err := copycheck.NewPicture(fmt.Sprintf("%s row %d, %s", p.File, p.Row, side.name), "training", side.data)
			if err != nil {
				return nil, err
			}
			all = append(all, m)
		}
	}
	return all, nil
}

// registeredWorks are all pictures under a folder.
func registeredWorks(dir string) ([]copycheck.Picture, error) {
	if dir == "" {
		return nil, nil
	}
	var all []copycheck.Picture
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ext := strings.ToLower(filepath.Ext(path)); d.IsDir() || !slices.Contains([]string{".png", ".jpg", ".jpeg", ".webp"}, ext) {
			return nil
		}
		p, err := readPicture(path, "registered")
		all = append(all, p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("--registered: %w", err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("--registered: %s holds no PNG, JPEG or WebP; name the folder of the works", dir)
	}
	return all, nil
}

func readPicture(path, kind string) (copycheck.Picture, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return copycheck.Picture{}, fmt.Errorf("read picture: %w", err)
	}
	return copycheck.NewPicture(filepath.Base(path), kind, data)
}
