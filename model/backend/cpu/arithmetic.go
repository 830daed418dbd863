package cpu

import (
	"yohaku/model/backend"
	"yohaku/model/kernel"
	"yohaku/model/op"
)

// arithmetic chooses among the elementwise operators that are no activation.
func (be *Backend) arithmetic(d op.Def, in []op.Shape) (backend.Kernel, bool) {
	switch d := d.(type) {
	case op.Add:
		return be.add(), true
	case op.AddBroadcast:
		return be.addBroadcast(in), true
	case op.AddPosition:
		return be.addPosition(in), true
	case op.Scale:
		by := float32(d.By)
		return backend.Kernel{InPlace: []int{0}, Bind: func(a backend.Args) func() error {
			x, y := a.In[0], a.Out[0]
			return be.over(len(y), 1, func(lo, hi int) { kernel.Scale(y[lo:hi], x[lo:hi], by) })
		}}, true
	case op.Fill:
		by := float32(d.By)
		return backend.Kernel{Bind: func(a backend.Args) func() error {
			x, y := a.In[0], a.Out[0]
			return be.over(len(y), 1, func(lo, hi int) {
				v := by * x[0]
				for i := lo; i < hi; i++ {
					y[i] = v
				}
			})
		}}, true
	case op.MSEPerSampleBackward:
		return be.mseBackward(in), true
	}
	return backend.Kernel{}, false
}

func (be *Backend) add() backend.Kernel {
	return backend.Kernel{InPlace: []int{0, 1}, Bind: func(a backend.Args) func() error {
		x, z, y := a.In[0], a.In[1], a.Out[0]
		return be.over(len(y), 1, func(lo, hi int) { kernel.Add(y[lo:hi], x[lo:hi], z[lo:hi]) })
	}}
}

func (be *Backend) addBroadcast(in []op.Shape) backend.Kernel {
	n, c := rows(in[0]), last(in[0])
	positions := n / in[0][0]
	return backend.Kernel{InPlace: []int{0}, Bind: func(a backend.Args) func() error {
		x, t, y := a.In[0], a.In[1], a.Out[0]
		return be.over(n, c, func(lo, hi int) {
			for r := lo; r < hi; r++ {
				kernel.Add(y[r*c:(r+1)*c], x[r*c:(r+1)*c], t[r/positions*c:][:c])
			}
		})
	}}
}

func (be *Backend) addPosition(in []op.Shape) backend.Kernel {
	b, n := in[0][0], in[1].TotalSize()
	return backend.Kernel{InPlace: []int{0}, Bind: func(a backend.Args) func() error {
		x, p, y := a.In[0], a.In[1], a.Out[0]
		return be.over(b, n, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				kernel.Add(y[i*n:(i+1)*n], x[i*n:(i+1)*n], p)
			}
		})
	}}
}

func (be *Backend) mseBackward(in []op.Shape) backend.Kernel {
	b := in[0][0]
	n := in[0].TotalSize() / b
	return backend.Kernel{InPlace: []int{0}, Bind: func(a backend.Args) func() error {
		pred, target, dm, dx := a.In[0], a.In[1], a.In[2], a.Out[0]
		return be.over(b, n, func(lo, hi int) {
			for s := lo; s < hi; s++ {
				f := float32(2 * float64(dm[s]) / float64(n))
				for i := s * n; i < (s+1)*n; i++ {
					dx[i] = f * (pred[i] - target[i])
				}
			}
		})
	}}
}
