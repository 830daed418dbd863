// Package checkpoint reads and writes model folders in diffusers' layout: a pipeline folder with
// model_index.json and one folder for each component, whose weights lie in one safetensors file,
// in shards with an index, or in a variant such as fp16; and this program's own additions to
// such a folder, trainer_state.safetensors and SHA256SUMS.
//
// The engine keeps convolution weights as HWIO, files hold OIHW; Load and Save convert. Nothing
// read here is trusted: names in an index stay within their folder, every size is bounded, and a
// tensor that is missing, left over or of the wrong shape is named together with its file.
//
// Everything is written into a temporary neighbour, synced, and renamed into place.
package checkpoint
