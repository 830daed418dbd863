package cpu

import (
	"math"

	"yohaku/model/backend"
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
				mean, inverse := moments(row, d.Eps)
				if stats != nil {
					stats[2*r], stats[2*r+1] = mean, inverse
				}
				normalizeRow(y[r*c:(r+1)*c], row, gamma, beta, mean, inverse)
			}
		})
	}}
}

// moments returns the mean and 1/√(var+ε) of row.
func moments(row []float32, eps float64) (mean, inverse float32) {
	var sum, square float64
	for _, v := range row {
		sum += float64(v)
	}
	m := sum / float64(len(row))
	for _, v := range row {
		e := float64(v) - m
		square += float64(e * e)
	}
	return float32(m), float32(1 / math.Sqrt(square/float64(len(row))+eps))
}

func normalizeRow(y, x, gamma, beta []float32, mean, inverse float32) {
	y, gamma, beta = y[:len(x)], gamma[:len(x)], beta[:len(x)]
	for c, v := range x {
		y[c] = float32(float32((v-mean)*inverse)*gamma[c]) + beta[c]
	}
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
				layerNormRowBackward(dx[r*c:(r+1)*c], x[r*c:(r+1)*c], dy[r*c:(r+1)*c], gamma, stats[2*r], stats[2*r+1], db, dg)
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

func layerNormRowBackward(dx, x, dy, gamma []float32, mean, inverse float32, db, dg []float64) {
	n := len(x)
	dx, dy, gamma, db, dg = dx[:n], dy[:n], gamma[:n], db[:n], dg[:n]
	var sum, product float64
	for c, v := range x {
		h := float32((v - mean) * inverse)
		db[c] += float64(dy[c])
		dg[c] += float64(float64(dy[c]) * float64(h))
		g := float64(dy[c]) * float64(gamma[c])
		sum += g
		product += float64(g * float64(h))
	}
	m, p := float32(sum/float64(n)), float32(product/float64(n))
	for c, v := range x {
		h := float32((v - mean) * inverse)
		dx[c] = inverse * (float32(dy[c]*gamma[c]) - m - float32(h*p))
	}
}
