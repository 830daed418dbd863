package coordinator

import (
	"context"
	"errors"
	"time"

	"yohaku/coordinator/api"
	"yohaku/coordinator/evidence"
	"yohaku/internal/wire"
)

// report ends the run: evaluation, if wanted, and report.json.
func (c *Coordinator) report(ctx context.Context) (evidence.Report, error) {
	t := c.training
	if t.state == nil {
		return evidence.Report{}, ErrStopped
	}
	r := evidence.Report{
		RunID: c.o.Config.RunID, Version: c.o.Version, Complete: t.complete, Steps: t.state.Step, Items: t.state.Step * c.itemsPerStep(),
		WorldSizes: c.run.Manifest.WorldSizes, Generations: c.run.Manifest.MaxGeneration, CheckpointSHA256: t.state.SHA256,
		KernelSet: c.run.Manifest.KernelSet, Loss: t.last.Loss, LogOdds: t.last.LogOdds, WinnerMSE: t.last.WinnerMSE, LoserMSE: t.last.LoserMSE,
		Pairs: len(c.o.Data.Pairs), Ties: c.o.Data.Ties, RejectedRows: len(c.o.Data.Rejects),
		TrainingSeconds: t.seconds, Checkpoint: c.run.Path("final"), Notes: []string{},
	}
	notes, err := c.healthNotes()
	if err != nil {
		return r, err
	}
	r.Notes = append(r.Notes, notes...)
	if err := c.evaluate(ctx, &r); err != nil {
		return r, err
	}
	r.Seconds = time.Since(c.start).Seconds()
	last, err := c.run.ByDigest(t.state.SHA256)
	if err != nil {
		return r, err
	}
	if c.run.Gated {
		r.Checkpoint = last.Dir
	}
	if err := c.run.WriteJSON("report.json", r); err != nil {
		return r, err
	}
	if err := c.describe(last); err != nil {
		return r, err
	}
	if err := c.passGate(&r); err != nil {
		return r, err
	}
	c.show(func(s *api.Status) { s.State = "done" })
	return r, nil
}

func (c *Coordinator) itemsPerStep() int {
	return c.o.Config.TrainBatchSize * c.o.Config.GradientAccumulationSteps
}

// evaluate samples base and tuned on the same prompts and seeds and compares them.
func (c *Coordinator) evaluate(ctx context.Context, r *evidence.Report) error {
	if note := c.whyNoEvaluation(); note != "" {
		r.Notes = append(r.Notes, note)
		return nil
	}
	c.show(func(s *api.Status) { s.State = "evaluating" })
	base := c.model.wire()
	entries := []contestant{{"base", base}, {"tuned", base.With(c.training.state.Weights)}}
	e, galleries, err := c.contest(ctx, entries, judgement{name: wire.JudgePalette, job: wire.ScoreJob{Judge: wire.JudgePalette}}, c.run.Path("samples"))
	if errors.Is(err, ErrStopped) {
		r.Notes = append(r.Notes, "no win rate: stopped during the evaluation; --resume evaluates again")
		return nil
	}
	if err != nil {
		return err
	}
	r.Set(e)
	r.Notes = append(r.Notes, c.evalNotes()...)
	if err := writeEvaluation(c.run.Dir, "evaluation", "Run "+c.o.Config.RunID, e, galleries); err != nil {
		return err
	}
	r.Grid = c.run.Path("samples", "before_after.png")
	return c.saveSheet(r.Grid, "Run "+c.o.Config.RunID+": the same prompts and seeds, before and after", galleries)
}

func (c *Coordinator) whyNoEvaluation() string {
	switch {
	case c.o.Config.NoEval:
		return "no win rate: --no-eval"
	case !c.training.complete:
		return "no win rate: the run was stopped before its last step; --resume continues it"
	case len(c.o.EvalPrompts) == 0:
		return "no win rate: " + c.o.EvalNote
	}
	return ""
}

func (c *Coordinator) evalNotes() []string {
	var notes []string
	if c.o.EvalNote != "" {
		notes = append(notes, c.o.EvalNote)
	}
	if s := c.o.EvalScheduler; s != "" {
		notes = append(notes, "sampled with "+s+": the model's own scheduler has no sampler here")
	}
	return notes
}
