package cpu

import (
	"yohaku/model/backend"
	"yohaku/model/backend/cpu/vector"
	"yohaku/model/kernel"
	"yohaku/model/op"
)

// attentionBackward recomputes the probabilities P of each tile of queries from the logarithms of the
// sums, and with D = Σ_c do·o, query by query:
//
//	dv = Pᵀ·do,  dS = scale·P∘(do·vᵀ − D),  dq = dS·k,  dk = dSᵀ·q
//
// One task is a (sample, head), whose tiles add to dk and dv in order.
func (be *Backend) attentionBackward(d op.Attention, in []op.Shape) backend.Kernel {
	s := attentionShapeOf(d, in)
	each := s.tile*(2*s.keys+s.dim+1) + 2*s.dim*s.keys
	return backend.Kernel{Scratch: be.pool.Threads() * each, Bind: func(a backend.Args) func() error {
		run := &attentionBackwardRun{attentionShape: s, q: a.In[0], k: a.In[1], v: a.In[2], o: a.In[3], lse: a.In[4], do: a.In[5],
			dq: a.Out[0], dk: a.Out[1], dv: a.Out[2]}
		memory := carve{a.Scratch}
		for i := range be.pool.Threads() {
			w := attentionBackwardThread{p: memory.take(s.tile * s.keys), ds: memory.take(s.tile * s.keys), dq: memory.take(s.tile * s.dim),
				d: memory.take(s.tile), dk: memory.take(s.dim * s.keys), dv: memory.take(s.dim * s.keys)}
			w.scratch = &be.scratch[i]
			run.threads = append(run.threads, w)
		}
		task := run.head
		return func() error {
			be.pool.Run(s.batch*s.heads, task)
			return nil
		}
	}}
}

type attentionBackwardRun struct {
	attentionShape
	q, k, v, o, lse, do []float32
	dq, dk, dv          []float32
	threads             []attentionBackwardThread
}

type attentionBackwardThread struct {
	attentionThread
	p, ds  []float32 // [keys, tile]
	dq     []float32 // [dim, tile]
	d      []float32 // [tile]
	dk, dv []float32 // [dim, keys]
}

func (n *attentionBackwardRun) head(t, thread int) {
	w := &n.threads[thread]
	sample, h := t/n.heads, t%n.heads
	for first := 0; first < n.queries; first += n.tile {
		n.tileOf(w, sample, h, first, min(n.tile, n.queries-first))
	}
	keys := n.at(sample, h, n.keys, 0)
	n.turn(n.dk, keys, w.dk, n.keys)
	n.turn(n.dv, keys, w.dv, n.keys)
}

func (n *attentionBackwardRun) tileOf(w *attentionBackwardThread, sample, h, first, m int) {
	queries, keys := n.at(sample, h, n.queries, first), n.at(sample, h, n.keys, 0)
	w.scoresOf(&n.attentionShape, w.p, n.q[queries:], n.k[keys:], m)
	w.scoresOf(&n.attentionShape, w.ds, n.do[queries:], n.v[keys:], m)
	for i := range m {
		at := queries + i*n.channels
		w.d[i] = dot(n.do[at:][:n.dim], n.o[at:][:n.dim])
	}
	n.gradient(w, n.lse[(sample*n.heads+h)*n.queries+first:][:m], first, m)
	w.multiply(kernel.GemmArgs{M: n.dim, K: n.keys, N: m, A: n.k[keys:], LDA: n.channels, TransA: true, B: w.ds, LDB: m, C: w.dq, LDC: m})
	n.turn(n.dq, queries, w.dq, m)
	n.addTurned(w, w.dk, n.q[queries:], w.ds, m, first > 0)
	n.addTurned(w, w.dv, n.do[queries:], w.p, m, first > 0)
}

// gradient turns scores into P and do·vᵀ into dS.
func (n *attentionBackwardRun) gradient(w *attentionBackwardThread, lse []float32, first, m int) {
	for j := range n.keys {
		from := n.visible(j, first, m)
		clear(w.p[j*m : j*m+from])
		clear(w.ds[j*m : j*m+from])
		vector.SoftmaxGradient(w.p[j*m+from:(j+1)*m], w.ds[j*m+from:(j+1)*m], lse[from:], w.d[from:m], n.scale)
	}
}

// addTurned is dst [dim, keys] (+)= xᵀ·sᵀ for the rows x [m, dim] of a head and s [keys, m].
func (n *attentionBackwardRun) addTurned(w *attentionBackwardThread, dst, x, s []float32, m int, accumulate bool) {
	w.multiply(kernel.GemmArgs{M: n.dim, K: m, N: n.keys, A: x, LDA: n.channels, TransA: true, B: s, LDB: m, TransB: true, C: dst, LDC: n.keys, Accumulate: accumulate})
}

// turn writes src [dim, rows] to the rows of a head in dst, which is nil when nobody needs it.
func (s *attentionShape) turn(dst []float32, at int, src []float32, rows int) {
	if dst == nil {
		return
	}
	for i := range rows {
		row := dst[at+i*s.channels:][:s.dim]
		for c := range row {
			row[c] = src[c*rows+i]
		}
	}
}

func dot(x, y []float32) float32 {
	var s float64
	y = y[:len(x)]
	for i, v := range x {
		s += float64(float64(v) * float64(y[i]))
	}
	return float32(s)
}
