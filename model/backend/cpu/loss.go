package cpu

import (
	"yohaku/model/backend"
	"yohaku/model/objective"
	"yohaku/model/op"
)

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
