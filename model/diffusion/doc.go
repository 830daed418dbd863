// Package diffusion holds the noise side of a diffusion model: schedules of betas, noisy samples
// and targets for training, and the samplers that turn noise back into latents. Everything is
// read from diffusers' scheduler_config.json.
//
// Training takes betas, prediction_type and num_train_timesteps from any scheduler class that
// has them, as diffusers' trainers do by loading the file as a DDPMScheduler. Sampling honours
// the class; a class without a sampler here is refused by name.
//
// DDIM, DDPM and PNDM work on ᾱ at whole timesteps (walk.go); Euler's samplers and DPM-Solver on
// noise levels σ, which may lie between two timesteps (ladder.go).
//
// Arithmetic is float32, operation by operation in diffusers' order and never fused, and
// elementwise, so that any layout of a sample will do.
//
// Source: Ho et al., arXiv:2006.11239; Song et al., arXiv:2010.02502; Liu et al., arXiv:2202.09778;
// Karras et al., arXiv:2206.00364; Lu et al., arXiv:2211.01095; Lin et al., arXiv:2305.08891 (zero
// terminal SNR); diffusers/schedulers.
package diffusion
