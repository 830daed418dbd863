package kernel

import (
	"fmt"
	"math"
)

// AttentionArgs describes multi-head attention, for each sample and head:
//
//	S = Scale·Q·Kᵀ,  P = softmax over keys of S,  O = P·V
//
// Q, O, DO, DQ are [Batch, Queries, Heads·Dim], K, V, DK, DV [Batch, Keys, Heads·Dim], all float32 and dense; head h has
// the columns from h·Dim on. Causal hides the keys after a query's own position.
// LogSums, [Batch, Heads, Queries], is log Σ exp S: forward writes it when it is not nil, backward needs it.
// Backward computes, from O, LogSums and DO = ∂L/∂O:
//
//	dV = Pᵀ·dO,  dS = P∘(dO·Vᵀ − D),  D = Σ dO∘O by query,  dQ = Scale·dS·K,  dK = Scale·dSᵀ·Q
//
// DK or DV may be nil when nobody needs them. No result may overlap an operand.
//
// Bits: as for Gemm; softmax goes over blocks of 126 keys in order. Scores are multiplied by log₂ e, so that exponentials are
// powers of 2.
type AttentionArgs struct {
	Batch, Heads, Queries, Keys, Dim int
	Causal                           bool
	Scale                            float32
	Q, K, V, O, LogSums              []float32
	DO, DQ, DK, DV                   []float32
}

// keyBlock is the keys of one block of scores: a multiple of the rows of every set's tile, so that a block of scores and
// one of their gradients stay in the first-level cache.
const keyBlock = 126

// gradPanels is the panels of queries whose parts of the gradients of a block of keys are added at once.
const gradPanels = 4

// AttentionForward computes O and LogSums on the pool's threads.
func (p *Pool) AttentionForward(a *AttentionArgs) { p.attention.run(p, a, false) }

// AttentionBackward computes DQ, DK and DV on the pool's threads. One thread works on one head of one sample.
func (p *Pool) AttentionBackward(a *AttentionArgs) { p.attention.run(p, a, true) }

func (a *AttentionArgs) check(backward bool) {
	if a.Batch < 0 || a.Heads <= 0 || a.Queries <= 0 || a.Keys <= 0 || a.Dim <= 0 {
		panic(fmt.Sprintf("kernel: attention of %d samples, %d heads, %d queries, %d keys, %d channels a head: sizes must be positive",
			a.Batch, a.Heads, a.Queries, a.Keys, a.Dim))
	}
	queries, keys, sums := a.Batch*a.Queries*a.Heads*a.Dim, a.Batch*a.Keys*a.Heads*a.Dim, a.Batch*a.Heads*a.Queries
	checkLength("Q", len(a.Q), queries)
	checkLength("K", len(a.K), keys)
	checkLength("V", len(a.V), keys)
	checkLength("O", len(a.O), queries)
	if backward || a.LogSums != nil {
		checkLength("LogSums", len(a.LogSums), sums)
	}
	if !backward {
		return
	}
	checkLength("DO", len(a.DO), queries)
	checkLength("DQ", len(a.DQ), queries)
	if a.DK != nil {
		checkLength("DK", len(a.DK), keys)
	}
	if a.DV != nil {
		checkLength("DV", len(a.DV), keys)
	}
}

// attention is one attention in progress. Scores are held as Sᵀ, a row for each key and a column for each of the queries
// of a panel: softmax goes down the columns, and the result already is a packed panel.
type attention struct {
	AttentionArgs
	set         *kernelSet
	small       *headPasses // nil where tiles compute the products.
	ld          int         // Elements from one token to the next.
	panels      int         // Of queries.
	keyRows     int         // Rows of all keys in panels, with padding.
	keyPanels   []float32
	valuePanels []float32
	packing     bool
	backward    bool
	scratch     []*Scratch
}

// attentionScratch is what one thread needs. Backward, several panels of queries are under way at a time, all of one head.
type attentionScratch struct {
	q, do                []float32 // Panels of queries by channel, [panels, dim, nr].
	acc                  []float32 // Sums of the results, [panels, dim, nr].
	largest, sum         []float32 // [panels, nr]; the shift of the scores and D, backward.
	old, part, total     []float32 // [nr]
	qRows, doRows        []float32 // Panels of queries by query, [⌈dim/nr⌉, panels·nr, nr].
	o                    []float32 // A panel of O, as q.
	s, dp                []float32 // [keyBlock, nr]
	p, ds                []float32 // [keyBlock, wide]
	keys, values, turned []float32 // Panels of one head, backward.
	operand              matrix
}

