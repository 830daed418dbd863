package checkpoint

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"

	"yohaku/internal/safetensors"
)

// Digest returns the SHA-256, in hex, of the weights and the optimizer's state: parameters,
// first and second moments, and the moving average if there is one, each in the order of names, in file layout as little-endian float32,
// then the exponents and the step. It does not depend on the order of params, on metadata, on
// the folder or on time, so that equal digests mean equal training.
func Digest(params []Param, s State) string {
	h := sha256.New()
	hashParams(h, "weights", params)
	hashParams(h, "m", s.M)
	hashParams(h, "v", s.V)
	hashParams(h, "ema", s.EMA)
	h.Write(fmt.Appendf(nil, "exponents %d\n", len(s.Exponents)))
	exponents := make([]byte, len(s.Exponents))
	for i, e := range s.Exponents {
		exponents[i] = byte(e)
	}
	h.Write(exponents)
	h.Write(fmt.Appendf(nil, "step %d\n", s.Step))
	return hex.EncodeToString(h.Sum(nil))
}

// hashParams adds params to h, each with its kind, name and shape, so that no two sets agree by
// chance of concatenation.
func hashParams(h hash.Hash, kind string, params []Param) {
	sorted := slices.SortedFunc(slices.Values(params), func(a, b Param) int { return cmp.Compare(a.Name, b.Name) })
	for _, p := range sorted {
		h.Write(fmt.Appendf(nil, "%s %q %v\n", kind, p.Name, FileShape(p.Shape)))
		var err error
		if len(p.Shape) == 4 {
			err = writeConverted(h, p, safetensors.F32)
		} else {
			err = safetensors.Encode(h, p.Data, safetensors.F32)
		}
		if err != nil {
			panic("invariant broken: a hash takes everything: " + err.Error())
		}
	}
}
