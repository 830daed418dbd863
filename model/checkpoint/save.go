package checkpoint

import (
	"fmt"
	"io"

	"yohaku/internal/atomicfile"
	"yohaku/internal/safetensors"
)

// DefaultWeightsFile is the name under which diffusers looks for a network's weights.
const DefaultWeightsFile = "diffusion_pytorch_model.safetensors"

// EMAFolder is where a pipeline folder has the moving average of its UNet, as diffusers' scripts name it.
const EMAFolder = "unet_ema"

// WriteWeights writes parameters as a safetensors file that diffusers loads: OIHW, in the given
// floating-point type, F32 when it is "". The bytes do not depend on the order of params.
func WriteWeights(w io.Writer, params []Param, d safetensors.DType) error {
	if d == "" {
		d = safetensors.F32
	}
	return safetensors.Write(w, entries("", params, d), map[string]string{"format": "pt"})
}

// SaveWeights is WriteWeights into the file at path, which is whole or as before.
func SaveWeights(path string, params []Param, d safetensors.DType) error {
	return atomicfile.WriteFunc(path, func(w io.Writer) error { return WriteWeights(w, params, d) })
}

// entries turns parameters into tensors of files, converted one at a time as they are written.
func entries(prefix string, params []Param, d safetensors.DType) []safetensors.Entry {
	out := make([]safetensors.Entry, len(params))
	for i, p := range params {
		out[i] = safetensors.Entry{Name: prefix + p.Name, DType: d, Shape: FileShape(p.Shape), Data: p.Data}
		if len(p.Shape) == 4 {
			out[i].Data = func(w io.Writer) error { return writeConverted(w, p, d) }
		}
	}
	return out
}

// writeConverted writes a convolution in file layout, a few outputs at a time.
func writeConverted(w io.Writer, p Param, d safetensors.DType) error {
	if len(p.Data) != p.elements() {
		return fmt.Errorf("parameter of shape %v has %d elements", p.Shape, len(p.Data))
	}
	return eachOutputs(p.Shape, func(first, n int, buf []float32) error {
		outputsToFile(buf, p.Data, p.Shape, first, n)
		return safetensors.Encode(w, buf, d)
	})
}
