package vae

import (
	"io/fs"
	"strings"

	"yohaku/model/config"
)

// Class is the diffusers class whose folders this package reads.
const Class = "AutoencoderKL"

// Config is config.json of an AutoencoderKL: every argument of its constructor (diffusers 0.42), under its name.
type Config struct {
	InChannels           int         `json:"in_channels"`
	OutChannels          int         `json:"out_channels"`
	DownBlockTypes       []string    `json:"down_block_types"`
	UpBlockTypes         []string    `json:"up_block_types"`
	BlockOutChannels     []int       `json:"block_out_channels"`
	LayersPerBlock       int         `json:"layers_per_block"`
	ActFn                string      `json:"act_fn"`
	LatentChannels       int         `json:"latent_channels"`
	NormNumGroups        int         `json:"norm_num_groups"`
	SampleSize           config.Size `json:"sample_size"`    // Only diffusers' tiling reads it.
	ScalingFactor        float64     `json:"scaling_factor"` // Latents = (z − shift) · scale.
	ShiftFactor          *float64    `json:"shift_factor"`
	LatentsMean          *[]float64  `json:"latents_mean"`
	LatentsStd           *[]float64  `json:"latents_std"`
	ForceUpcast          bool        `json:"force_upcast"` // No effect in float32.
	UseQuantConv         bool        `json:"use_quant_conv"`
	UsePostQuantConv     bool        `json:"use_post_quant_conv"`
	MidBlockAddAttention bool        `json:"mid_block_add_attention"`
}

// Defaults returns the defaults of the diffusers constructor, which stand for absent keys.
func Defaults() Config {
	return Config{
		InChannels: 3, OutChannels: 3,
		DownBlockTypes: []string{"DownEncoderBlock2D"}, UpBlockTypes: []string{"UpDecoderBlock2D"},
		BlockOutChannels: []int{64}, LayersPerBlock: 1, ActFn: "silu", LatentChannels: 4, NormNumGroups: 32,
		SampleSize: config.Size{Height: 32, Width: 32}, ScalingFactor: 0.18215, ForceUpcast: true,
		UseQuantConv: true, UsePostQuantConv: true, MidBlockAddAttention: true,
	}
}

// ParseConfig reads the bytes of a config.json. It returns a *config.KeyError for the first key that is not known or
// whose value the builders do not implement.
func ParseConfig(data []byte) (Config, error) {
	c := Defaults()
	if err := config.Decode(Class, data, &c); err != nil {
		return Config{}, err
	}
	if err := c.check(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// ReadConfig reads config.json in the folder dir of fsys.
func ReadConfig(fsys fs.FS, dir string) (Config, error) {
	return config.Read(fsys, dir, ParseConfig)
}

// Factor is how many times a picture's side is that of its latents.
func (c Config) Factor() int { return 1 << (len(c.BlockOutChannels) - 1) }

// Shift is shift_factor, 0 when the file has null.
func (c Config) Shift() float64 {
	if c.ShiftFactor == nil {
		return 0
	}
	return *c.ShiftFactor
}

const (
	maxBlocks   = 16
	maxChannels = 1 << 16
	maxLayers   = 128
)

// check refuses, by name, every value that the builders do not implement.
func (c Config) check() error {
	k := &config.Checker{Class: Class}
	n := len(c.BlockOutChannels)
	k.That(n >= 1 && n <= maxBlocks, "block_out_channels", c.BlockOutChannels, "must have 1 to %d entries", maxBlocks)
	k.That(len(c.DownBlockTypes) == n, "down_block_types", c.DownBlockTypes, "must have as many entries as block_out_channels: %d", n)
	k.That(len(c.UpBlockTypes) == n, "up_block_types", c.UpBlockTypes, "must have as many entries as block_out_channels: %d", n)
	for _, kind := range c.DownBlockTypes {
		k.OneOf("down_block_types", kind, "DownEncoderBlock2D", "AttnDownEncoderBlock2D")
	}
	for _, kind := range c.UpBlockTypes {
		k.OneOf("up_block_types", kind, "UpDecoderBlock2D", "AttnUpDecoderBlock2D")
	}
	k.Range("in_channels", c.InChannels, 1, maxChannels)
	k.Range("out_channels", c.OutChannels, 1, maxChannels)
	k.Range("latent_channels", c.LatentChannels, 1, maxChannels)
	k.Range("norm_num_groups", c.NormNumGroups, 1, maxChannels)
	k.Range("layers_per_block", c.LayersPerBlock, 1, maxLayers)
	for i, ch := range c.BlockOutChannels {
		k.That(ch >= 1 && ch <= maxChannels && ch%max(c.NormNumGroups, 1) == 0, "block_out_channels", c.BlockOutChannels,
			"entry %d must be between 1 and %d and a multiple of norm_num_groups %d", i, maxChannels, c.NormNumGroups)
	}
	k.OneOf("act_fn", c.ActFn, "silu", "swish")
	k.That(c.ScalingFactor != 0, "scaling_factor", c.ScalingFactor, "must not be 0")
	k.Null("latents_mean", c.LatentsMean == nil, c.LatentsMean)
	k.Null("latents_std", c.LatentsStd == nil, c.LatentsStd)
	return k.Err()
}

func attends(kind string) bool { return strings.HasPrefix(kind, "Attn") }
