package diffusion

import (
	"fmt"
	"math"

	"yohaku/internal/assert"
)

// Schedule is a noise schedule over T = len(Betas) timesteps in float32, as diffusers computes it.
type Schedule struct {
	Betas          []float32
	AlphasCumprod  []float32 // ᾱ_t = Π_{s≤t} (1 − β_s)
	PredictionType string
}

// Schedule computes c's noise schedule.
func (c Config) Schedule() *Schedule {
	s := &Schedule{Betas: c.betas(), PredictionType: c.PredictionType}
	if c.RescaleBetasZeroSNR {
		rescaleZeroTerminalSNR(s.Betas)
	}
	s.AlphasCumprod = cumprod(s.Betas)
	return s
}

// betas returns β_0 … β_{T−1} before any rescaling.
//
// Source: diffusers/schedulers/scheduling_ddpm.py, DDPMScheduler.__init__.
func (c Config) betas() []float32 {
	if c.TrainedBetas != nil {
		out := make([]float32, len(*c.TrainedBetas))
		for i, b := range *c.TrainedBetas {
			out[i] = float32(b)
		}
		return out
	}
	switch c.BetaSchedule {
	case "linear":
		return linspace32(c.BetaStart, c.BetaEnd, c.NumTrainTimesteps)
	case "scaled_linear":
		out := linspace32(math.Sqrt(c.BetaStart), math.Sqrt(c.BetaEnd), c.NumTrainTimesteps)
		for i, b := range out {
			out[i] = b * b
		}
		return out
	case "sigmoid":
		out := linspace32(-6, 6, c.NumTrainTimesteps)
		for i, x := range out {
			sigmoid := float32(1 / (1 + math.Exp(-float64(x))))
			out[i] = float32(sigmoid*float32(c.BetaEnd-c.BetaStart)) + float32(c.BetaStart)
		}
		return out
	}
	return squaredCosine(c.NumTrainTimesteps)
}

// linspace32 returns n numbers from start to end, both included, counted from the nearer end. Step
// and ends are float32, and each number is rounded once, as torch.linspace does with fused
// multiplication and addition.
func linspace32(start, end float64, n int) []float32 {
	first, last := float32(start), float32(end)
	out := make([]float32, n)
	if n == 1 {
		out[0] = first
		return out
	}
	step := (last - first) / float32(n-1)
	for i := range out {
		if i < n/2 {
			out[i] = float32(float64(first) + float64(step)*float64(i))
		} else {
			out[i] = float32(float64(last) - float64(step)*float64(n-1-i))
		}
	}
	return out
}

// squaredCosine returns the betas of ᾱ(t) = cos²((t + 0.008)/1.008 · π/2), at most 0.999.
//
// Source: Nichol and Dhariwal, arXiv:2102.09672; diffusers betas_for_alpha_bar.
func squaredCosine(n int) []float32 {
	bar := func(t float64) float64 {
		c := math.Cos((t + 0.008) / 1.008 * math.Pi / 2)
		return c * c
	}
	out := make([]float32, n)
	for i := range out {
		t1, t2 := float64(i)/float64(n), float64(i+1)/float64(n)
		out[i] = float32(math.Min(1-bar(t2)/bar(t1), 0.999))
	}
	return out
}

// cumprod multiplies up 1 − β in float64 and rounds each product, as torch.cumprod does.
func cumprod(betas []float32) []float32 {
	out := make([]float32, len(betas))
	product := 1.0
	for i, b := range betas {
		product *= float64(1 - b)
		out[i] = float32(product)
	}
	return out
}

// rescaleZeroTerminalSNR shifts and scales √ᾱ in place so that the last timestep is pure noise.
//
// Source: Lin et al., arXiv:2305.08891, algorithm 1; diffusers rescale_zero_terminal_snr.
func rescaleZeroTerminalSNR(betas []float32) {
	bar := cumprod(betas)
	for i, a := range bar {
		bar[i] = sqrt32(a)
	}
	first, last := bar[0], bar[len(bar)-1]
	scale := first / (first - last)
	for i, a := range bar {
		r := (a - last) * scale
		bar[i] = r * r
	}
	betas[0] = 1 - bar[0]
	for i := 1; i < len(bar); i++ {
		betas[i] = 1 - bar[i]/bar[i-1]
	}
}

func sqrt32(x float32) float32 { return float32(math.Sqrt(float64(x))) }

// roots returns √ᾱ_t and √(1−ᾱ_t).
func (s *Schedule) roots(t int) (signal, noise float32) {
	if t < 0 || t >= len(s.AlphasCumprod) { // Arguments of a call would be allocated.
		assert.That(false, "timestep %d of %d", t, len(s.AlphasCumprod))
	}
	return sqrt32(s.AlphasCumprod[t]), sqrt32(1 - s.AlphasCumprod[t])
}

// AddNoise sets dst = √ᾱ_t·x + √(1−ᾱ_t)·noise. The slices have one length; dst may be x or noise.
//
// Source: diffusers DDPMScheduler.add_noise.
func (s *Schedule) AddNoise(dst, x, noise []float32, t int) {
	a, b := s.roots(t)
	mix(dst, a, x, b, noise)
}

// Velocity sets dst = √ᾱ_t·noise − √(1−ᾱ_t)·x. The slices have one length; dst may be x or noise.
//
// Source: diffusers DDPMScheduler.get_velocity.
func (s *Schedule) Velocity(dst, x, noise []float32, t int) {
	a, b := s.roots(t)
	mix(dst, a, noise, -b, x)
}

// Target sets dst to what the network must predict at timestep t: the noise, the velocity or x,
// by PredictionType.
func (s *Schedule) Target(dst, x, noise []float32, t int) {
	switch s.PredictionType {
	case Epsilon:
		copy(dst, noise)
	case VPrediction:
		s.Velocity(dst, x, noise, t)
	case SampleType:
		copy(dst, x)
	default:
		panic(fmt.Sprintf("unreachable: ParseConfig refuses prediction_type %q", s.PredictionType))
	}
}

// mix sets dst = a·x + b·y, each product rounded on its own.
func mix(dst []float32, a float32, x []float32, b float32, y []float32) {
	x, y = x[:len(dst)], y[:len(dst)]
	for i := range dst {
		dst[i] = float32(a*x[i]) + float32(b*y[i])
	}
}

// MinSNRWeight is the weight of a denoising error at timestep t by min-SNR-γ weighting; 1 for γ = 0, which is none.
//
//	SNR = ᾱ_t/(1−ᾱ_t);  epsilon: min(SNR, γ)/SNR,  v_prediction: min(SNR, γ)/(SNR+1),  sample: min(SNR, γ)
//
// Where SNR is 0 (zero terminal SNR), epsilon's limit is 1. Source: Hang et al., arXiv:2303.09556; diffusers,
// training_utils.py, compute_snr, and train_text_to_image.py.
func (s *Schedule) MinSNRWeight(t int, gamma float64) float32 {
	if gamma == 0 {
		return 1
	}
	assert.That(t >= 0 && t < len(s.AlphasCumprod), "timestep %d of %d", t, len(s.AlphasCumprod))
	a := float64(s.AlphasCumprod[t])
	snr := a / (1 - a)
	least := min(snr, gamma)
	switch s.PredictionType {
	case VPrediction:
		return float32(least / (snr + 1))
	case SampleType:
		return float32(least)
	}
	if snr == 0 {
		return 1
	}
	return float32(least / snr)
}
