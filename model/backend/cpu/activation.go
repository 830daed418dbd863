package cpu

import (
	"yohaku/model/backend"
	"yohaku/model/kernel"
	"yohaku/model/op"
)

var activations = [...]func(y, x []float32){
	op.KindSiLU:      kernel.SiLU,
	op.KindGELU:      kernel.GELU,
	op.KindQuickGELU: kernel.QuickGELU,
}

var activationGradients = [...]func(dx, x, dy []float32){
	op.KindSiLU:      kernel.SiLUGrad,
	op.KindGELU:      kernel.GELUGrad,
	op.KindQuickGELU: kernel.QuickGELUGrad,
}

func (be *Backend) activation(kind op.ActivationKind) backend.Kernel {
	f := activations[kind]
	return backend.Kernel{InPlace: []int{0}, Bind: func(a backend.Args) func() error {
		x, y := a.In[0], a.Out[0]
		return be.over(len(y), 1, func(lo, hi int) { f(y[lo:hi], x[lo:hi]) })
	}}
}

func (be *Backend) activationBackward(kind op.ActivationKind) backend.Kernel {
	f := activationGradients[kind]
	return backend.Kernel{InPlace: []int{1, 0}, Bind: func(a backend.Args) func() error {
		x, dy, dx := a.In[0], a.In[1], a.Out[0]
		return be.over(len(dx), 1, func(lo, hi int) { f(dx[lo:hi], x[lo:hi], dy[lo:hi]) })
	}}
}

func (be *Backend) geglu(in []op.Shape) backend.Kernel {
	n, c := rows(in[0]), last(in[0])/2
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		x, y := a.In[0], a.Out[0]
		return be.over(n, c, func(lo, hi int) {
			for r := lo; r < hi; r++ {
				kernel.GEGLU(y[r*c:][:c], x[2*r*c:][:c], x[(2*r+1)*c:][:c])
			}
		})
	}}
}

func (be *Backend) gegluBackward(in []op.Shape) backend.Kernel {
	n, c := rows(in[0]), last(in[0])/2
	return backend.Kernel{InPlace: []int{0}, Bind: func(a backend.Args) func() error {
		x, dy, dx := a.In[0], a.In[1], a.Out[0]
		return be.over(n, c, func(lo, hi int) {
			for r := lo; r < hi; r++ {
				kernel.GEGLUGrad(dx[2*r*c:][:c], dx[(2*r+1)*c:][:c], x[2*r*c:][:c], x[(2*r+1)*c:][:c], dy[r*c:][:c])
			}
		})
	}}
}
