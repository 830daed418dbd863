package diffusion

import (
	"math"
	"slices"
)

// timesteps returns the steps' timesteps, from noise to image; those of linspace are not rounded
// yet. The arithmetic is numpy's.
//
// Source: Lin et al., arXiv:2305.08891, table 2; diffusers DDPMScheduler.set_timesteps.
func (c Config) timesteps(steps int) []float64 {
	switch c.TimestepSpacing {
	case "leading":
		return descending(c.NumTrainTimesteps/steps, 0, steps, c.StepsOffset)
	case "trailing":
		return trailing(c.NumTrainTimesteps, float64(c.NumTrainTimesteps)/float64(steps))
	}
	out := linspace(0, float64(c.NumTrainTimesteps-1), steps)
	slices.Reverse(out)
	return out
}

// descending returns (n−1)·ratio + offset down to first·ratio + offset.
func descending(ratio, first, n, offset int) []float64 {
	var out []float64
	for i := n - 1; i >= first; i-- {
		out = append(out, float64(i*ratio+offset))
	}
	return out
}

// trailing is round(np.arange(total, 0, −ratio)) − 1, whose length and spacing are float64 results.
func trailing(total int, ratio float64) []float64 {
	var out []float64
	start := float64(total)
	spacing := (start - ratio) - start
	for i := range int(math.Ceil(start / ratio)) {
		out = append(out, math.RoundToEven(start+float64(i)*spacing)-1)
	}
	return out
}

// linspace is numpy's: n numbers from start to end, both included; start alone when n is 1.
func linspace(start, end float64, n int) []float64 {
	out := make([]float64, n)
	out[0] = start
	for i := 1; i < n; i++ {
		out[i] = float64(float64(i)*((end-start)/float64(n-1))) + start
	}
	if n > 1 {
		out[n-1] = end
	}
	return out
}

// rounded rounds in place, halves to even.
func rounded(x []float64) []float64 {
	for i, v := range x {
		x[i] = math.RoundToEven(v)
	}
	return x
}

// floats converts to float32.
func floats(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}
