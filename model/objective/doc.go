// Package objective holds the training losses as functions of per-sample denoising errors:
// MaPO, margin-aware preference optimization without a reference model, in its two written
// forms. They are scalar float64 functions with their derivatives; the graph above them turns
// pixels into errors and carries the derivatives on.
//
// Source: Hong et al., arXiv:2406.06424v2; mapo-t2i/mapo utils.py, compute_loss.
package objective
