package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"yohaku/internal/atomicfile"
	"yohaku/internal/safetensors"
	"yohaku/model/checkpoint"
	"yohaku/model/compile"
	"yohaku/model/op"
	"yohaku/model/unet"
)

// WriteUNet writes the folder of a UNet with random weights of type d, as Initialize draws them: config.json and one
// weights file. It draws and writes one tensor at a time, so it takes the memory of the largest one.
func WriteUNet(dir string, r Request, d safetensors.DType) error {
	c, err := r.UNet()
	if err != nil {
		return err
	}
	b := op.NewBuilder()
	side := r.Shape["latent"]
	in := unet.Inputs{Sample: b.Input("x", 2, side, side, c.InChannels), Timesteps: b.Input("t", 2), Context: b.Input("c", 2, r.Shape["tokens"], c.ContextDim())}
	if c.HasTextTime() {
		in.Pooled, in.TimeIDs = b.Input("p", 2, c.PooledDim()), b.Input("ids", 2, unet.TimeIDs)
	}
	if _, err := unet.Build(b, c, in); err != nil {
		return fmt.Errorf("build the UNet: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create model folder: %w", err)
	}
	config, err := json.MarshalIndent(r.Config, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the UNet's config: %w", err)
	}
	if err := atomicfile.Write(filepath.Join(dir, "config.json"), config); err != nil {
		return err
	}
	var tensors []safetensors.Entry
	for _, p := range b.Params() {
		tensors = append(tensors, safetensors.Entry{Name: p.Name(), DType: d, Shape: checkpoint.FileShape(p.Shape()), Data: func(w io.Writer) error {
			data := make([]float32, p.Shape().TotalSize())
			Initialize([]compile.ParamInfo{{Name: p.Name(), Shape: p.Shape(), Len: len(data)}}, data)
			return safetensors.Encode(w, data, d)
		}})
	}
	return atomicfile.WriteFunc(filepath.Join(dir, checkpoint.DefaultWeightsFile), func(w io.Writer) error {
		return safetensors.Write(w, tensors, map[string]string{"format": "pt"})
	})
}

// Published are the UNets of published models at 512×512, one pair, by name.
func Published() map[string]Request {
	sd15 := stepWork("L", Float32).Request
	sdxl := stepWork("L", Float32).Request
	sdxl.Config = map[string]any{
		"sample_size": 128, "in_channels": 4, "out_channels": 4, "layers_per_block": 2, "norm_num_groups": 32,
		"block_out_channels": []int{320, 640, 1280}, "attention_head_dim": []int{5, 10, 20}, "cross_attention_dim": 2048,
		"down_block_types": []string{"DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"},
		"up_block_types":   []string{"CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"}, "use_linear_projection": true,
		"transformer_layers_per_block": []int{1, 2, 10}, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
		"projection_class_embeddings_input_dim": 2816,
	}
	return map[string]Request{"sd15": sd15, "sdxl": sdxl}
}
