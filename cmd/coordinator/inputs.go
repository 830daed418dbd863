package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"yohaku/coordinator/config"
	"yohaku/dataset"
	"yohaku/dataset/brand"
	"yohaku/dataset/source"
	"yohaku/model/checkpoint"
	"yohaku/model/clip"
	"yohaku/model/clip/tokenizer"
	"yohaku/model/demo"
	"yohaku/model/diffusion"
	"yohaku/model/unet"
	"yohaku/model/vae"
)

// The brand set of the built-in default.
const (
	brandPairs     = 240
	brandFlipRatio = 0.1
)

// model is a base model that was checked.
type model struct {
	name, dir  string // dir is empty for the built-in one.
	folder     *checkpoint.Folder
	resolution int // Of its pictures.
	factor     int // Picture sides must be multiples of it.
	scheduler  diffusion.Config
}

// builtIn names the model that is built in.
const builtIn = "built-in base model"

// modelFolder opens a model's folder, the built-in one when path is empty, unchecked.
func modelFolder(path string) (*checkpoint.Folder, error) {
	if path == "" {
		return checkpoint.FolderFS(demo.Base(), ".")
	}
	return checkpoint.OpenFolder(path)
}

// openModel opens a pipeline folder, the built-in one when path is empty, and checks all of its
// configurations and weight files.
func openModel(path string) (model, error) { return openModelOf("model", path) }

// openModelOf is openModel for the folder that a flag names.
func openModelOf(flag, path string) (model, error) {
	m := model{name: builtIn, dir: path}
	if path != "" {
		m.name = path
	}
	var err error
	m.folder, err = modelFolder(path)
	if errors.Is(err, fs.ErrNotExist) {
		return model{}, fmt.Errorf("--%s: there is no folder %s; give a diffusers pipeline folder, or leave the flag out for the built-in model", flag, path)
	}
	if err != nil {
		return model{}, fmt.Errorf("--%s: %w", flag, err)
	}
	if err := m.check(); err != nil {
		return model{}, fmt.Errorf("--%s: %w", flag, err)
	}
	return m, nil
}

func (m *model) check() error {
	if _, err := m.folder.Pipeline(); err != nil {
		return err
	}
	network, err := unet.ReadConfig(m.folder.FS(), "unet")
	if err != nil {
		return err
	}
	autoencoder, err := vae.ReadConfig(m.folder.FS(), "vae")
	if err != nil {
		return err
	}
	if _, err := clip.ReadConfig(m.folder.FS(), "text_encoder"); err != nil {
		return err
	}
	schedule, err := diffusion.ReadConfig(m.folder.FS(), "scheduler")
	if err != nil {
		return err
	}
	m.scheduler = schedule
	m.factor = autoencoder.Factor() * network.Factor()
	m.resolution = network.SampleSize.Height * autoencoder.Factor()
	for _, part := range []string{"unet", "vae", "text_encoder"} {
		if err := m.checkWeights(part); err != nil {
			return err
		}
	}
	return m.checkTokenizer()
}

func (m *model) checkTokenizer() error {
	sub, err := m.folder.Sub("tokenizer")
	if err != nil {
		return err
	}
	if _, err := tokenizer.Load(sub.FS()); err != nil {
		return fmt.Errorf("tokenizer folder %s: %w", m.folder.Path("tokenizer"), err)
	}
	return nil
}

// fallbackSampler samples models whose own scheduler, or a value in its file, has no sampler here.
const fallbackSampler = "DDIMScheduler"

// sampler is the scheduler class to sample with, empty when it is the model's own.
func (m *model) sampler() string {
	if m.scheduler.CheckSampler() != nil {
		return fallbackSampler
	}
	return ""
}

// checkWeights reads the headers of a part's weights, which finds files that are cut or lie.
func (m *model) checkWeights(part string) error {
	sub, err := m.folder.Sub(part)
	if err != nil {
		return err
	}
	w, err := sub.Weights("")
	if err != nil {
		return err
	}
	return w.Close()
}

// openSource opens the pairs that --data names.
func openSource(path string, seed uint64) (dataset.Source, error) {
	switch path {
	case config.Brand:
		return brand.Pairs(brandPairs, seed, brandFlipRatio), nil
	case "":
		return nil, errors.New("--data is empty: name a Pick-a-Pic parquet file or folder, a folder with metadata.jsonl, or 'brand'")
	}
	src, err := source.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	return src, nil
}

// collect reads the pairs of a source as a run of these settings takes them.
func collect(ctx context.Context, src dataset.Source, c config.Config) (dataset.Set, error) {
	set, err := dataset.Collect(ctx, src, dataset.Options{
		RemoveTies: c.RemoveTies, LabelNoiseProb: c.LabelNoiseProb, Seed: c.Seed, MaxRejectedRatio: c.MaxRejectedRatio,
	})
	if err != nil {
		return set, fmt.Errorf("--data: %w", err)
	}
	return set, nil
}

// readAsRun reads the pairs at path as a run of these settings took them, however many rows are bad now.
func readAsRun(ctx context.Context, path string, c config.Config) (dataset.Set, error) {
	src, err := openSource(path, c.Seed)
	if err != nil {
		return dataset.Set{}, err
	}
	c.MaxRejectedRatio = 1
	return collect(ctx, src, c)
}

// maxEvalPrompts bounds the prompts that are taken from the data.
const maxEvalPrompts = 24

// evalPrompts finds the prompts of the evaluation, and a note on them for the report.
func evalPrompts(c config.Config, data dataset.Set) (prompts []string, note string, err error) {
	switch {
	case c.EvalPrompts != "":
		prompts, err = readPrompts("eval-prompts", c.EvalPrompts)
		return prompts, "", err
	case c.Data == config.Brand:
		return brand.HeldOutPrompts(), "", nil
	}
	seen := map[string]bool{}
	for _, p := range data.Pairs {
		if !seen[p.Prompt] && len(prompts) < maxEvalPrompts {
			seen[p.Prompt] = true
			prompts = append(prompts, p.Prompt)
		}
	}
	return prompts, "the evaluation's prompts are the data's own, not held out; give others with --eval-prompts", nil
}

// readPrompts reads one prompt a line.
func readPrompts(flag, path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--%s: %s does not exist; give a text file with one prompt a line", flag, path)
	}
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	var prompts []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" {
			prompts = append(prompts, line)
		}
	}
	if len(prompts) == 0 {
		return nil, fmt.Errorf("--%s: %s holds no prompt; give one a line", flag, path)
	}
	return prompts, nil
}
