// Package model is the map of the room that holds the networks and what runs them; it has no code.
//
// Read in this order:
//
//   - op: the operators, each a shape rule and a symbolic gradient, on gorgonia's expression graph
//   - unet, vae, clip: the networks, built from operators under diffusers' names
//   - compile: graph → program: dead code, in-place results, one planned slab of memory
//   - backend: what a backend must do; backend/cpu runs programs on a thread pool
//   - kernel: matrix products and vector loops, in assembly beside their Go twins
//   - diffusion, objective, optim: noise schedules and samplers, losses, AdamW
//   - checkpoint: diffusers folders and digests
//
// A step's way: a network builds a graph on op.Builder, Builder.Grad differentiates it, compile
// lowers and plans it once, and the executable then runs without allocating.
package model
