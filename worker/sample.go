package worker

import (
	"context"
	"fmt"
	"image"

	"yohaku/internal/picture"
	"yohaku/internal/wire"
	"yohaku/model/checkpoint"
	"yohaku/model/sample"
)

// sample makes the pictures of a job and hands them over as PNG.
func (w *Worker) sample(ctx context.Context, j wire.SampleJob) (wire.Done, error) {
	pipeline, err := w.pipeline(ctx, j.Model)
	if err != nil {
		return wire.Done{}, err
	}
	var requests []sample.Request
	for _, r := range j.Requests {
		requests = append(requests, sample.Request{Prompt: r.Prompt, Negative: r.NegativePrompt, Seed: r.Seed})
	}
	o := sample.Options{Steps: j.NumInferenceSteps, Guidance: j.GuidanceScale, Scheduler: j.Scheduler}
	pictures, err := pipeline.Generate(ctx, requests, o)
	if err != nil {
		return wire.Done{}, fmt.Errorf("sample: %w", err)
	}
	var done wire.Done
	for i, made := range pictures {
		text, err := pipeline.Parameters(requests[i], o, "")
		if err != nil {
			return wire.Done{}, err
		}
		m, err := w.keepPicture(ctx, requests[i], made, text)
		if err != nil {
			return wire.Done{}, err
		}
		done.Images = append(done.Images, m)
	}
	return done, nil
}

// keepPicture hands a picture over to the coordinator, with what it was made with.
func (w *Worker) keepPicture(ctx context.Context, r sample.Request, m image.Image, parameters string) (wire.SampleImage, error) {
	data, err := picture.EncodePNG(m, sample.ParametersKey, parameters)
	if err != nil {
		return wire.SampleImage{}, err
	}
	ref, err := w.files.put(ctx, data)
	return wire.SampleImage{Prompt: r.Prompt, Seed: r.Seed, Ref: ref}, err
}

// pipeline opens the model of a job; the last one stays open for the next job.
func (w *Worker) pipeline(ctx context.Context, m wire.Model) (*sample.Pipeline, error) {
	folder, digest, err := w.modelFolder(ctx, m)
	if err != nil {
		return nil, err
	}
	if w.open.digest != digest {
		p, err := sample.Open(folder, w.backend)
		if err != nil {
			return nil, fmt.Errorf("open model: %w", err)
		}
		w.open.digest, w.open.pipeline = digest, p
	}
	return w.open.pipeline, nil
}

// openPipeline is the pipeline of the last sample job.
type openPipeline struct {
	digest   string
	pipeline *sample.Pipeline
}

// modelFolder fetches a model's files and opens the folder they form.
func (w *Worker) modelFolder(ctx context.Context, m wire.Model) (*checkpoint.Folder, string, error) {
	dir, digest, err := w.files.model(ctx, m)
	if err != nil {
		return nil, "", err
	}
	folder, err := checkpoint.OpenFolder(dir)
	return folder, digest, err
}
