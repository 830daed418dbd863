// Package demo holds the base model of the embedded default: a small StableDiffusionPipeline folder that
// draws simple products in 64×64 pixels from short prompts ("a photo of a red mug on a mint background").
//
// Purpose: `coordinator up` works on a fresh machine with nothing but Go. The model is only data here;
// nothing in this package computes.
//
// The folder is as diffusers writes it: tokenizer, text_encoder (CLIP, 2 layers of 128), unet ([64, 128],
// 4.0 M parameters), vae (factor 4, 4 latent channels), scheduler (DDIM, scaled_linear, v_prediction), weights
// as fp16 safetensors. dataset/brand/recipe makes it again.
//
// Invariants: Base is complete: every component that model_index.json names is there. The vocabulary
// holds every word of dataset/brand's prompts.
package demo
