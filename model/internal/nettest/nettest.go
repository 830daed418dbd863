// Package nettest runs networks in tests: it compiles a graph, fills its parameters from a safetensors file under the
// library's names and layouts, and moves pictures between NCHW, as golden cases have them, and the engine's NHWC.
package nettest

import (
	"slices"
	"testing"

	"yohaku/internal/safetensors"
	"yohaku/model/backend/cpu"
	"yohaku/model/compile"
	"yohaku/model/op"
)

// CheckParams holds the parameters of b to the tensors of f: the same names and, converted, the same shapes. rename
// gives a parameter's name from a tensor's, "" for tensors that are none; nil is no change.
func CheckParams(t testing.TB, b *op.Builder, f *safetensors.File, rename func(string) string) {
	t.Helper()
	want := map[string][]int{}
	for _, info := range f.Infos() {
		name := info.Name
		if rename != nil {
			name = rename(name)
		}
		if name != "" {
			want[name] = info.Shape
		}
	}
	for _, p := range b.Params() {
		shape, ok := want[p.Name()]
		if !ok {
			t.Errorf("parameter %s is not in %s", p.Name(), f.Name())
			continue
		}
		if got := FileShape(p.Shape()); !slices.Equal(got, shape) {
			t.Errorf("parameter %s: shape %v in files, want %v", p.Name(), got, shape)
		}
		delete(want, p.Name())
	}
	for name := range want {
		t.Errorf("tensor %s of %s is not a parameter", name, f.Name())
	}
}

// FileShape gives the shape in files of a parameter with the given shape in the engine: OIHW for HWIO.
func FileShape(s []int) []int {
	if len(s) != 4 {
		return slices.Clone(s)
	}
	return []int{s[3], s[2], s[0], s[1]}
}

// NHWC writes src [B,C,H,W] to dst [B,H,W,C].
func NHWC(dst, src []float32, b, c, h, w int) { permute(dst, src, b, c, h*w) }

// NCHW returns src [B,H,W,C] as [B,C,H,W].
func NCHW(src []float32, b, c, h, w int) []float32 {
	dst := make([]float32, len(src))
	permute(dst, src, b, h*w, c)
	return dst
}

// permute swaps the last two axes: src [b,m,n] → dst [b,n,m].
func permute(dst, src []float32, b, m, n int) {
	for k := range b {
		for i := range m {
			for j := range n {
				dst[(k*n+j)*m+i] = src[(k*m+i)*n+j]
			}
		}
	}
}

// FileLayout returns a parameter's or gradient's values in the layout of files.
func FileLayout(x []float32, shape []int) []float32 {
	if len(shape) != 4 {
		return slices.Clone(x)
	}
	out := make([]float32, len(x))
	permute(out, x, 1, shape[0]*shape[1], shape[2]*shape[3]) // [hw, io] → [io, hw]
	swapped := make([]float32, len(x))
	hw := shape[0] * shape[1]
	for i := range shape[2] {
		for o := range shape[3] {
			copy(swapped[(o*shape[2]+i)*hw:(o*shape[2]+i+1)*hw], out[(i*shape[3]+o)*hw:(i*shape[3]+o+1)*hw])
		}
	}
	return swapped
}

// EngineLayout is the inverse of FileLayout: file values of a parameter with the given engine shape, into dst.
func EngineLayout(dst, x []float32, shape []int) {
	if len(shape) != 4 {
		copy(dst, x)
		return
	}
	hw, in, out := shape[0]*shape[1], shape[2], shape[3]
	for o := range out {
		for i := range in {
			for p := range hw {
				dst[(p*in+i)*out+o] = x[(o*in+i)*hw+p]
			}
		}
	}
}

// Program is a compiled network with weights.
type Program struct {
	*compile.Executable
	t testing.TB
}

// Compile compiles outputs and grads of b on the CPU and fills the parameters from f, whose tensors' names rename, if
// not nil, turns into parameters' names.
func Compile(t testing.TB, b *op.Builder, f *safetensors.File, rename func(string) string, outputs, grads []op.Node) Program {
	t.Helper()
	be := cpu.New(2)
	t.Cleanup(be.Close)
	e, err := compile.Compile(b, be, outputs, grads, compile.Options{Debug: true})
	if err != nil {
		t.Fatal(err)
	}
	Load(t, e.Params(), e.ParamSlab(), f, rename)
	return Program{Executable: e, t: t}
}

// Load fills the parameters in slab from f, whose tensors' names rename, if not nil, turns into parameters' names.
func Load(t testing.TB, params []compile.ParamInfo, slab []float32, f *safetensors.File, rename func(string) string) {
	t.Helper()
	tensor := map[string]string{}
	for _, info := range f.Infos() {
		name := info.Name
		if rename != nil {
			name = rename(name)
		}
		tensor[name] = info.Name
	}
	for _, info := range params {
		x := make([]float32, info.Len)
		if err := f.Float32(tensor[info.Name], x); err != nil {
			t.Fatal(err)
		}
		EngineLayout(slab[info.Offset:info.Offset+info.Len], x, info.Shape)
	}
}

// Run runs the program and returns its gradients by parameter or input, in the layout of files, input gradients as
// the engine has them.
func (p Program) Run() map[string][]float32 {
	p.t.Helper()
	grads := map[string][]float32{}
	order := p.GradOrder()
	err := p.Executable.Run(func(i int, grad []float32) {
		if order[i].Offset < 0 {
			grads[order[i].Name] = slices.Clone(grad)
		} else {
			grads[order[i].Name] = FileLayout(grad, order[i].Shape)
		}
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return grads
}
