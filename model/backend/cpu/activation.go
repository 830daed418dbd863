package cpu

import (
	"yohaku/model/backend"
	"yohaku/model/op"
)

var activations = [...]func(y, x []float32){
	op.KindSiLU: func(y, x []float32) {
		for i, v := range x {
			y[i] = v * sigmoid32(v)
		}
	},
	op.KindGELU: func(y, x []float32) {
		for i, v := range x {
			y[i] = v * normal32(v)
		}
	},
	op.KindQuickGELU: func(y, x []float32) {
		for i, v := range x {
			y[i] = v * sigmoid32(1.702*v)
		}
	},
}

var activationGradients = [...]func(dx, x, dy []float32){
	op.KindSiLU: func(dx, x, dy []float32) {
		for i, v := range x {
			dx[i] = dy[i] * siluSlope(v)
		}
	},
	op.KindGELU: func(dx, x, dy []float32) {
		for i, v := range x {
			dx[i] = dy[i] * geluSlope(v)
		}
	},
	op.KindQuickGELU: func(dx, x, dy []float32) {
		for i, v := range x {
			s := sigmoid32(1.702 * v)
			dx[i] = dy[i] * (s + float32(float32(1.702*v)*float32(s*(1-s))))
		}
	},
}

// siluSlope is d/dx x·σ(x) = σ·(1 + x·(1−σ)).
func siluSlope(x float32) float32 {
	s := sigmoid32(x)
	return s * (1 + float32(x*(1-s)))
}

// geluSlope is d/dx x·Φ(x) = Φ + x·φ.
func geluSlope(x float32) float32 { return normal32(x) + float32(x*density32(x)) }

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
				value, gate, dst := x[2*r*c:][:c], x[(2*r+1)*c:][:c], y[r*c:][:c]
				for j, g := range gate {
					dst[j] = value[j] * float32(g*normal32(g))
				}
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
				gegluRowBackward(dx[2*r*c:][:2*c], x[2*r*c:][:2*c], dy[r*c:][:c])
			}
		})
	}}
}

func gegluRowBackward(dx, x, dy []float32) {
	c := len(dy)
	for j, d := range dy {
		v, g := x[j], x[c+j]
		p := normal32(g)
		dx[j] = d * float32(g*p)
		dx[c+j] = d * float32(v*(p+float32(g*density32(g))))
	}
}
