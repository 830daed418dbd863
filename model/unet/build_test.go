package unet

import (
	"testing"

	"yohaku/model/op"
)

// TestPublishedSizes: the published models' configs give the published numbers of parameters, and their training graphs
// differentiate.
func TestPublishedSizes(t *testing.T) {
	for _, tt := range []struct {
		name, json string
		side, want int
	}{
		{"Stable Diffusion 1.5", `{"cross_attention_dim": 768, "sample_size": 64}`, 64, 859_520_964},
		{"Stable Diffusion 2.1", `{"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": true, "sample_size": 96}`, 96, 865_910_724},
		{"SDXL", `{"cross_attention_dim": 2048, "attention_head_dim": [5, 10, 20], "use_linear_projection": true, "block_out_channels": [320, 640, 1280],
			"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"], "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
			"transformer_layers_per_block": [1, 2, 10], "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816}`, 128, 2_567_463_684},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := ParseConfig([]byte(tt.json))
			if err != nil {
				t.Fatal(err)
			}
			b := op.NewBuilder()
			in := Inputs{Sample: b.Input("x", 2, tt.side, tt.side, 4), Timesteps: b.Input("t", 2), Context: b.Input("c", 2, 77, c.ContextDim())}
			if c.HasTextTime() {
				in.Pooled, in.TimeIDs = b.Input("p", 2, c.PooledDim()), b.Input("ids", 2, TimeIDs)
			}
			pred, err := Build(b, c, in)
			if err != nil {
				t.Fatal(err)
			}
			got := 0
			for _, p := range b.Params() {
				got += p.Shape().TotalSize()
			}
			if got != tt.want {
				t.Errorf("%d parameters, want %d", got, tt.want)
			}
			if _, err := b.Grad(b.Apply(op.Mean{}, pred), b.Params()...); err != nil {
				t.Error(err)
			}
		})
	}
}
