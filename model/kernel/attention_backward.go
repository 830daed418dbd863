package kernel

import "math"

// headGrad computes the gradients of one head of one sample, group by group of queries.
func (n *attention) headGrad(s *Scratch, head int) {
	w, size := n.prepare(s), gradPanels*n.set.nr
	if n.small == nil {
		n.packByKey(s, w.keys, n.head(n.K, head, n.Keys))
		n.packByKey(s, w.values, n.head(n.V, head, n.Keys))
		n.packByChannel(s, w.turned, n.head(n.K, head, n.Keys))
	}
	for q0 := 0; q0 < n.Queries; q0 += size {
		n.groupGrad(s, head, q0, min(size, n.Queries-q0))
	}
}

// groupGrad goes over all keys for nq queries, of up to gradPanels panels.
func (n *attention) groupGrad(s *Scratch, head, q0, nq int) {
	w, nr := &s.attention, n.set.nr
	n.packForGrad(s, head, q0, nq)
	for k0 := 0; k0 < n.Keys; k0 += keyBlock {
		rows := min(keyBlock, n.Keys-k0)
		for panel := 0; panel*nr < nq; panel++ {
			if n.small != nil {
				n.scoreGradSmall(s, head, k0, rows, panel)
			} else {
				n.scoreGrad(s, k0, rows, q0, panel)
			}
		}
		n.addByKey(s, n.DK, head, w.ds, w.qRows, k0, rows, nq, q0 > 0)
		n.addByKey(s, n.DV, head, w.p, w.doRows, k0, rows, nq, q0 > 0)
	}
	for i := range w.part {
		w.part[i] = n.Scale
	}
	for at := 0; at < nq; at += nr {
		n.storeTurned(s, w.acc[at*n.Dim:][:n.Dim*nr], n.head(n.DQ, head, n.Queries), q0+at, min(nr, nq-at), w.part)
	}
}

// scoreGrad computes P and dS of a block of keys and a panel of queries, and adds to the queries' gradient.
func (n *attention) scoreGrad(s *Scratch, k0, rows, q0, panel int) {
	w, nr := &s.attention, n.set.nr
	size := n.Dim * nr
	q, do, acc := w.q[panel*size:][:size], w.do[panel*size:][:size], w.acc[panel*size:][:size]
	shift, dot := w.largest[panel*nr:], w.sum[panel*nr:]
	at := k0 / keyBlock * n.blockRows() * n.Dim
	n.byKey(s, w.s, w.keys[at:], q, rows)
	n.byKey(s, w.dp, w.values[at:], do, rows)
	n.hide(w.s, k0, rows, q0+panel*nr)
	n.set.vectors.attentionGrad(&w.s[0], &w.dp[0], &w.p[panel*nr], &w.ds[panel*nr], &shift[0], &dot[0], rows, nr, 4*n.wide())
	n.byChannel(s, acc, w.turned[k0*n.set.mr:], w.dp, rows, k0 > 0)
}

// packForGrad packs a group of queries and of DO both ways, and sets the shift of their scores (log₂ of the sums) and D.
func (n *attention) packForGrad(s *Scratch, head, q0, nq int) {
	w, nr := &s.attention, n.set.nr
	q, do, o := n.head(n.Q, head, n.Queries), n.head(n.DO, head, n.Queries), n.head(n.O, head, n.Queries)
	n.packQueryRows(s, w.qRows, q, q0, nq)
	Scale(w.qRows, w.qRows, n.Scale)
	n.packQueryRows(s, w.doRows, do, q0, nq)
	for i := range w.largest {
		w.largest[i] = math.MaxFloat32 // For columns without a query.
	}
	for i, v := range n.LogSums[head*n.Queries+q0:][:nq] {
		w.largest[i] = v * log2e
	}
	for at := 0; at < nq; at += nr {
		size, count := n.Dim*nr, min(nr, nq-at)
		panel := w.q[at*n.Dim:][:size]
		n.packQueries(s, panel, q, q0+at, count)
		Scale(panel, panel, n.Scale*log2e)
		panel = w.do[at*n.Dim:][:size]
		n.packQueries(s, panel, do, q0+at, count)
		n.packQueries(s, w.o, o, q0+at, count)
		n.set.vectors.columnDots(&panel[0], &w.o[0], &w.sum[at], n.Dim, nr, 4*nr)
	}
}

// packQueryRows packs a group of queries as B with a column for each channel, k the queries.
func (n *attention) packQueryRows(s *Scratch, dst, x []float32, q0, nq int) {
	nr := n.set.nr
	size := gradPanels * nr * nr
	s.attention.operand = matrix{data: x, ld: n.ld}
	for c := 0; c < n.Dim; c += nr {
		s.attention.operand.pack(n.set, s, dst[c/nr*size:][:size], nr, c, min(nr, n.Dim-c), q0, nq)
	}
}

// addByKey adds a block of scores times the queries' rows to the gradient of the keys from k0 on.
func (n *attention) addByKey(s *Scratch, grad []float32, head int, scores, queries []float32, k0, rows, nq int, load bool) {
	if grad == nil {
		return
	}
	mr, nr, wide := n.set.mr, n.set.nr, n.wide()
	dst := n.head(grad, head, n.Keys)
	for c := 0; c < n.Dim; c += nr {
		s.strip = strip{rows: rows, cols: min(nr, n.Dim-c), kc: nq, step: mr, aStep: mr * wide, a: scores, byRows: true, lda: wide,
			b: queries[c/nr*gradPanels*nr*nr:], c: dst[k0*n.ld+c:], ldc: n.ld, load: load}
		n.set.strip(&s.strip, s)
	}
}
