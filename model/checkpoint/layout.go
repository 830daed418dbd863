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
	outputsToEngine(dst, file, shape, 0, shape[3])
}

// outputsToEngine is toEngine for n outputs of a convolution from first on, which file holds alone.
func outputsToEngine(dst, file []float32, shape []int, first, n int) {
	pixels, in, out := shape[0]*shape[1], shape[2], shape[3]
	for p := range pixels {
		for i := range in {
			row := dst[(p*in+i)*out+first:][:n]
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
	outputsToFile(dst, engine, shape, 0, shape[3])
}

// outputsToFile is toFile for n outputs of a convolution from first on, which dst holds alone.
func outputsToFile(dst, engine []float32, shape []int, first, n int) {
	pixels, in, out := shape[0]*shape[1], shape[2], shape[3]
	for p := range pixels {
		for i := range in {
			row := engine[(p*in+i)*out+first:][:n]
			for o, v := range row {
				dst[(o*in+i)*pixels+p] = v
			}
		}
	}
}

// outputsAtATime bounds what is converted at a time: with 2,560 inputs and 3×3 pixels it is 1.5 MB.
const outputsAtATime = 16

// eachOutputs calls visit with the outputs of a convolution of that shape, some at a time, and a buffer for them in file
// layout.
func eachOutputs(shape []int, visit func(first, n int, buf []float32) error) error {
	one, out := shape[0]*shape[1]*shape[2], shape[3]
	buf := make([]float32, min(outputsAtATime, out)*one)
	for first := 0; first < out; first += outputsAtATime {
		n := min(outputsAtATime, out-first)
		if err := visit(first, n, buf[:n*one]); err != nil {
			return err
		}
	}
	return nil
}

// ToFile returns p's values in the layout of files.
func ToFile(p Param) []float32 {
	x := make([]float32, len(p.Data))
	toFile(x, p.Data, p.Shape)
	return x
}

// FromFile sets p's values from x, which is in the layout of files.
func FromFile(p Param, x []float32) { toEngine(p.Data, x, p.Shape) }
