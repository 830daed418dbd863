package coordinator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"

	"yohaku/coordinator/evidence"
	"yohaku/internal/atomicfile"
	"yohaku/internal/bus/blob"
	"yohaku/internal/rng"
	"yohaku/internal/wire"
)

const (
	promptsPerJob  = 4
	picturesPerJob = 16
	sheetRows      = 8
	maxPictureMB   = 64
)

// contestant is a model to sample.
type contestant struct {
	name  string
	model wire.Model
}

// judgement is who judges, and what a score job of it holds beside its pictures.
type judgement struct {
	name string
	job  wire.ScoreJob
}

// features says what pictures are compared by.
func (j judgement) features() string {
	if len(j.job.Encoder.Files) > 0 {
		return "the encoder's embeddings (Euclidean distance of unit vectors)"
	}
	return "colour on an 8×8 grid (root mean square ΔE*ab)"
}

// contest has the workers sample all models on the same prompts and seeds and score the pictures, keeps these in dir, and
// compares them.
func (c *Coordinator) contest(ctx context.Context, entries []contestant, j judgement, dir string) (evidence.Evaluation, []evidence.Gallery, error) {
	prompts := c.o.EvalPrompts
	made, err := produce(ctx, c, "sampling", c.sampleJobs(entries), func(d wire.Done) []wire.SampleImage { return d.Images },
		func(m wire.SampleImage) bool { _, err := c.blobs.Path(blob.Ref(m.Ref)); return err == nil })
	if err != nil {
		return evidence.Evaluation{}, nil, err
	}
	images := slices.Concat(made...) // Model by model, prompt by prompt, seed by seed.
	scored, err := produce(ctx, c, "scoring", scoreJobs(images, j), func(d wire.Done) []wire.PictureScore { return d.Scores }, func(wire.PictureScore) bool { return true })
	if err != nil {
		return evidence.Evaluation{}, nil, err
	}
	scores := slices.Concat(scored...)
	seeds := c.o.Config.EvalSeeds
	galleries := make([]evidence.Gallery, len(entries))
	for i, image := range images {
		m, p := i/(len(prompts)*seeds), i/seeds%len(prompts)
		file, err := c.keepPicture(filepath.Join(dir, entries[m].name), p, image)
		if err != nil {
			return evidence.Evaluation{}, nil, err
		}
		g := &galleries[m]
		g.Name = entries[m].name
		if i%seeds == 0 {
			g.Pictures = append(g.Pictures, nil)
		}
		g.Pictures[p] = append(g.Pictures[p], evidence.Picture{Seed: image.Seed, File: file, PictureScore: scores[i]})
	}
	e := evidence.Evaluate(prompts, galleries, c.o.Config.Seed)
	e.Judge, e.Features = j.name, j.features()
	return e, galleries, nil
}

// sampleJobs asks for the pictures of all models.
func (c *Coordinator) sampleJobs(entries []contestant) []wire.Job {
	var jobs []wire.Job
	for _, e := range entries {
		for lo := 0; lo < len(c.o.EvalPrompts); lo += promptsPerJob {
			jobs = append(jobs, wire.Job{Kind: wire.JobSample, Sample: &wire.SampleJob{
				Model: e.model, Requests: c.sampleRequests(lo, min(lo+promptsPerJob, len(c.o.EvalPrompts))),
				NumInferenceSteps: c.o.Config.NumInferenceSteps, GuidanceScale: c.o.Config.GuidanceScale, Scheduler: c.o.EvalScheduler,
			}})
		}
	}
	return jobs
}

// sampleRequests asks for prompts lo to hi, each with seeds of its own, the same for all models.
func (c *Coordinator) sampleRequests(lo, hi int) []wire.SampleRequest {
	var all []wire.SampleRequest
	for p := lo; p < hi; p++ {
		for s := range c.o.Config.EvalSeeds {
			all = append(all, wire.SampleRequest{Prompt: c.o.EvalPrompts[p], Seed: c.o.Config.Seed + uint64(p*c.o.Config.EvalSeeds+s)})
		}
	}
	return all
}

// scoreJobs asks for the scores of pictures.
func scoreJobs(images []wire.SampleImage, j judgement) []wire.Job {
	var jobs []wire.Job
	for part := range slices.Chunk(images, picturesPerJob) {
		job := j.job
		for _, m := range part {
			job.Pictures = append(job.Pictures, wire.ScoreRequest{Prompt: m.Prompt, Ref: m.Ref})
		}
		jobs = append(jobs, wire.Job{Kind: wire.JobScore, Score: &job})
	}
	return jobs
}

