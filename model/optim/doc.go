// Package optim holds the optimizer's arithmetic: AdamW with PyTorch's semantics, the clip
// coefficient of a global norm, and diffusers' learning-rate schedules. It keeps no state: the
// caller owns the parameters and moments, and may cut them anywhere, since every update is
// elementwise.
//
// Source: torch.optim.AdamW, torch.nn.utils.clip_grad_norm_, diffusers.optimization.
package optim
