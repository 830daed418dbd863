package cpu

import (
	"yohaku/model/backend"
	"yohaku/model/kernel"
	"yohaku/model/op"
)

// movement chooses among the operators that only move values.
func (be *Backend) movement(d op.Def, in []op.Shape) (backend.Kernel, bool) {
	switch d := d.(type) {
	case op.Concat:
		return be.concat(in), true
	case op.Split:
		return be.split(d.At, in), true
	case op.Slice:
		return be.slice(d, in), true
	case op.SliceBackward:
		return be.sliceBackward(d, in), true
	case op.ToNHWC:
		return be.transpose(in[0][0], in[0][1], in[0][2]*in[0][3]), true
	case op.ToNCHW:
		return be.transpose(in[0][0], in[0][1]*in[0][2], in[0][3]), true
	case op.Repeat:
		return be.repeat(d.Times), true
	case op.RepeatBackward:
		return be.repeatBackward(d.Times), true
	case op.Upsample2x:
		return be.upsample(in[0]), true
	case op.Upsample2xBackward:
		return be.upsampleBackward(in[0]), true
	}
	return backend.Kernel{}, false
}

func (be *Backend) concat(in []op.Shape) backend.Kernel {
	n, c, e := rows(in[0]), last(in[0]), last(in[1])
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		x, z, y := a.In[0], a.In[1], a.Out[0]
		return be.over(n, c+e, func(lo, hi int) {
			for r := lo; r < hi; r++ {
				copy(y[r*(c+e):][:c], x[r*c:])
				copy(y[r*(c+e)+c:][:e], z[r*e:])
			}
		})
	}}
}

func (be *Backend) split(at int, in []op.Shape) backend.Kernel {
	n, c := rows(in[0]), last(in[0])
	e := c - at
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		x := a.In[0]
		return be.over(n, c, func(lo, hi int) {
			for r := lo; r < hi; r++ {
				if a.Out[0] != nil {
					copy(a.Out[0][r*at:][:at], x[r*c:])
				}
				if a.Out[1] != nil {
					copy(a.Out[1][r*e:][:e], x[r*c+at:])
				}
			}
		})
	}}
}

func (be *Backend) slice(d op.Slice, in []op.Shape) backend.Kernel {
	n, c, w := rows(in[0]), last(in[0]), d.To-d.From
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		x, y := a.In[0], a.Out[0]
		return be.over(n, w, func(lo, hi int) {
			for r := lo; r < hi; r++ {
				copy(y[r*w:][:w], x[r*c+d.From:])
			}
		})
	}}
}

func (be *Backend) sliceBackward(d op.SliceBackward, in []op.Shape) backend.Kernel {
	n, w, c := rows(in[0]), last(in[0]), d.Channels
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		dy, dx := a.In[0], a.Out[0]
		return be.over(n, c, func(lo, hi int) {
			clear(dx[lo*c : hi*c])
			for r := lo; r < hi; r++ {
				copy(dx[r*c+d.From:][:w], dy[r*w:])
			}
		})
	}}
}

// transpose turns each of b matrices [n,m] into [m,n].
func (be *Backend) transpose(b, n, m int) backend.Kernel {
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		x, y := a.In[0], a.Out[0]
		return be.over(b*m, n, func(lo, hi int) {
			for r := lo; r < hi; r++ {
				src, dst := x[r/m*n*m+r%m:], y[r*n:][:n]
				for i := range dst {
					dst[i] = src[i*m]
				}
			}
		})
	}}
}

func (be *Backend) repeat(times int) backend.Kernel {
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		x, y := a.In[0], a.Out[0]
		return be.over(len(x), times, func(lo, hi int) {
			for i := range times {
				copy(y[i*len(x)+lo:i*len(x)+hi], x[lo:hi])
			}
		})
	}}
}

func (be *Backend) repeatBackward(times int) backend.Kernel {
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		dy, dx := a.In[0], a.Out[0]
		n := len(dx)
		return be.over(n, times, func(lo, hi int) {
			copy(dx[lo:hi], dy[lo:hi])
			for i := 1; i < times; i++ {
				kernel.Add(dx[lo:hi], dx[lo:hi], dy[i*n+lo:i*n+hi])
			}
		})
	}}
}

func (be *Backend) upsample(s op.Shape) backend.Kernel {
	h, w, c := s[1], s[2], s[3]
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		x, y := a.In[0], a.Out[0]
		return be.over(s[0]*2*h, 2*w*c, func(lo, hi int) {
			for r := lo; r < hi; r++ {
				src := x[(r/(2*h)*h+r%(2*h)/2)*w*c:][:w*c]
				dst := y[r*2*w*c:][:2*w*c]
				for j := range w {
					copy(dst[2*j*c:][:c], src[j*c:])
					copy(dst[(2*j+1)*c:][:c], src[j*c:])
				}
			}
		})
	}}
}

func (be *Backend) upsampleBackward(s op.Shape) backend.Kernel {
	h, w, c := s[1]/2, s[2]/2, s[3]
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		dy, dx := a.In[0], a.Out[0]
		return be.over(s[0]*h, w*c, func(lo, hi int) {
			for r := lo; r < hi; r++ {
				top := dy[2*r*2*w*c:][:2*w*c]
				bottom := dy[(2*r+1)*2*w*c:][:2*w*c]
				dst := dx[r*w*c:][:w*c]
				for i := range dst {
					at := i/c*2*c + i%c
					dst[i] = (top[at] + top[at+c]) + (bottom[at] + bottom[at+c])
				}
			}
		})
	}}
}