// wanted is how many results a job gives.
func wanted(j wire.Job) int {
	if j.Sample != nil {
		return len(j.Sample.Requests)
	}
	return len(j.Score.Pictures)
}

// jobKey names the results of a job by all that they depend on.
func jobKey(j wire.Job) string {
	var content any = j.Score
	if j.Sample != nil {
		content = j.Sample
	}
	sum := sha256.Sum256(wire.Encode(content))
	return string(j.Kind) + "-" + hex.EncodeToString(sum[:])
}

// produce has the workers do the jobs whose results the record lacks, and returns the results of all by job. A result is
// in the record, under its job's content, before the job is acknowledged: so none is made twice, by this coordinator or the
// next, however many workers die. usable tells whether a result of the record can still be used.
func produce[T any](ctx context.Context, c *Coordinator, phase string, jobs []wire.Job, of func(wire.Done) []T, usable func(T) bool) ([][]T, error) {
	results := make([][]T, len(jobs))
	var todo []wire.Job
	var places []int
	for i, j := range jobs {
		key, all := jobKey(j), []T(nil)
		var err error
		if c.record.revisions[key], err = c.record.store.Get(key, &all); err != nil {
			return nil, err
		}
		if len(all) == wanted(j) && !slices.ContainsFunc(all, func(v T) bool { return !usable(v) }) {
			results[i] = all
			continue
		}
		todo, places = append(todo, j), append(places, i)
	}
	done := 0
	c.progress.phase(phase, len(todo))
	err := c.spread(ctx, todo, func(i int, d wire.Done) error {
		all := of(d)
		if len(all) != wanted(todo[i]) {
			return fmt.Errorf("%s job gave %d results, want %d", todo[i].Kind, len(all), wanted(todo[i]))
		}
		done++
		c.progress.at(done)
		results[places[i]] = all
		return c.record.put(jobKey(todo[i]), all)
	})
	return results, err
}

// keepPicture copies a picture to dir/PROMPT-SEED.png.
func (c *Coordinator) keepPicture(dir string, prompt int, s wire.SampleImage) (string, error) {
	file, err := c.blobs.Path(blob.Ref(s.Ref))
	if err != nil {
		return "", fmt.Errorf("find picture: %w", err)
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("open picture: %w", err)
	}
	defer f.Close() // Only read.
	data, err := io.ReadAll(io.LimitReader(f, maxPictureMB<<20))
	if err != nil {
		return "", fmt.Errorf("read picture: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("create samples folder: %w", err)
	}
	kept := filepath.Join(dir, fmt.Sprintf("%03d-seed%d.png", prompt, s.Seed))
	return kept, atomicfile.Write(kept, data)
}

// saveSheet draws some prompts' pictures of the first two models side by side.
func (c *Coordinator) saveSheet(file, title string, galleries []evidence.Gallery) error {
	var rows []evidence.Row
	for _, p := range some(len(c.o.EvalPrompts), sheetRows, c.o.Config.Seed) {
		row := evidence.Row{Prompt: c.o.EvalPrompts[p]}
		for s, base := range galleries[0].Pictures[p] {
			tuned := galleries[1].Pictures[p][s]
			b, err := readPicture(base.File)
			if err != nil {
				return err
			}
			t, err := readPicture(tuned.File)
			if err != nil {
				return err
			}
			row.Base, row.Tuned = append(row.Base, b), append(row.Tuned, t)
			row.Won = append(row.Won, tuned.Score > base.Score)
		}
		rows = append(rows, row)
	}
	sheet, err := evidence.Sheet(title, rows)
	if err != nil {
		return err
	}
	return atomicfile.Write(file, sheet)
}

func readPicture(file string) (image.Image, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open picture: %w", err)
	}
	defer f.Close() // Only read.
	m, err := png.Decode(f)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", file, err)
	}
	return m, nil
}

// some picks n of 0 to total−1 at random, the same for a seed, in order.
func some(total, n int, seed uint64) []int {
	picked := rng.New(rng.Key{Seed: seed, Domain: rng.Sample}).Perm(total)[:min(n, total)]
	slices.Sort(picked)
	return picked
}

// writeEvaluation writes NAME.md and NAME.html into dir.
func writeEvaluation(dir, name, title string, e evidence.Evaluation, galleries []evidence.Gallery) error {
	html, err := e.HTML(title, galleries)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, name+".md"), e.Markdown()); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, name+".html"), html)
}
