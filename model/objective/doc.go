// Package objective holds the training losses as functions of per-sample denoising errors: MaPO,
// margin-aware preference optimization without a reference model, in its two written forms; and,
// for comparison on the same code, Diffusion-DPO and supervised fine-tuning on the winners. They
// are scalar float64 functions with their derivatives; the graph above them turns pixels into
// errors and carries the derivatives on.
//
// Source: Hong et al., arXiv:2406.06424v2; mapo-t2i/mapo utils.py, compute_loss. Wallace et al.,
// arXiv:2311.12908, equation 14; diffusers train_diffusion_dpo.py.
package objective
