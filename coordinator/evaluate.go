package coordinator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"slices"
	"time"

	"yohaku/coordinator/api"
	"yohaku/coordinator/evidence"
	"yohaku/internal/atomicfile"
	"yohaku/internal/bus/blob"
	"yohaku/internal/logkey"
	"yohaku/internal/rng"
	"yohaku/internal/wire"
)

// The judge of the evaluation at the end of a run: distance to the built-in brand palette.
const judgePalette = "palette"

const (
	promptsPerJob = 4
	sheetRows     = 8
	maxPictureMB  = 64
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
	if c.run.Gated {
		r.Checkpoint = c.newestCheckpoint()
	}
	if err := c.run.WriteJSON("report.json", r); err != nil {
		return r, err
	}
	if err := c.describe(); err != nil {
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
	both, err := c.sample(ctx, base, base.With(c.training.state.Weights))
	if errors.Is(err, ErrStopped) {
		r.Notes = append(r.Notes, "no win rate: stopped during the evaluation; --resume evaluates again")
		return nil
	}
	if err != nil {
		return err
	}
	r.SetWinRate(judgePalette, both[0].scores(), both[1].scores())
	r.Notes = append(r.Notes, c.evalNotes()...)
	return c.saveSheet(r, both[0], both[1])
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

// gallery is one model's pictures, [prompts][seeds].
type gallery [][]wire.SampleImage

func (g gallery) scores() [][]float64 {
	out := make([][]float64, len(g))
	for p, images := range g {
		for _, m := range images {
			out[p] = append(out[p], *m.Score)
		}
	}
	return out
}

// sample has the workers make the pictures of both models.
func (c *Coordinator) sample(ctx context.Context, models ...wire.Model) ([]gallery, error) {
	prompts, seeds := c.o.EvalPrompts, c.o.Config.EvalSeeds
	galleries := make([]gallery, len(models))
	var jobs []wire.Job
	var into [][]int // Model and first prompt of each job.
	for m, model := range models {
		galleries[m] = make(gallery, len(prompts))
		for lo := 0; lo < len(prompts); lo += promptsPerJob {
			into = append(into, []int{m, lo})
			jobs = append(jobs, wire.Job{Kind: wire.JobSample, Sample: &wire.SampleJob{
				Model: model, Requests: c.sampleRequests(lo, min(lo+promptsPerJob, len(prompts))),
				NumInferenceSteps: c.o.Config.NumInferenceSteps, GuidanceScale: c.o.Config.GuidanceScale, Scheduler: c.o.EvalScheduler, Judge: judgePalette,
			}})
		}
	}
	hang := func(at []int, all []wire.SampleImage) {
		for k, images := range slices.Collect(slices.Chunk(all, seeds)) {
			galleries[at[0]][at[1]+k] = images
		}
	}
	todo, places, err := c.sampled(jobs, into, hang)
	if err != nil {
		return nil, err
	}
	done := 0
	c.progress.phase("sampling base and tuned", len(todo))
	err = c.spread(ctx, todo, func(i int, d wire.Done) error {
		want := len(todo[i].Sample.Requests)
		if len(d.Images) != want || slices.ContainsFunc(d.Images, func(m wire.SampleImage) bool { return m.Score == nil }) {
			return fmt.Errorf("sample job gave %d pictures, some perhaps without a score, want %d", len(d.Images), want)
		}
		done++
		c.progress.at(done)
		hang(places[i], d.Images)
		return c.record.put(sampleKey(todo[i]), d.Images)
	})
	return galleries, err
}

// sampleKey names the pictures of a job by all that they depend on.
func sampleKey(j wire.Job) string {
	sum := sha256.Sum256(wire.Encode(j.Sample))
	return "sample-" + hex.EncodeToString(sum[:])
}

// sampled hangs the pictures that the run has already, of an evaluation that was cut off, and returns
// the jobs that are left with their places.
func (c *Coordinator) sampled(jobs []wire.Job, into [][]int, hang func(at []int, all []wire.SampleImage)) (todo []wire.Job, places [][]int, err error) {
	for i, j := range jobs {
		var all []wire.SampleImage
		key := sampleKey(j)
		if c.record.revisions[key], err = c.record.store.Get(key, &all); err != nil {
			return nil, nil, err
		}
		missing := func(m wire.SampleImage) bool { _, err := c.blobs.Path(blob.Ref(m.Ref)); return err != nil }
		if len(all) == len(j.Sample.Requests) && !slices.ContainsFunc(all, missing) {
			hang(into[i], all)
			continue
		}
		todo, places = append(todo, j), append(places, into[i])
	}
	return todo, places, nil
}

// sampleRequests asks for prompts lo to hi, each with seeds of its own, the same for both models.
func (c *Coordinator) sampleRequests(lo, hi int) []wire.SampleRequest {
	var all []wire.SampleRequest
	for p := lo; p < hi; p++ {
		for s := range c.o.Config.EvalSeeds {
			all = append(all, wire.SampleRequest{Prompt: c.o.EvalPrompts[p], Seed: c.o.Config.Seed + uint64(p*c.o.Config.EvalSeeds+s)})
		}
	}
	return all
}

// saveSheet keeps all pictures under samples/ and draws some of them side by side.
func (c *Coordinator) saveSheet(r *evidence.Report, base, tuned gallery) error {
	var rows []evidence.Row
	for p := range base {
		row := evidence.Row{Prompt: c.o.EvalPrompts[p]}
		for s := range base[p] {
			b, err := c.keepPicture("base", p, base[p][s])
			if err != nil {
				return err
			}
			t, err := c.keepPicture("tuned", p, tuned[p][s])
			if err != nil {
				return err
			}
			row.Base, row.Tuned = append(row.Base, b), append(row.Tuned, t)
			row.Won = append(row.Won, *tuned[p][s].Score > *base[p][s].Score)
		}
		rows = append(rows, row)
	}
	sheet, err := evidence.Sheet("Run "+c.o.Config.RunID+": the same prompts and seeds, before and after", some(rows, sheetRows, c.o.Config.Seed))
	if err != nil {
		return err
	}
	r.Grid = c.run.Path("samples", "before_after.png")
	return atomicfile.Write(r.Grid, sheet)
}

// some picks n of rows at random, the same for a seed, and keeps their order.
func some(rows []evidence.Row, n int, seed uint64) []evidence.Row {
	picked := rng.New(rng.Key{Seed: seed, Domain: rng.Sample}).Perm(len(rows))[:min(n, len(rows))]
	slices.Sort(picked)
	out := make([]evidence.Row, len(picked))
	for i, p := range picked {
		out[i] = rows[p]
	}
	return out
}

// keepPicture copies a picture to samples/MODEL/PROMPT-SEED.png and decodes it.
func (c *Coordinator) keepPicture(model string, prompt int, s wire.SampleImage) (image.Image, error) {
	file, err := c.blobs.Path(blob.Ref(s.Ref))
	if err != nil {
		return nil, fmt.Errorf("find picture: %w", err)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open picture: %w", err)
	}
	defer f.Close() // Only read.
	data, err := io.ReadAll(io.LimitReader(f, maxPictureMB<<20))
	if err != nil {
		return nil, fmt.Errorf("read picture: %w", err)
	}
	if err := os.MkdirAll(c.run.Path("samples", model), 0o755); err != nil {
		return nil, fmt.Errorf("create samples folder: %w", err)
	}
	if err := atomicfile.Write(c.run.Path("samples", model, fmt.Sprintf("%03d-seed%d.png", prompt, s.Seed)), data); err != nil {
		return nil, err
	}
	m, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decode picture: %w", err)
	}
	c.log.Debug().Str("prompt", s.Prompt).Uint64(logkey.Seed, s.Seed).Msg("picture kept")
	return m, nil
}
