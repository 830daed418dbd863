package checkpoint

import (
	"slices"

	"yohaku/internal/assert"
)

// Param is one parameter, or a moment of one, in the engine's layout: convolution weights are
// [kh, kw, in, out], everything else is as in files. Load fills Data, Save and Digest read it.
type Param struct {
	Name  string
	Shape []int
	Data  []float32
}

func (p Param) elements() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// FileShape returns the shape in files of a parameter of that shape in the engine: OIHW of HWIO.
func FileShape(engine []int) []int {
	if len(engine) != 4 {
		return slices.Clone(engine)
	}
	return []int{engine[3], engine[2], engine[0], engine[1]}
}

// SameWeights tells whether a tensor of shape file holds the weights of a parameter that files
// normally give shape want: equal shapes, or a linear layer written as a 1×1 convolution, as old
// VAE files do, or the reverse.
func SameWeights(file, want []int) bool {
	return slices.Equal(squeeze(file), squeeze(want))
}

// squeeze drops the two kernel axes of a 1×1 convolution.
func squeeze(shape []int) []int {
	if len(shape) == 4 && shape[2] == 1 && shape[3] == 1 {
		return shape[:2]
	}
	return shape
}

// toEngine writes a tensor of file layout to dst in the engine's layout for shape.
func toEngine(dst, file []float32, shape []int) {
	assert.That(len(dst) == len(file), "toEngine %d elements from %d", len(dst), len(file))
	if len(shape) != 4 {
		copy(dst, file)
		return
	}
	pixels, in, out := shape[0]*shape[1], shape[2], shape[3]
	for p := range pixels {
		for i := range in {
			row := dst[(p*in+i)*out:][:out]
			for o := range row {
				row[o] = file[(o*in+i)*pixels+p]
			}
		}
	}
}

// toFile writes a parameter in the engine's layout for shape to dst in file layout.
func toFile(dst, engine []float32, shape []int) {
	assert.That(len(dst) == len(engine), "toFile %d elements from %d", len(dst), len(engine))
	if len(shape) != 4 {
		copy(dst, engine)
		return
	}
	pixels, in, out := shape[0]*shape[1], shape[2], shape[3]
	for p := range pixels {
		for i := range in {
			row := engine[(p*in+i)*out:][:out]
			for o, v := range row {
				dst[(o*in+i)*pixels+p] = v
			}
		}
	}
}

// ToFile returns p's values in the layout of files.
func ToFile(p Param) []float32 {
	x := make([]float32, len(p.Data))
	toFile(x, p.Data, p.Shape)
	return x
}

// FromFile sets p's values from x, which is in the layout of files.
func FromFile(p Param, x []float32) { toEngine(p.Data, x, p.Shape) }