func (n *attention) run(p *Pool, a *AttentionArgs, backward bool) {
	a.check(backward)
	n.AttentionArgs, n.backward, n.set, n.scratch = *a, backward, active, p.scratch
	n.ld = n.Heads * n.Dim
	n.small = n.set.heads[n.Dim]
	if n.Causal {
		n.small = nil
	}
	n.panels = ceilDiv(n.Queries, n.set.nr)
	n.keyRows = ceilDiv(n.Keys, keyBlock) * n.blockRows()
	heads := n.Batch * n.Heads
	switch {
	case backward:
		p.run(heads, n)
	case n.small != nil:
		n.packing = false
		p.run(heads*n.panels, n)
	default:
		n.keyPanels = grow(n.keyPanels, heads*n.keyRows*n.Dim)
		n.valuePanels = grow(n.valuePanels, heads*n.channelRows()*n.Keys)
		n.packing = true
		p.run(heads, n)
		n.packing = false
		p.run(heads*n.panels, n)
	}
	n.AttentionArgs, n.scratch = AttentionArgs{}, nil
}

// wide is the elements from one key's row of P and dS to the next: a panel more would make rows share cache sets.
func (n *attention) wide() int { return gradPanels*n.set.nr + 16 }

// blockRows is the rows of one block of keys in panels; channelRows that of the channels of a head.
func (n *attention) blockRows() int   { return ceilDiv(keyBlock, n.set.mr) * n.set.mr }
func (n *attention) channelRows() int { return ceilDiv(n.Dim, n.set.mr) * n.set.mr }

func (n *attention) do(task, thread int) {
	s := n.scratch[thread]
	switch {
	case n.backward:
		n.headGrad(s, task)
	case n.packing:
		n.packByKey(s, n.keyPanels[task*n.keyRows*n.Dim:], n.head(n.K, task, n.Keys))
		n.packByChannel(s, n.valuePanels[task*n.channelRows()*n.Keys:], n.head(n.V, task, n.Keys))
	default:
		n.forward(s, task/n.panels, task%n.panels)
	}
}

// head is a tensor of tokens from a head's first element on; length is its number of tokens.
func (n *attention) head(x []float32, head, length int) []float32 {
	return x[head/n.Heads*length*n.ld+head%n.Heads*n.Dim:]
}

// packByKey packs keys or values as A with a row for each key, k the channels, block by block.
func (n *attention) packByKey(s *Scratch, dst, x []float32) {
	mr := n.set.mr
	s.attention.operand = matrix{data: x, ld: n.ld, alongK: true}
	for k0 := 0; k0 < n.Keys; k0 += keyBlock {
		end := min(n.Keys, k0+keyBlock)
		for i := k0; i < end; i += mr {
			s.attention.operand.pack(n.set, s, dst[:mr*n.Dim], mr, i, min(mr, end-i), 0, n.Dim)
			dst = dst[mr*n.Dim:]
		}
	}
}

// packByChannel packs keys or values as A with a row for each channel, k the keys.
func (n *attention) packByChannel(s *Scratch, dst, x []float32) {
	mr := n.set.mr
	s.attention.operand = matrix{data: x, ld: n.ld}
	for c := 0; c < n.Dim; c += mr {
		s.attention.operand.pack(n.set, s, dst[:mr*n.Keys], mr, c, min(mr, n.Dim-c), 0, n.Keys)
		dst = dst[mr*n.Keys:]
	}
}

// packQueries packs a panel of queries (or of their gradients) as B, k the channels.
func (n *attention) packQueries(s *Scratch, dst, x []float32, q0, nq int) {
	s.attention.operand = matrix{data: x, ld: n.ld, alongK: true}
	s.attention.operand.pack(n.set, s, dst, n.set.nr, q0, nq, 0, n.Dim)
}

// prepare sizes the scratch.
func (n *attention) prepare(s *Scratch) *attentionScratch {
	w, nr, panels := &s.attention, n.set.nr, 1
	if n.backward {
		panels = gradPanels
	}
	w.q, w.acc = grow(w.q, panels*n.Dim*nr), grow(w.acc, panels*n.Dim*nr)
	w.s = grow(w.s, keyBlock*nr)
	w.largest, w.sum = grow(w.largest, panels*nr), grow(w.sum, panels*nr)
	w.old, w.part, w.total = grow(w.old, nr), grow(w.part, nr), grow(w.total, nr)
	if n.backward {
		w.do, w.dp, w.o = grow(w.do, panels*n.Dim*nr), grow(w.dp, keyBlock*nr), grow(w.o, n.Dim*nr)
		w.p, w.ds = grow(w.p, keyBlock*n.wide()), grow(w.ds, keyBlock*n.wide())
		rows := ceilDiv(n.Dim, nr) * panels * nr * nr
		w.qRows, w.doRows = grow(w.qRows, rows), grow(w.doRows, rows)
		if n.small != nil {
			return w
		}
		w.keys, w.values = grow(w.keys, n.keyRows*n.Dim), grow(w.values, n.keyRows*n.Dim)
		w.turned = grow(w.turned, n.channelRows()*n.Keys)
	}
	return w
}

