package cpu

import (
	"yohaku/model/backend"
	"yohaku/model/kernel"
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
	case op.ErrorProduct:
		return be.errorProduct(in), true
	case op.PairLoss:
		return pairLoss(d.Objective, in[1][0]), true
	case op.PairLossBackward:
		return pairLossBackward(d.Objective, in[2][0]), true
	case op.TimestepEmbedding:
		return timestepEmbedding(d, in[0][0]), true
	case op.Embedding:
		return be.embedding(in), true
	case op.EmbeddingBackward:
		return embeddingBackward(in), true
	case op.PrependRow:
		return prependRow(in), true
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
			kernel.ColumnSums(sum, x[s*positions*c:(s+1)*positions*c])
			for j, v := range sum {
				y[s*c+j] = float32(v)
			}
		}
		return func() error { be.pool.Run(b, sample); return nil }
	}}
}
