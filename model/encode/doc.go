// Package encode turns pictures and prompts into what a diffusion model trains on: the moments of the autoencoder's
// posterior and the text encoder's embeddings. Both are deterministic: a latent is drawn from the moments later, with
// keyed noise, so that what encode makes can be kept and shared.
//
// A result has the same bits whatever else is in its batch.
package encode
