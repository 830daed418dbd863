package unet

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"yohaku/model/config"
	"yohaku/model/op"
)

func TestParseConfigRefusesByName(t *testing.T) {
	for _, tt := range []struct{ json, key, want string }{
		{`{"new_key": 1}`, "new_key", "not known"},
		{`{"act_fn": "mish"}`, "act_fn", `value "mish": not supported; supported: "silu", "swish"`},
		{`{"center_input_sample": true}`, "center_input_sample", "supported: false"},
		{`{"down_block_types": ["AttnDownBlock2D","DownBlock2D","DownBlock2D","DownBlock2D"]}`, "down_block_types", "AttnDownBlock2D"},
		{`{"up_block_types": ["UpBlock2D"]}`, "up_block_types", "as many entries as block_out_channels: 4"},
		{`{"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"}`, "mid_block_type", "UNetMidBlock2DCrossAttn"},
		{`{"block_out_channels": [320, 640, 1280, 1290]}`, "block_out_channels", "multiple of norm_num_groups 32"},
		{`{"layers_per_block": [1,2]}`, "layers_per_block", "has 2 entries, want one for each of the 4 blocks"},
		{`{"layers_per_block": null}`, "layers_per_block", "null"},
		{`{"attention_head_dim": 7}`, "attention_head_dim", "must divide its 320 channels"},
		{`{"attention_head_dim": 0}`, "attention_head_dim", "must divide"},
		{`{"num_attention_heads": 8}`, "num_attention_heads", "supported: null"},
		{`{"cross_attention_dim": [768, 768, 1024, 768]}`, "cross_attention_dim", "must be equal"},
		{`{"transformer_layers_per_block": [1, [1], 1, 1]}`, "transformer_layers_per_block", "entry for each"},
		{`{"dual_cross_attention": true}`, "dual_cross_attention", "supported: false"},
		{`{"dropout": 0.1}`, "dropout", "supported: 0"},
		{`{"class_embed_type": "timestep"}`, "class_embed_type", "supported: null"},
		{`{"num_class_embeds": 10}`, "num_class_embeds", "supported: null"},
		{`{"class_embeddings_concat": true}`, "class_embeddings_concat", "supported: false"},
		{`{"encoder_hid_dim": 10}`, "encoder_hid_dim", "supported: null"},
		{`{"addition_embed_type": "text"}`, "addition_embed_type", `supported: "text_time"`},
		{`{"addition_embed_type": "text_time"}`, "addition_time_embed_dim", "needs a width"},
		{`{"resnet_time_scale_shift": "scale_shift"}`, "resnet_time_scale_shift", `supported: "default"`},
		{`{"time_embedding_type": "fourier"}`, "time_embedding_type", `supported: "positional"`},
		{`{"time_embedding_act_fn": "mish"}`, "time_embedding_act_fn", "supported"},
		{`{"time_cond_proj_dim": 256}`, "time_cond_proj_dim", "supported: null"},
		{`{"attention_type": "gated"}`, "attention_type", `supported: "default"`},
		{`{"conv_in_kernel": 2}`, "conv_in_kernel", "odd"},
		{`{"norm_num_groups": null}`, "norm_num_groups", "null is not supported"},
		{`{"norm_num_groups": 0}`, "norm_num_groups", "between 1"},
		{`{"sample_size": "big"}`, "sample_size", "whole number"},
		{`{"block_out_channels": [1000000000000]}`, "down_block_types", "as many"},
		{`{"_class_name": "UNet2DModel"}`, "_class_name", "another class"},
	} {
		t.Run(tt.json, func(t *testing.T) {
			_, err := ParseConfig([]byte(tt.json))
			var key *config.KeyError
			if !errors.As(err, &key) || key.Key != tt.key || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want key %q and %q", err, tt.key, tt.want)
			}
		})
	}
}

func TestParseConfigAccepts(t *testing.T) {
	for _, text := range []string{
		`{}`,
		`{"_name_or_path": "x", "sample_size": [96, 64], "mid_block_type": null}`,
		`{"attention_head_dim": [5, 10, 20, 20], "use_linear_projection": true, "upcast_attention": true, "cross_attention_dim": 1024}`,
		`{"transformer_layers_per_block": [1, 2, [1, 3], 4], "reverse_transformer_layers_per_block": [4, [1, 2, 3], 2, 1]}`,
		`{"resnet_out_scale_factor": 2, "resnet_skip_time_act": true, "cross_attention_norm": "group_norm"}`,
		`{"down_block_types": ["UNetResCrossAttnDownBlock2D","DownBlock2D","DownBlock2D","DownBlock2D"]}`,
	} {
		if _, err := ParseConfig([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"block_out_channels":[32],"down_block_types":["DownBlock2D"],"up_block_types":["UpBlock2D"],"norm_num_groups":8}`))
	f.Add([]byte(`{"transformer_layers_per_block":[[1],2,[],4]}`))
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = ParseConfig(data) })
}

// small is a config with the given keys changed from a two-block model.
func small(t *testing.T, keys map[string]any) Config {
	t.Helper()
	m := map[string]any{
		"block_out_channels": []int{16, 32}, "norm_num_groups": 8, "attention_head_dim": 4, "cross_attention_dim": 24, "layers_per_block": 1,
		"down_block_types": []string{"CrossAttnDownBlock2D", "DownBlock2D"}, "up_block_types": []string{"UpBlock2D", "CrossAttnUpBlock2D"},
	}
	for k, v := range keys {
		m[k] = v
	}
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBuildRefusesInputs(t *testing.T) {
	for _, tt := range []struct {
		name                       string
		sample, timesteps, context []int
		want                       string
	}{
		{"channels", []int{2, 8, 8, 3}, []int{2}, []int{2, 7, 24}, "sample"},
		{"odd side", []int{2, 8, 7, 4}, []int{2}, []int{2, 7, 24}, "multiples of 2"},
		{"timesteps", []int{2, 8, 8, 4}, []int{3}, []int{3, 7, 24}, "timesteps"},
		{"shared timesteps alone", []int{2, 8, 8, 4}, []int{1}, []int{2, 7, 24}, "context"},
		{"context", []int{2, 8, 8, 4}, []int{2}, []int{2, 7, 25}, "context"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := op.NewBuilder()
			_, err := Build(b, small(t, nil), Inputs{Sample: b.Input("x", tt.sample...), Timesteps: b.Input("t", tt.timesteps...), Context: b.Input("c", tt.context...)})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestReadConfigNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadConfig(os.DirFS(dir), "unet"); err == nil || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("missing file: got %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "unet"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "unet", "config.json"), []byte(`{"act_fn":"relu"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadConfig(os.DirFS(dir), "unet"); err == nil || !strings.Contains(err.Error(), "unet/config.json") {
		t.Errorf("got %v, want it to name unet/config.json", err)
	}
}
