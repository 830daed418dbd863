package cpu

import (
	"math"

	"yohaku/model/backend"
	"yohaku/model/kernel"
	"yohaku/model/op"
)

// layerNorm is a row at a time: mean and variance in float64, then a line by row and channel.
func (be *Backend) layerNorm(d op.LayerNorm, in []op.Shape) backend.Kernel {
	n, c := rows(in[0]), last(in[0])
	return backend.Kernel{InPlace: []int{0}, Bind: func(a backend.Args) func() error {
		x, gamma, beta, y, stats := a.In[0], a.In[1], a.In[2], a.Out[0], statsOf(a)
		return be.over(n, c, func(lo, hi int) {
			for r := lo; r < hi; r++ {
				row := x[r*c : (r+1)*c]
				m, variance := kernel.Moments(row)
				mean, inverse := float32(m), float32(1/math.Sqrt(variance+d.Eps))
				if stats != nil {
					stats[2*r], stats[2*r+1] = mean, inverse
				}
				kernel.NormRow(y[r*c:(r+1)*c], row, gamma, beta, mean, inverse)
			}
		})
	}}
}

// layerNormBackward, with x̂ = (x−mean)·r:
//
//	dbeta = Σ dy,  dgamma = Σ dy·x̂,  dx = r·(γ·dy − mean(γ·dy) − x̂·mean(γ·dy·x̂))
//
// the means over a row, the sums over rows in chunks.
func (be *Backend) layerNormBackward(in []op.Shape) backend.Kernel {
	n, c := rows(in[0]), last(in[0])
	count, size := sumChunks(n)
	return backend.Kernel{Scratch: 4 * count * c, InPlace: []int{3, 0}, Bind: func(a backend.Args) func() error {
		x, gamma, stats, dy, dx := a.In[0], a.In[1], a.In[2], a.In[3], a.Out[0]
		betas := doubles(a.Scratch[:2*count*c])
		gammas := doubles(a.Scratch[2*count*c:])
		chunk := func(t, _ int) {
			db, dg := betas[t*c:(t+1)*c], gammas[t*c:(t+1)*c]
			clear(db)
			clear(dg)
			for r := t * size; r < min(n, (t+1)*size); r++ {
				kernel.LayerNormGrad(dx[r*c:(r+1)*c], db, dg, x[r*c:(r+1)*c], dy[r*c:(r+1)*c], gamma, stats[2*r], stats[2*r+1])
			}
		}
		return func() error {
			be.pool.Run(count, chunk)
			if a.Out[1] != nil {
				combine(a.Out[1], gammas, count, c)
			}
			if a.Out[2] != nil {
				combine(a.Out[2], betas, count, c)
			}
			return nil
		}
	}}
}
