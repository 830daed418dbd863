// Package dataset turns preference data on disk into training pairs.
//
// A Source yields rows in a fixed order: each is a Pair (a prompt, the preferred picture and the
// other one, still encoded) or a Reject (a row that was set aside, with its reason). Collect
// reads a whole source, checks every picture by decoding it, and returns the Set that a run
// trains on, with a digest that names its content. Transform turns a pair's pictures into the
// float32 tensors that the VAE encodes.
//
// The sources are in folders of their own: pickapic (parquet), folder (JSON Lines beside
// pictures) and brand (procedural drawings); source picks one for a path. plan says which pairs
// a step trains on; latents keeps encoded pairs.
//
// Invariants: a bad row never stops a source, it becomes a Reject; the order of pairs, their
// identifiers and the digest depend only on the data and the options, never on timing.
package dataset
