package diffusion

import (
	"fmt"
	"math"

	"yohaku/model/config"
)

// walk is what the samplers share that work on ᾱ at whole timesteps: DDIM, DDPM and PNDM.
type walk struct {
	schedule  *Schedule
	timesteps []int
	back      int     // Timesteps from one step to the next.
	clip      float32 // x₀ is clipped to [−clip, clip].
}

// newWalk plans the given timesteps.
func newWalk(c Config, steps int, timesteps []float64) (walk, error) {
	w := walk{schedule: c.Schedule(), back: c.NumTrainTimesteps / steps, clip: float32(math.Inf(1))}
	if c.ClipSample {
		w.clip = float32(c.ClipSampleRange)
	}
	if err := c.checkVisit(steps, floats(timesteps)); err != nil {
		return w, err
	}
	for _, t := range timesteps {
		w.timesteps = append(w.timesteps, int(t))
		if c.PredictionType == Epsilon && w.schedule.AlphasCumprod[int(t)] == 0 {
			return w, fmt.Errorf("%s: prediction_type %s has no image at timestep %v, which is pure noise (rescale_betas_zero_snr); use %s", c.Class, Epsilon, t, VPrediction)
		}
	}
	return w, nil
}

func checkClipping(c Config, k *config.Checker) {
	k.That(!c.ClipSample || c.ClipSampleRange > 0, "clip_sample_range", c.ClipSampleRange, "must be above 0")
}

func (w *walk) Timesteps() []float32 {
	out := make([]float32, len(w.timesteps))
	for i, t := range w.timesteps {
		out[i] = float32(t)
	}
	return out
}

func (w *walk) InitNoiseSigma() float64 { return 1 }

func (w *walk) ScaleModelInput(dst, x []float32, _ int) { copy(dst, x) }

// final returns ᾱ after the last step.
func (w *walk) final(one bool) float32 {
	if one {
		return 1
	}
	return w.schedule.AlphasCumprod[0]
}

// original sets x0 to the clean sample that a prediction at timestep t implies for the noisy x.
func (w *walk) original(x0, prediction, x []float32, t int) {
	a, b := w.schedule.roots(t)
	toOriginal(x0, w.schedule.PredictionType, prediction, x, a, b)
}

func (w *walk) clipped(x float32) float32 { return min(max(x, -w.clip), w.clip) }

// isTrue is *b, or other when b is nil.
func isTrue(b *bool, other bool) bool {
	if b == nil {
		return other
	}
	return *b
}

// lookup returns ᾱ_t, final below timestep 0.
func (w *walk) lookup(t int, final float32) float32 {
	if t < 0 {
		return final
	}
	return w.schedule.AlphasCumprod[t]
}
