package cpu

import (
	"math"

	"yohaku/model/backend"
	"yohaku/model/backend/cpu/vector"
	"yohaku/model/kernel"
	"yohaku/model/op"
)

// Bounds of a tile of queries: the scores that a thread holds at a time stay within the second-level
// cache, unless the keys are so many that not even leastTile queries do.
const (
	tileScores = 48 << 10
	leastTile  = 32
)

// sumKeys is the number of keys whose exponentials are one float32 chain.
const sumKeys = 128

// attentionShape is one attention. Scores are held with a row for each key and a column for each query,
// so that softmax runs along vectors and no product has to turn them.
type attentionShape struct {
	batch, heads, queries, keys int
	channels, dim               int
	causal                      bool
	scale                       float32
	tile, tiles                 int // Queries in a tile, number of tiles.
}

func attentionShapeOf(d op.Attention, in []op.Shape) attentionShape {
	q, k := in[0], in[1]
	s := attentionShape{batch: q[0], heads: d.Heads, queries: q[1], keys: k[1], channels: q[2], dim: q[2] / d.Heads,
		causal: d.Causal, scale: float32(d.Factor(q[2]))}
	s.tile = min(s.queries, max(leastTile, tileScores/s.keys/leastTile*leastTile))
	s.tiles = (s.queries + s.tile - 1) / s.tile
	return s
}

// at is where row r of a head begins in [batch, length, channels].
func (s *attentionShape) at(sample, head, length, r int) int {
	return (sample*length+r)*s.channels + head*s.dim
}

// visible is the first query of a tile of m from first on that sees key j.
func (s *attentionShape) visible(j, first, m int) int {
	if !s.causal {
		return 0
	}
	return max(0, min(m, j-first))
}

// product is C = op(A)·op(B) in this thread.
type attentionThread struct {
	gemm    kernel.GemmArgs
	scratch *kernel.Scratch
}

func (w *attentionThread) multiply(g kernel.GemmArgs) {
	w.gemm = g
	kernel.GemmSerial(&w.gemm, w.scratch)
}

// scoresOf is Σ_c k[j,c]·q[i,c] for every key j and m queries i.
func (w *attentionThread) scoresOf(s *attentionShape, dst, q, k []float32, m int) {
	w.multiply(kernel.GemmArgs{M: s.keys, K: s.dim, N: m, A: k, LDA: s.channels, B: q, LDB: s.channels, TransB: true, C: dst, LDC: m})
}

// carve cuts pieces off memory.
type carve struct{ rest []float32 }

func (c *carve) take(n int) []float32 {
	s := c.rest[:n:n]
	c.rest = c.rest[n:]
	return s
}

// attention computes, for each tile of queries of a (sample, head), the scores, their softmax and the
// weighted sum of values.
func (be *Backend) attention(d op.Attention, in []op.Shape) backend.Kernel {
	s := attentionShapeOf(d, in)
	each := s.tile * (s.keys + s.dim + 3)
	return backend.Kernel{Scratch: be.pool.Threads() * each, Bind: func(a backend.Args) func() error {
		run := &attentionRun{attentionShape: s, q: a.In[0], k: a.In[1], v: a.In[2], o: a.Out[0], lse: statsOf(a)}
		memory := carve{a.Scratch}
		for i := range be.pool.Threads() {
			w := attentionForwardThread{scores: memory.take(s.tile * s.keys), turned: memory.take(s.tile * s.dim),
				most: memory.take(s.tile), sum: memory.take(s.tile), part: memory.take(s.tile)}
			w.scratch = &be.scratch[i]
			run.threads = append(run.threads, w)
		}
		task := run.tileOf
		return func() error {
			be.pool.Run(s.batch*s.heads*s.tiles, task)
			return nil
		}
	}}
}

type attentionRun struct {
	attentionShape
	q, k, v, o, lse []float32
	threads         []attentionForwardThread
}

type attentionForwardThread struct {
	attentionThread
	scores          []float32 // [keys, tile]
	turned          []float32 // [dim, tile]
	most, sum, part []float32 // [tile]
}

func (n *attentionRun) tileOf(t, thread int) {
	w := &n.threads[thread]
	head, first := t/n.tiles, t%n.tiles*n.tile
	sample, h := head/n.heads, head%n.heads
	m := min(n.tile, n.queries-first)
	queries, keys := n.at(sample, h, n.queries, first), n.at(sample, h, n.keys, 0)
	w.scoresOf(&n.attentionShape, w.scores, n.q[queries:], n.k[keys:], m)
	n.softmax(w, first, m)
	if n.lse != nil {
		lse := n.lse[(sample*n.heads+h)*n.queries+first:][:m]
		for i := range lse {
			lse[i] = float32(float64(w.most[i]) + math.Log(float64(w.sum[i])))
		}
	}
	w.multiply(kernel.GemmArgs{M: n.dim, K: n.keys, N: m, A: n.v[keys:], LDA: n.channels, TransA: true, B: w.scores, LDB: m, C: w.turned, LDC: m})
	for i := range w.sum[:m] {
		w.sum[i] = 1 / w.sum[i]
	}
	n.writeTurned(n.o[queries:], w.turned, w.sum, m)
}

// softmax turns scores into exponentials less the largest of each query, and sums these.
func (n *attentionRun) softmax(w *attentionForwardThread, first, m int) {
	most, sum, part := w.most[:m], w.sum[:m], w.part[:m]
	for i := range most {
		most[i] = float32(math.Inf(-1))
	}
	for j := range n.keys {
		from := n.visible(j, first, m)
		vector.MaxScaled(most[from:], w.scores[j*m+from:(j+1)*m], n.scale)
	}
	clear(sum)
	for j0 := 0; j0 < n.keys; j0 += sumKeys {
		clear(part)
		for j := j0; j < min(n.keys, j0+sumKeys); j++ {
			from := n.visible(j, first, m)
			clear(w.scores[j*m : j*m+from])
			vector.ExpSum(w.scores[j*m+from:(j+1)*m], most[from:], part[from:], n.scale)
		}
		vector.Add(sum, sum, part)
	}
}

// writeTurned writes src [dim, m], each column scaled, to the rows of a head.
func (s *attentionShape) writeTurned(dst, src, scale []float32, m int) {
	for i := range m {
		row, f := dst[i*s.channels:][:s.dim], scale[i]
		for c := range row {
			row[c] = f * src[c*m+i]
		}
	}
}
