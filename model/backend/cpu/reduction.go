package cpu

import (
	"fmt"
	"math"

	"yohaku/model/backend"
	"yohaku/model/backend/cpu/vector"
	"yohaku/model/kernel"
	"yohaku/model/objective"
	"yohaku/model/op"
)

// reduction chooses among sums, lookups and losses.
func (be *Backend) reduction(d op.Def, in []op.Shape) (backend.Kernel, bool) {
	switch d := d.(type) {
	case op.Sum:
		return be.sum(in, 1), true
	case op.Mean:
		return be.sum(in, 1/float64(in[0].TotalSize())), true
	case op.SumPositions:
		return be.sumPositions(in), true
	case op.SumBatch:
		n, c := in[0][0], in[0].TotalSize()/in[0][0]
		return backend.Kernel{Scratch: columnScratch(n, c), Bind: func(a backend.Args) func() error {
			run := be.columnSums(a.Out[0], a.In[0], n, c, a.Scratch)
			return func() error { run(); return nil }
		}}, true
	case op.MSEPerSample:
		return be.mse(in), true
	case op.MaPO:
		return mapo(d.Objective, in[0][0]/2), true
	case op.MaPOBackward:
		return mapoBackward(d.Objective, in[0][0]/2), true
	case op.TimestepEmbedding:
		return timestepEmbedding(d, in[0][0]), true
	case op.Embedding:
		return be.embedding(in), true
	case op.EmbeddingBackward:
		return embeddingBackward(in), true
	case op.TakeRow:
		return takeRow(in), true
	case op.TakeRowBackward:
		return takeRowBackward(d.Input), true
	}
	return backend.Kernel{}, false
}

// sum is factor·Σx, by chunks of leastSumRows·64 elements or more.
func (be *Backend) sum(in []op.Shape, factor float64) backend.Kernel {
	n := in[0].TotalSize()
	const row = 64
	count, size := sumChunks((n + row - 1) / row)
	return backend.Kernel{Scratch: 2 * count, Bind: func(a backend.Args) func() error {
		x, parts := a.In[0], doubles(a.Scratch)
		chunk := func(t, _ int) {
			var s float64
			for _, v := range x[min(n, t*size*row):min(n, (t+1)*size*row)] {
				s += float64(v)
			}
			parts[t] = s
		}
		return func() error {
			be.pool.Run(count, chunk)
			var s float64
			for _, p := range parts[:count] {
				s += p
			}
			a.Out[0][0] = float32(s * factor)
			return nil
		}
	}}
}

// sumPositions is one task a sample: [B,P,C] → [B,C].
func (be *Backend) sumPositions(in []op.Shape) backend.Kernel {
	b, c := in[0][0], last(in[0])
	positions := rows(in[0]) / b
	return backend.Kernel{Scratch: 2 * b * c, Bind: func(a backend.Args) func() error {
		x, y, parts := a.In[0], a.Out[0], doubles(a.Scratch)
		sample := func(s, _ int) {
			sum := parts[s*c : (s+1)*c]
			vector.ColumnSums(sum, x[s*positions*c:], positions, c)
			for j, v := range sum {
				y[s*c+j] = float32(v)
			}
		}
		return func() error { be.pool.Run(b, sample); return nil }
	}}
}

func (be *Backend) mse(in []op.Shape) backend.Kernel {
	b := in[0][0]
	n := in[0].TotalSize() / b
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		x, z, y := a.In[0], a.In[1], a.Out[0]
		sample := func(s, _ int) {
			var sum float64
			target := z[s*n : (s+1)*n]
			for i, v := range x[s*n : (s+1)*n] {
				e := float64(v) - float64(target[i])
				sum += float64(e * e)
			}
			y[s] = float32(sum / float64(n))
		}
		return func() error { be.pool.Run(b, sample); return nil }
	}}
}

func mapo(c objective.Config, pairs int) backend.Kernel {
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		m, stats := a.In[0], []float32(nil)
		if len(a.Out) > 1 {
			stats = a.Out[1]
		}
		return func() error {
			var sum float64
			for i := range pairs {
				p := c.Pair(float64(m[i]), float64(m[pairs+i]))
				sum += p.Loss
				if stats != nil {
					s := stats[i*op.MaPOStats:][:op.MaPOStats]
					s[op.StatWinnerMSE], s[op.StatLoserMSE] = m[i], m[pairs+i]
					s[op.StatLogOdds], s[op.StatRatio], s[op.StatLoss] = float32(p.LogOdds), float32(p.Ratio), float32(p.Loss)
				}
			}
			a.Out[0][0] = float32(sum)
			return nil
		}
	}}
}

func mapoBackward(c objective.Config, pairs int) backend.Kernel {
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		m, dloss, dm := a.In[0], a.In[1], a.Out[0]
		return func() error {
			for i := range pairs {
				p := c.Pair(float64(m[i]), float64(m[pairs+i]))
				dm[i] = float32(float64(dloss[0]) * p.GradW)
				dm[pairs+i] = float32(float64(dloss[0]) * p.GradL)
			}
			return nil
		}
	}}
}

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
