package vae

import (
	"fmt"
	"math"
	"strings"
)

// Bounds of the log of the variance, as diffusers' DiagonalGaussianDistribution clamps it.
const (
	minLogVar = -30
	maxLogVar = 20
)

// Latents draws a scaled latent from the encoder's moments: for every element
//
//	z = mean + exp(clamp(logvar, −30, 20)/2) · eps,  dst = (z − shift_factor) · scaling_factor
//
// dst and eps are [C,h,w], moments [2C,h,w] with the means first; eps is standard normal, or nil for the mean itself.
// It returns an error when the lengths do not fit.
//
// Source: diffusers autoencoders/vae.py, DiagonalGaussianDistribution.sample, and the training scripts' scaling.
func (c Config) Latents(dst, moments, eps []float32) error {
	n := len(dst)
	if n == 0 || n%c.LatentChannels != 0 || len(moments) != 2*n || (eps != nil && len(eps) != n) {
		return fmt.Errorf("vae latents: %d moments and %d normals for %d elements of %d channels, want twice and once as many", len(moments), len(eps), n, c.LatentChannels)
	}
	shift, scale := float32(c.Shift()), float32(c.ScalingFactor)
	for i := range dst {
		z := moments[i]
		if eps != nil {
			logvar := min(max(moments[n+i], minLogVar), maxLogVar)
			z += float32(float32(math.Exp(0.5*float64(logvar))) * eps[i])
		}
		dst[i] = (z - shift) * scale
	}
	return nil
}

// Unscale turns a diffusion model's latents into the decoder's input in place: z = x/scaling_factor + shift_factor.
func (c Config) Unscale(x []float32) {
	shift, scale := float32(c.Shift()), float32(c.ScalingFactor)
	for i := range x {
		x[i] = x[i]/scale + shift
	}
}

// oldNames are the attention's parts in files written before diffusers 0.13, and their names since.
var oldNames = strings.NewReplacer(".query.", ".to_q.", ".key.", ".to_k.", ".value.", ".to_v.", ".proj_attn.", ".to_out.0.")

// Rename gives a tensor's present name from its name in a file: old files call the attention's parts query, key, value
// and proj_attn.
func Rename(name string) string {
	if !strings.Contains(name, ".attentions.") {
		return name
	}
	return oldNames.Replace(name)
}
