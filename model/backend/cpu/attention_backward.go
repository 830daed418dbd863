package cpu

import (
	"yohaku/model/backend"
	"yohaku/model/kernel"
	"yohaku/model/op"
)

// attentionBackward recomputes the probabilities P of each tile of queries from the logarithms of the
// sums, and with D = Σ_c do·o, row by row:
//
//	dv = Pᵀ·do,  dS = scale·P∘(do·vᵀ − D),  dq = dS·k,  dk = dSᵀ·q
//
// One task is a (sample, head), whose tiles add to dk and dv in order.
func (be *Backend) attentionBackward(d op.Attention, in []op.Shape) backend.Kernel {
	s := attentionShapeOf(d, in)
	size := s.tile * s.keys
	return backend.Kernel{Scratch: 2 * be.pool.Threads() * size, Bind: func(a backend.Args) func() error {
		run := &attentionBackwardRun{attentionShape: s, q: a.In[0], k: a.In[1], v: a.In[2], o: a.In[3], sums: a.In[4], do: a.In[5],
			dq: a.Out[0], dk: a.Out[1], dv: a.Out[2], threads: be.attentionThreads(a.Scratch, size, 2)}
		task := run.head
		return func() error {
			be.pool.Run(s.batch*s.heads, task)
			return nil
		}
	}}
}

type attentionBackwardRun struct {
	attentionShape
	q, k, v, o, sums, do []float32
	dq, dk, dv           []float32
	threads              []attentionThread
}

func (n *attentionBackwardRun) head(t, thread int) {
	w := &n.threads[thread]
	sample, h := t/n.heads, t%n.heads
	for first := 0; first < n.queries; first += n.tile {
		n.tileOf(w, sample, h, first, min(n.tile, n.queries-first))
	}
}

func (n *attentionBackwardRun) tileOf(w *attentionThread, sample, h, first, m int) {
	queries, keys := n.at(sample, h, n.queries, first), n.at(sample, h, n.keys, 0)
	w.scoresOf(&n.attentionShape, n.q[queries:], n.k[keys:], m)
	w.gemm = kernel.GemmArgs{M: m, K: n.dim, N: n.keys, A: n.do[queries:], LDA: n.channels, B: n.v[keys:], LDB: n.channels, TransB: true, C: w.other, LDC: n.keys}
	kernel.GemmSerial(&w.gemm, w.scratch)
	for r := range m {
		at := queries + r*n.channels
		n.row(w, r, first, n.sums[(sample*n.heads+h)*n.queries+first+r], dot(n.do[at:][:n.dim], n.o[at:][:n.dim]))
	}
	w.gemm = kernel.GemmArgs{M: m, K: n.keys, N: n.dim, A: w.other, LDA: n.keys, B: n.k[keys:], LDB: n.channels, C: n.dq[queries:], LDC: n.channels}
	kernel.GemmSerial(&w.gemm, w.scratch)
	n.addTransposed(w, n.dk, keys, w.other, n.q[queries:], m, first > 0)
	n.addTransposed(w, n.dv, keys, w.scores, n.do[queries:], m, first > 0)
}

// row turns a row of scores into P and one of do·vᵀ into dS.
func (n *attentionBackwardRun) row(w *attentionThread, r, first int, sum, d float32) {
	p, ds := w.scores[r*n.keys:(r+1)*n.keys], w.other[r*n.keys:(r+1)*n.keys]
	if n.causal {
		seen := first + r + 1
		clear(p[seen:])
		clear(ds[seen:])
		p, ds = p[:seen], ds[:seen]
	}
	ds = ds[:len(p)]
	for i, v := range p {
		e := exp32(float32(n.scale*v) - sum)
		p[i] = e
		ds[i] = n.scale * float32(e*(ds[i]-d))
	}
}

// addTransposed is dst (+)= aᵀ·b for a [m,keys] and b [m,dim]; a dst that nobody needs is nil.
func (n *attentionBackwardRun) addTransposed(w *attentionThread, dst []float32, at int, a, b []float32, m int, accumulate bool) {
	if dst == nil {
		return
	}
	w.gemm = kernel.GemmArgs{M: n.keys, K: m, N: n.dim, A: a, LDA: n.keys, TransA: true, B: b, LDB: n.channels, C: dst[at:], LDC: n.channels, Accumulate: accumulate}
	kernel.GemmSerial(&w.gemm, w.scratch)
}

func dot(x, y []float32) float32 {
	var s float64
	y = y[:len(x)]
	for i, v := range x {
		s += float64(float64(v) * float64(y[i]))
	}
	return float32(s)
}
