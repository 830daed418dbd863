package vae

import (
	"errors"
	"math"
	"strings"
	"testing"

	"yohaku/model/config"
)

func TestParseConfigRefusesByName(t *testing.T) {
	for _, tt := range []struct{ json, key, want string }{
		{`{"new_key": 1}`, "new_key", "not known"},
		{`{"act_fn": "relu"}`, "act_fn", "supported"},
		{`{"down_block_types": ["DownBlock2D"]}`, "down_block_types", "DownEncoderBlock2D"},
		{`{"up_block_types": []}`, "up_block_types", "as many"},
		{`{"block_out_channels": []}`, "block_out_channels", "1 to"},
		{`{"block_out_channels": [48]}`, "block_out_channels", "multiple of norm_num_groups 32"},
		{`{"latents_mean": [0, 0, 0, 0]}`, "latents_mean", "supported: null"},
		{`{"latents_std": [1, 1, 1, 1]}`, "latents_std", "supported: null"},
		{`{"scaling_factor": 0}`, "scaling_factor", "must not be 0"},
		{`{"scaling_factor": null}`, "scaling_factor", "null"},
		{`{"layers_per_block": 0}`, "layers_per_block", "between"},
	} {
		_, err := ParseConfig([]byte(tt.json))
		var key *config.KeyError
		if !errors.As(err, &key) || key.Key != tt.key || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want key %q and %q", tt.json, err, tt.key, tt.want)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"block_out_channels":[32],"norm_num_groups":8,"sample_size":[1,2]}`))
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = ParseConfig(data) })
}

func TestLatents(t *testing.T) {
	shift := 0.5
	c := Config{LatentChannels: 1, ScalingFactor: 2, ShiftFactor: &shift}
	moments := []float32{1, 2, 3, 0, 100, -100} // Log variances 0, clamped to 20, clamped to −30.
	got := make([]float32, 3)
	if err := c.Latents(got, moments, []float32{1, 1, 1}); err != nil {
		t.Fatal(err)
	}
	want := []float64{(1 + 1 - 0.5) * 2, (2 + math.Exp(10) - 0.5) * 2, (3 + math.Exp(-15) - 0.5) * 2}
	for i := range want {
		if math.Abs(float64(got[i])-want[i]) > 1e-6*want[i] {
			t.Errorf("latent %d: got %g, want %g", i, got[i], want[i])
		}
	}
	if err := c.Latents(got, moments, nil); err != nil || got[2] != 5 {
		t.Errorf("mean: got %v, %v, want 5", got[2], err)
	}
	c.Unscale(got)
	if got[0] != 1 || got[1] != 2 || got[2] != 3 {
		t.Errorf("unscaled %v, want 1 2 3", got)
	}
	if err := c.Latents(got, moments[:5], nil); err == nil {
		t.Error("wrong length passed")
	}
}

func TestRename(t *testing.T) {
	for old, want := range map[string]string{
		"decoder.mid_block.attentions.0.query.weight":     "decoder.mid_block.attentions.0.to_q.weight",
		"encoder.mid_block.attentions.0.proj_attn.bias":   "encoder.mid_block.attentions.0.to_out.0.bias",
		"encoder.mid_block.attentions.0.to_out.0.bias":    "encoder.mid_block.attentions.0.to_out.0.bias",
		"encoder.mid_block.attentions.0.group_norm.bias":  "encoder.mid_block.attentions.0.group_norm.bias",
		"encoder.down_blocks.0.resnets.0.conv1.key.value": "encoder.down_blocks.0.resnets.0.conv1.key.value",
	} {
		if got := Rename(old); got != want {
			t.Errorf("Rename(%q) = %q, want %q", old, got, want)
		}
	}
}
