package kernel

// headPasses are attention's passes for heads of few channels, by headLanes queries of a panel; see the generator's heads.
type headPasses struct {
	scores func(keys, q, s, largest *float32, rows, ld int)
	weigh  func(values, s, shift, total, acc *float32, rows, ld, load int)
	grad   func(keys, values, q, do, shift, dot, p, ds, acc *float32, rows, ld, stride, load int)
}

const headLanes = 16

// forwardSmall computes acc, sum and largest of a panel of queries.
func (n *attention) forwardSmall(s *Scratch, head int) {
	w, nr, v := &s.attention, n.set.nr, n.set.vectors
	keys, values := n.head(n.K, head, n.Keys), n.head(n.V, head, n.Keys)
	for k0 := 0; k0 < n.Keys; k0 += keyBlock {
		rows, load := min(keyBlock, n.Keys-k0), min(k0, 1)
		copy(w.old, w.largest)
		for j := 0; j < nr; j += headLanes {
			n.small.scores(&keys[k0*n.ld], &w.q[j], &w.s[j], &w.largest[j], rows, 4*n.ld)
		}
		if k0 > 0 {
			n.rescale(w)
		}
		for j := 0; j < nr; j += headLanes {
			n.small.weigh(&values[k0*n.ld], &w.s[j], &w.largest[j], &w.part[j], &w.acc[j], rows, 4*n.ld, load)
		}
		v.add(&w.sum[0], &w.sum[0], &w.part[0], nr)
	}
}

// scoreGradSmall is scoreGrad.
func (n *attention) scoreGradSmall(s *Scratch, head, k0, rows, panel int) {
	w, nr := &s.attention, n.set.nr
	keys, values, at := n.head(n.K, head, n.Keys)[k0*n.ld:], n.head(n.V, head, n.Keys)[k0*n.ld:], panel*n.Dim*nr
	for j := 0; j < nr; j += headLanes {
		c := panel*nr + j
		n.small.grad(&keys[0], &values[0], &w.q[at+j], &w.do[at+j], &w.largest[c], &w.sum[c], &w.p[c], &w.ds[c], &w.acc[at+j],
			rows, 4*n.ld, 4*n.wide(), min(k0, 1))
	}
}
