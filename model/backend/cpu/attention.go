package cpu

import (
	"math"

	"yohaku/model/backend"
	"yohaku/model/kernel"
	"yohaku/model/op"
)

// tileScores bounds the scores that a thread holds at a time: 256 KiB, within the second-level cache.
const tileScores = 64 << 10

// attentionShape is one attention; a task is a (sample, head), or a tile of its queries.
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
	s.tile = max(1, min(s.queries, tileScores/s.keys))
	s.tiles = (s.queries + s.tile - 1) / s.tile
	return s
}

// at is where the queries (or keys) of a head begin, from row r on.
func (s *attentionShape) at(sample, head, length, r int) int {
	return (sample*length+r)*s.channels + head*s.dim
}

// attentionThread is what one thread works with.
type attentionThread struct {
	scores, other []float32 // [tile, keys]
	gemm          kernel.GemmArgs
	scratch       *kernel.Scratch
}

func (be *Backend) attentionThreads(scratch []float32, size, buffers int) []attentionThread {
	threads := make([]attentionThread, be.pool.Threads())
	for i := range threads {
		own := scratch[i*buffers*size:]
		threads[i] = attentionThread{scores: own[:size], scratch: &be.scratch[i]}
		if buffers > 1 {
			threads[i].other = own[size : 2*size]
		}
	}
	return threads
}

// attention computes, for each tile of queries of a (sample, head), the scores, their softmax and the
// weighted sum of values.
func (be *Backend) attention(d op.Attention, in []op.Shape) backend.Kernel {
	s := attentionShapeOf(d, in)
	size := s.tile * s.keys
	return backend.Kernel{Scratch: be.pool.Threads() * size, Bind: func(a backend.Args) func() error {
		run := &attentionRun{attentionShape: s, q: a.In[0], k: a.In[1], v: a.In[2], o: a.Out[0], sums: statsOf(a), threads: be.attentionThreads(a.Scratch, size, 1)}
		task := run.tileOf
		return func() error {
			be.pool.Run(s.batch*s.heads*s.tiles, task)
			return nil
		}
	}}
}

type attentionRun struct {
	attentionShape
	q, k, v, o, sums []float32
	threads          []attentionThread
}

func (n *attentionRun) tileOf(t, thread int) {
	w := &n.threads[thread]
	head, first := t/n.tiles, t%n.tiles*n.tile
	sample, h := head/n.heads, head%n.heads
	m := min(n.tile, n.queries-first)
	keys := n.at(sample, h, n.keys, 0)
	w.scoresOf(&n.attentionShape, n.q[n.at(sample, h, n.queries, first):], n.k[keys:], m)
	for r := range m {
		row := w.scores[r*n.keys : (r+1)*n.keys]
		seen := n.keys
		if n.causal {
			seen = first + r + 1
			clear(row[seen:])
		}
		sum := softmaxRow(row[:seen], n.scale)
		if n.sums != nil {
			n.sums[(sample*n.heads+h)*n.queries+first+r] = sum
		}
	}
	w.gemm = kernel.GemmArgs{M: m, K: n.keys, N: n.dim, A: w.scores, LDA: n.keys, B: n.v[keys:], LDB: n.channels,
		C: n.o[n.at(sample, h, n.queries, first):], LDC: n.channels}
	kernel.GemmSerial(&w.gemm, w.scratch)
}

// scoresOf is q·kᵀ for m queries.
func (w *attentionThread) scoresOf(s *attentionShape, q, k []float32, m int) {
	w.gemm = kernel.GemmArgs{M: m, K: s.dim, N: s.keys, A: q, LDA: s.channels, B: k, LDB: s.channels, TransB: true, C: w.scores, LDC: s.keys}
	kernel.GemmSerial(&w.gemm, w.scratch)
}

// softmaxRow turns scores into probabilities of scale·scores, and returns the logarithm of the sum of
// exponentials.
func softmaxRow(row []float32, scale float32) float32 {
	most := row[0]
	for _, v := range row {
		most = max(most, v)
	}
	shift := float32(scale * most)
	if scale < 0 {
		shift = negativeShift(row, scale)
	}
	var sum float64
	for i, v := range row {
		e := exp32(float32(scale*v) - shift)
		row[i] = e
		sum += float64(e)
	}
	inverse := float32(1 / sum)
	for i := range row {
		row[i] *= inverse
	}
	return float32(float64(shift) + math.Log(sum))
}

// negativeShift is the largest of scale·row for a scale below 0.
func negativeShift(row []float32, scale float32) float32 {
	least := row[0]
	for _, v := range row {
		least = min(least, v)
	}
	return float32(scale * least)
}
