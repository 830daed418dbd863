package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"yohaku/model/backend"
	"yohaku/model/checkpoint"
	"yohaku/model/clip"
	"yohaku/model/compile"
	"yohaku/model/demo"
	"yohaku/model/op"
	"yohaku/model/train"
	"yohaku/model/weights"
)

// WritePipeline writes to the new folder dir a pipeline that a run can train: the UNet of the step's row with random
// weights, a random text encoder that fits it, and the rest from the built-in model. Its latents have a quarter of the
// pictures' side.
func WritePipeline(dir string, r Request, be backend.Backend) error {
	if err := demo.Extract(dir); err != nil {
		return err
	}
	if err := writeUNet(filepath.Join(dir, "unet"), r, be); err != nil {
		return fmt.Errorf("write unet of %s: %w", r.Work, err)
	}
	if err := writeText(dir, r, be); err != nil {
		return fmt.Errorf("write text encoder of %s: %w", r.Work, err)
	}
	return nil
}

func writeUNet(dir string, r Request, be backend.Backend) error {
	c, err := StepConfig(r)
	if err != nil {
		return err
	}
	c.Items = 1
	step, err := train.New(c, be)
	if err != nil {
		return err
	}
	Initialize(step.Params(), step.ParamSlab())
	if err := writeJSON(filepath.Join(dir, "config.json"), r.Config); err != nil {
		return err
	}
	return checkpoint.SaveWeights(filepath.Join(dir, checkpoint.DefaultWeightsFile), weights.Params(step.Params(), step.ParamSlab()), "")
}

// textWeights is the name under which transformers looks for a network's weights.
const textWeights = "model.safetensors"

// writeText changes the width and length of the text encoder and the tokenizer that are there.
func writeText(dir string, r Request, be backend.Backend) error {
	folder := filepath.Join(dir, "text_encoder")
	err := changeJSON(filepath.Join(folder, "config.json"), map[string]any{
		"hidden_size": r.Shape["cross"], "intermediate_size": 4 * r.Shape["cross"], "max_position_embeddings": r.Shape["tokens"],
	})
	if err != nil {
		return err
	}
	if err := changeJSON(filepath.Join(dir, "tokenizer", "tokenizer_config.json"), map[string]any{"model_max_length": r.Shape["tokens"]}); err != nil {
		return err
	}
	c, err := clip.ReadConfig(os.DirFS(folder), ".")
	if err != nil {
		return err
	}
	b := op.NewBuilder()
	out, err := clip.BuildText(b, c, clip.Inputs{IDs: b.Input("ids", 1, c.MaxPositionEmbeddings)})
	if err != nil {
		return err
	}
	exe, err := compile.Compile(b, be, []op.Node{out.Last}, nil, compile.Options{})
	if err != nil {
		return err
	}
	Initialize(exe.Params(), exe.ParamSlab())
	return checkpoint.SaveWeights(filepath.Join(folder, textWeights), weights.Params(exe.Params(), exe.ParamSlab()), "")
}

func changeJSON(path string, changes map[string]any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var all map[string]any
	if err := json.Unmarshal(data, &all); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	for key, value := range changes {
		all[key] = value
	}
	return writeJSON(path, all)
}

func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return os.WriteFile(path, data, 0o644)
}
