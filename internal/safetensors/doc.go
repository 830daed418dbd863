// Package safetensors reads and writes the safetensors file format: eight bytes of header
// length (little endian), a JSON header that names each tensor's dtype, shape and byte range,
// and the tensors' bytes, packed without holes.
//
// Files come from strangers. A reader checks everything the header claims before it allocates:
// a header at most MaxHeaderBytes long and inside the file, known dtypes, sizes that equal shape
// times dtype, ranges that cover the data part exactly once, no name twice. What breaks a rule
// is a *FormatError that names the file, the tensor, the value and the rule.
//
// Source: https://huggingface.co/docs/safetensors (format), safetensors/src/tensor.rs.
package safetensors
