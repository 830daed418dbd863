package bench

import (
	"encoding/json"
	"fmt"

	"yohaku/model/unet"
)

// size is a UNet and the latents it is trained on.
type size struct {
	channels              []int
	layers, latent, cross int
	pairs                 int
}

// sizes are a toy, a small model and Stable Diffusion 1.5 at 512×512, by the letters of their rows.
var sizes = map[string]size{
	"S": {channels: []int{32, 64, 64}, layers: 1, latent: 32, cross: 64, pairs: 4},
	"M": {channels: []int{64, 128, 256}, layers: 2, latent: 32, cross: 256, pairs: 2},
	"L": {channels: []int{320, 640, 1280, 1280}, layers: 2, latent: 64, cross: 768, pairs: 1},
}

// contextTokens is the length of CLIP's prompts.
const contextTokens = 77

// stepTimedMS lets a turn be more than one step where a step is short. Steps need no warm-up within a turn.
const stepTimedMS = 600

// stepWork is one MaPO training step: noise, UNet on winners and losers, loss, gradients, clip, AdamW.
func stepWork(letter, dtype string) Work {
	s := sizes[letter]
	r := Request{
		Work: "step-" + letter, Kind: "step", DType: dtype, Config: s.config(), TimedMS: stepTimedMS,
		Shape: map[string]int{"pairs": s.pairs, "latent": s.latent, "tokens": contextTokens, "cross": s.cross},
	}
	return Work{Request: r, Step: true, Large: letter == "L"}
}

// limitedWork is stepWork with ours bound to so many gigabytes; the peer is not.
func limitedWork(letter, dtype string, gigabytes int) Work {
	w := stepWork(letter, dtype)
	w.Work += fmt.Sprintf("-%dGB", gigabytes)
	w.MemoryLimit = int64(gigabytes) * 1e9
	return w
}

// config is the UNet's config.json, for both sides.
func (s size) config() map[string]any {
	var down, up []string
	for range s.channels[1:] {
		down, up = append(down, "CrossAttnDownBlock2D"), append(up, "CrossAttnUpBlock2D")
	}
	return map[string]any{
		"sample_size": s.latent, "in_channels": 4, "out_channels": 4, "layers_per_block": s.layers,
		"block_out_channels": s.channels, "norm_num_groups": 32, "attention_head_dim": 8, "cross_attention_dim": s.cross,
		"down_block_types": append(down, "DownBlock2D"), "up_block_types": append([]string{"UpBlock2D"}, up...),
	}
}

// UNet reads a request's config.
func (r Request) UNet() (unet.Config, error) {
	data, err := json.Marshal(r.Config)
	if err != nil {
		return unet.Config{}, fmt.Errorf("encode the UNet's config: %w", err)
	}
	return unet.ParseConfig(data)
}
