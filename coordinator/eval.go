package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"yohaku/coordinator/api"
	"yohaku/coordinator/evidence"
	"yohaku/coordinator/runstore"
	"yohaku/internal/atomicfile"
	"yohaku/internal/wire"
)

// Contest is what Evaluate compares.
type Contest struct {
	Models  []Entry // The base first, then the tuned one, then others.
	Judge   string  // wire.JudgePalette or wire.JudgeEncoder.
	Name    string  // The judge's, for people.
	Palette string  // JSON of a palette; empty is the built-in brand's.
	Encoder string  // Folder of a CLIPModel, or empty.
}

// Entry is one model: a pipeline folder, and perhaps an adapter beside it.
type Entry struct {
	Name string
	Dir  string // Empty for the base model of the options.
	LoRA string // File or folder of an adapter, or empty.
}

// WorkFolder is the folder, in that of an evaluation, that holds its cluster and the results so far.
const WorkFolder = "work"

// Evaluate samples and scores models on workers and compares them. o.Config.Out gets report.json, report.md, report.html
// and the pictures; what an evaluation that was cut off has made there already is used. A worker that dies is
// replaced by those that are left.
func Evaluate(ctx context.Context, o Options, contest Contest) (evidence.Evaluation, error) {
	o.Config.RunID = WorkFolder
	c := newCoordinator(ctx, o)
	c.evaluating = true
	e, err := c.evaluateContest(ctx, contest)
	return e, errors.Join(err, c.close())
}

func (c *Coordinator) evaluateContest(ctx context.Context, contest Contest) (evidence.Evaluation, error) {
	for _, phase := range []func(context.Context) error{c.openWork, c.openCluster, c.gather} {
		if err := phase(ctx); err != nil {
			return evidence.Evaluation{}, err
		}
	}
	c.show(func(s *api.Status) { s.State = "evaluating" })
	entries, err := c.contestants(ctx, contest.Models)
	if err != nil {
		return evidence.Evaluation{}, err
	}
	j := judgement{name: contest.Name, job: wire.ScoreJob{Judge: contest.Judge, Palette: contest.Palette}}
	if contest.Encoder != "" {
		m, err := c.readModel(ctx, contest.Encoder)
		if err != nil {
			return evidence.Evaluation{}, fmt.Errorf("--judge: %w", err)
		}
		j.job.Encoder = m.whole()
	}
	out := c.o.Config.Out
	e, galleries, err := c.contest(ctx, entries, j, filepath.Join(out, "samples"))
	if err != nil {
		return e, err
	}
	e.Notes = append(e.Notes, c.evalNotes()...)
	e.Seconds = time.Since(c.start).Seconds()
	if err := writeEvaluation(out, "report", "Evaluation: "+entries[1].name+" against "+entries[0].name, e, galleries); err != nil {
		return e, err
	}
	data, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return e, fmt.Errorf("encode report.json: %w", err)
	}
	return e, atomicfile.Write(filepath.Join(out, "report.json"), append(data, '\n'))
}

// openWork opens the folder of the evaluation's cluster, the one of before if there is one.
func (c *Coordinator) openWork(context.Context) error {
	dir := filepath.Join(c.o.Config.Out, WorkFolder)
	_, err := os.Stat(filepath.Join(dir, "manifest.json"))
	if errors.Is(err, os.ErrNotExist) {
		c.run, err = runstore.Create(c.o.Config.Out, c.manifest())
		return err
	}
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	if c.run, err = runstore.Open(dir); err == nil {
		c.run.Manifest.ModelDigest = "" // Results are kept by content: another base is another result.
	}
	return err
}

// contestants offers the models' files to the workers.
func (c *Coordinator) contestants(ctx context.Context, models []Entry) ([]contestant, error) {
	var out []contestant
	for _, e := range models {
		m := c.model
		if e.Dir != "" {
			dir, err := filepath.EvalSymlinks(e.Dir) // Such as a run's `final`.
			if err != nil {
				return nil, fmt.Errorf("model %s: %w", e.Name, err)
			}
			if m, err = c.readModel(ctx, dir); err != nil {
				return nil, fmt.Errorf("model %s: %w", e.Name, err)
			}
		}
		model := m.wire()
		if e.LoRA != "" {
			file := e.LoRA
			if info, err := os.Stat(file); err == nil && info.IsDir() {
				file = filepath.Join(file, adapterFile)
			}
			ref, err := c.blobs.Register(file)
			if err != nil {
				return nil, fmt.Errorf("adapter of model %s: %w", e.Name, err)
			}
			model = model.With([]wire.ModelFile{{Path: adapterFile, Ref: wire.Ref(ref)}})
		}
		out = append(out, contestant{e.Name, model})
	}
	return out, nil
}