// forward computes O for one panel of queries of a head.
func (n *attention) forward(s *Scratch, head, panel int) {
	w, nr := n.prepare(s), n.set.nr
	q0 := panel * nr
	nq := min(nr, n.Queries-q0)
	n.packQueries(s, w.q, n.head(n.Q, head, n.Queries), q0, nq)
	Scale(w.q, w.q, n.Scale*log2e)
	for i := range w.largest {
		w.largest[i], w.sum[i] = -math.MaxFloat32, 0
	}
	if n.small != nil {
		n.forwardSmall(s, head)
		n.storeForward(s, head, q0, nq)
		return
	}
	keys, values := n.keyPanels[head*n.keyRows*n.Dim:], n.valuePanels[head*n.channelRows()*n.Keys:]
	for k0 := 0; k0 < n.Keys && !(n.Causal && k0 >= q0+nq); k0 += keyBlock {
		rows := min(keyBlock, n.Keys-k0)
		n.byKey(s, w.s, keys[k0/keyBlock*n.blockRows()*n.Dim:], w.q, rows)
		n.hide(w.s, k0, rows, q0)
		n.softmax(w, rows, k0 > 0)
		n.byChannel(s, w.acc, values[k0*n.set.mr:], w.s, rows, k0 > 0)
	}
	n.storeForward(s, head, q0, nq)
}

// byKey computes rows×nr scores: panels of keys times a panel of queries.
func (n *attention) byKey(s *Scratch, dst, keys, queries []float32, rows int) {
	mr, nr := n.set.mr, n.set.nr
	s.strip = strip{rows: rows, cols: nr, kc: n.Dim, step: mr, aStep: mr * n.Dim, a: keys, lda: mr, b: queries, c: dst, ldc: nr}
	n.set.strip(&s.strip, s)
}

// byChannel adds panels of channels times a block of scores to acc, [dim, nr].
func (n *attention) byChannel(s *Scratch, acc, panels, scores []float32, rows int, load bool) {
	mr, nr := n.set.mr, n.set.nr
	s.strip = strip{rows: n.Dim, cols: nr, kc: rows, step: mr, aStep: mr * n.Keys, a: panels, lda: mr, b: scores, c: acc, ldc: nr, load: load}
	n.set.strip(&s.strip, s)
}

// hide takes the keys after each query out of a block of scores.
func (n *attention) hide(scores []float32, k0, rows, q0 int) {
	nr := n.set.nr
	if !n.Causal || k0+rows <= q0+1 {
		return
	}
	for r := range rows {
		seen := min(nr, max(0, k0+r-q0)) // Queries before this key.
		for j := range seen {
			scores[r*nr+j] = -math.MaxFloat32
		}
	}
}

// softmax turns a block of scores into exponentials and brings what was summed before to the new maximum.
func (n *attention) softmax(w *attentionScratch, rows int, before bool) {
	v, nr := n.set.vectors, n.set.nr
	copy(w.old, w.largest)
	v.columnMax(&w.s[0], &w.largest[0], rows, nr, 4*nr)
	v.columnExp(&w.s[0], &w.largest[0], &w.part[0], rows, nr, 4*nr)
	if before {
		n.rescale(w)
	}
	v.add(&w.sum[0], &w.sum[0], &w.part[0], nr)
}

// rescale brings what was summed under the maximum old to the new one.
func (n *attention) rescale(w *attentionScratch) {
	v, nr := n.set.vectors, n.set.nr
	v.columnExp(&w.old[0], &w.largest[0], &w.total[0], 1, nr, 4*nr)
	v.scaleColumns(&w.sum[0], &w.old[0], 1, nr)
	v.scaleColumns(&w.acc[0], &w.old[0], n.Dim, nr)
}

func (n *attention) storeForward(s *Scratch, head, q0, nq int) {
	w := &s.attention
	for i := range nq {
		w.part[i] = 1 / w.sum[i]
		if n.LogSums != nil {
			n.LogSums[head*n.Queries+q0+i] = float32((float64(w.largest[i]) + math.Log2(float64(w.sum[i]))) * math.Ln2)
		}
	}
	n.storeTurned(s, w.acc, n.head(n.O, head, n.Queries), q0, nq, w.part)
}

// storeTurned writes acc, [dim, nr], times a factor for each column to the tokens from q0 on. acc is lost.
func (n *attention) storeTurned(s *Scratch, acc, dst []float32, q0, nq int, factor []float32) {
	nr := n.set.nr
	n.set.vectors.scaleColumns(&acc[0], &factor[0], n.Dim, nr)
	for c := 0; c < n.Dim; c += 16 {
		rows := s.rows[:min(16, n.Dim-c)]
		for i := range rows {
			rows[i] = &acc[(c+i)*nr]
		}
		n.set.turn(dst[q0*n.ld+c:], n.ld, rows, nq)
	}
}
