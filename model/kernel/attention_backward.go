package kernel

import "math"

// headGrad computes the gradients of one head of one sample, panel by panel of queries.
func (n *attention) headGrad(s *Scratch, head int) {
	w, nr := n.prepare(s), n.set.nr
	n.packByKey(s, w.keys, n.head(n.K, head, n.Keys))
	n.packByKey(s, w.values, n.head(n.V, head, n.Keys))
	n.packByChannel(s, w.turned, n.head(n.K, head, n.Keys))
	for q0 := 0; q0 < n.Queries; q0 += nr {
		n.panelGrad(s, head, q0, min(nr, n.Queries-q0))
	}
}

func (n *attention) panelGrad(s *Scratch, head, q0, nq int) {
	w, nr := &s.attention, n.set.nr
	n.packForGrad(s, head, q0, nq)
	for k0 := 0; k0 < n.Keys; k0 += keyBlock {
		rows := min(keyBlock, n.Keys-k0)
		at := k0 / keyBlock * n.blockRows() * n.Dim
		n.byKey(s, w.s, w.keys[at:], w.q, rows)
		n.byKey(s, w.dp, w.values[at:], w.do, rows)
		n.hide(w.s, k0, rows, q0)
		n.set.vectors.attentionGrad(&w.s[0], &w.dp[0], &w.largest[0], &w.sum[0], rows, nr)
		n.byChannel(s, w.turned[k0*n.set.mr:], w.dp, rows, k0 > 0)
		n.addByKey(s, n.DK, head, w.dp, w.qRows, k0, rows, nq, q0 > 0)
		n.addByKey(s, n.DV, head, w.s, w.doRows, k0, rows, nq, q0 > 0)
	}
	for i := range nq {
		w.part[i] = n.Scale
	}
	n.storeTurned(s, n.head(n.DQ, head, n.Queries), q0, nq, w.part)
}

// packForGrad packs a panel of queries and of DO both ways, and fetches LogSums (into largest) and D (into sum).
func (n *attention) packForGrad(s *Scratch, head, q0, nq int) {
	w := &s.attention
	q, do, o := n.head(n.Q, head, n.Queries), n.head(n.DO, head, n.Queries), n.head(n.O, head, n.Queries)
	n.packQueries(s, w.q, q, q0, nq)
	Scale(w.q, w.q, n.Scale)
	n.packQueries(s, w.do, do, q0, nq)
	n.packQueryRows(s, w.qRows, q, q0, nq)
	Scale(w.qRows, w.qRows, n.Scale)
	n.packQueryRows(s, w.doRows, do, q0, nq)
	n.packQueries(s, w.o, o, q0, nq)
	n.set.vectors.columnDots(&w.do[0], &w.o[0], &w.sum[0], n.Dim, n.set.nr, 4*n.set.nr)
	for i := range w.largest {
		w.largest[i] = math.MaxFloat32 // For columns without a query.
	}
	copy(w.largest, n.LogSums[head*n.Queries+q0:][:nq])
}

// packQueryRows packs a panel of queries as B with a column for each channel, k the queries.
func (n *attention) packQueryRows(s *Scratch, dst, x []float32, q0, nq int) {
	nr := n.set.nr
	s.attention.operand = matrix{data: x, ld: n.ld}
	for c := 0; c < n.Dim; c += nr {
		s.attention.operand.pack(n.set, s, dst[c*nr:][:nr*nr], nr, c, min(nr, n.Dim-c), q0, nq)
	}
}

// addByKey adds a block of scores times the queries' rows to the gradient of the keys from k0 on.
func (n *attention) addByKey(s *Scratch, grad []float32, head int, scores, queries []float32, k0, rows, nq int, load bool) {
	if grad == nil {
		return
	}
	mr, nr := n.set.mr, n.set.nr
	dst := n.head(grad, head, n.Keys)
	for c := 0; c < n.Dim; c += nr {
		s.strip = strip{rows: rows, cols: min(nr, n.Dim-c), kc: nq, step: mr, aStep: mr * nr, a: scores, byRows: true, lda: nr,
			b: queries[c*nr:], c: dst[k0*n.ld+c:], ldc: n.ld, load: load}
		n.set.strip(&s.strip, s)
	}
}
