package cpu

import (
	"fmt"
	"math"

	"yohaku/model/backend"
	"yohaku/model/kernel"
	"yohaku/model/op"
)

// timestepEmbedding rounds to float32 wherever diffusers does.
func timestepEmbedding(d op.TimestepEmbedding, b int) backend.Kernel {
	period := d.MaxPeriod
	if period == 0 {
		period = 10000
	}
	half := d.Dim / 2
	frequency := make([]float32, half)
	for i := range frequency {
		e := float32(-math.Log(period)) * float32(i)
		e /= float32(float64(half) - d.FreqShift)
		frequency[i] = float32(math.Exp(float64(e)))
	}
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		t, y := a.In[0], a.Out[0]
		return func() error {
			for s := range b {
				row := y[s*d.Dim : (s+1)*d.Dim]
				clear(row)
				first, second := row[:half], row[half:]
				if d.FlipSinToCos {
					first, second = second, first
				}
				for i, f := range frequency {
					angle := float64(t[s] * f)
					first[i], second[i] = float32(math.Sin(angle)), float32(math.Cos(angle))
				}
			}
			return nil
		}
	}}
}

// index is v as a row number below n, or an error that names it.
func index(what string, v float32, n int) (int, error) {
	if i := int(v); v >= 0 && i < n && float32(i) == v {
		return i, nil
	}
	return 0, fmt.Errorf("%s must be a whole number from 0 to %d, got %v", what, n-1, v)
}

func (be *Backend) embedding(in []op.Shape) backend.Kernel {
	n, v, c := in[0].TotalSize(), in[1][0], in[1][1]
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		ids, table, y := a.In[0], a.In[1], a.Out[0]
		return func() error {
			for r := range n {
				i, err := index("id", ids[r], v)
				if err != nil {
					return err
				}
				copy(y[r*c:(r+1)*c], table[i*c:(i+1)*c])
			}
			return nil
		}
	}}
}

func embeddingBackward(in []op.Shape) backend.Kernel {
	n, c := in[0].TotalSize(), last(in[1])
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		ids, dy, dt := a.In[0], a.In[1], a.Out[0]
		return func() error {
			clear(dt)
			for r := range n {
				i, err := index("id", ids[r], len(dt)/c)
				if err != nil {
					return err
				}
				kernel.Add(dt[i*c:(i+1)*c], dt[i*c:(i+1)*c], dy[r*c:(r+1)*c])
			}
			return nil
		}
	}}
}

func takeRow(in []op.Shape) backend.Kernel {
	b, n, c := in[0][0], in[0][1], in[0][2]
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		x, at, y := a.In[0], a.In[1], a.Out[0]
		return func() error {
			for s := range b {
				i, err := index("row index", at[s], n)
				if err != nil {
					return err
				}
				copy(y[s*c:(s+1)*c], x[(s*n+i)*c:][:c])
			}
			return nil
		}
	}}
}

func takeRowBackward(x op.Shape) backend.Kernel {
	b, n, c := x[0], x[1], x[2]
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		at, dy, dx := a.In[0], a.In[1], a.Out[0]
		return func() error {
			clear(dx)
			for s := range b {
				i, err := index("row index", at[s], n)
				if err != nil {
					return err
				}
				copy(dx[(s*n+i)*c:][:c], dy[s*c:(s+1)*c])
			}
			return nil
		}
	}}
}

func prependRow(in []op.Shape) backend.Kernel {
	b, n := in[0][0], in[0][1]*in[0][2]
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		x, row, y := a.In[0], a.In[1], a.Out[0]
		return func() error {
			for s := range b {
				out := y[s*(len(row)+n):][:len(row)+n]
				copy(out, row)
				copy(out[len(row):], x[s*n:(s+1)*n])
			}
			return nil
		}
	}}
}
