package cpu

import (
	"yohaku/model/backend"
	"yohaku/model/kernel"
	"yohaku/model/op"
)

// groupNormBackward, with x̂ = (x−mean)·r and g the gradient before SiLU:
//
//	dbeta = Σ g,  dgamma = Σ g·x̂,  dx = r·(γ·g − mean(γ·g) − x̂·mean(γ·g·x̂))
//
// the means over a group of one sample. It writes g to dx with its sums by channel and chunk, then
// turns it into dx, a line in g and x for each sample and channel.
func (be *Backend) groupNormBackward(d op.GroupNormBackward, in []op.Shape) backend.Kernel {
	s := normShapeOf(in[0], d.Norm.Groups)
	sums, totals, lines := 4*s.samples*s.chunks*s.channels, 4*s.samples*s.channels, 3*s.samples*s.channels
	return backend.Kernel{Scratch: sums + totals + lines, InPlace: []int{4}, Bind: func(a backend.Args) func() error {
		n := &groupNormBackwardRun{normShape: s, silu: d.Norm.SiLU, x: a.In[0], gamma: a.In[1], beta: a.In[2], stats: a.In[3], dy: a.In[4], dx: a.Out[0],
			dgamma: a.Out[1], dbeta: a.Out[2], parts: doubles(a.Scratch[:sums]), totals: doubles(a.Scratch[sums : sums+totals]), lines: a.Scratch[sums+totals:]}
		prepare, gradient, fit, apply := n.prepare, n.gradient, n.fit, n.apply
		return func() error {
			if n.silu {
				be.pool.Run(s.samples, prepare)
			}
			be.pool.Run(s.samples*s.chunks, gradient)
			be.pool.Run(s.samples, fit)
			be.pool.Run(s.samples*s.chunks, apply)
			n.parameters()
			return nil
		}
	}}
}

type groupNormBackwardRun struct {
	normShape
	silu                      bool
	x, gamma, beta, stats, dy []float32
	dx, dgamma, dbeta         []float32
	lines                     []float32 // Three numbers a sample and channel: first the forward line, then dx'.
	parts, totals             []float64 // Σg and Σg·x, then Σg·x̂, by channel.
}

// line is row i of a sample's lines.
func (n *groupNormBackwardRun) line(sample, i int) []float32 {
	return n.lines[(sample*3+i)*n.channels:][:n.channels]
}

// group is mean and 1/√(var+ε) of group g.
func (n *groupNormBackwardRun) group(sample, g int) (mean, inverse float64) {
	st := n.stats[(sample*n.groups+g)*2:]
	return float64(st[0]), float64(st[1])
}

// prepare sets the forward line of a sample, as groupNormRun.line does.
func (n *groupNormBackwardRun) prepare(sample, _ int) {
	slope, offset := n.line(sample, 0), n.line(sample, 1)
	width := n.channels / n.groups
	for c := range n.channels {
		mean, inverse := n.group(sample, c/width)
		k := inverse * float64(n.gamma[c])
		slope[c] = float32(k)
		offset[c] = float32(float64(n.beta[c]) - float64(mean*k))
	}
}

// gradient writes g of one chunk to dx, and sums g and g·x by channel.
func (n *groupNormBackwardRun) gradient(t, _ int) {
	sum, product := n.part(n.parts, t)
	sample := t / n.chunks
	lo, hi := n.span(t)
	if n.silu {
		kernel.AffineSiLUGrad(n.dx[lo:hi], n.x[lo:hi], n.dy[lo:hi], n.line(sample, 0), n.line(sample, 1))
	} else {
		copy(n.dx[lo:hi], n.dy[lo:hi])
	}
	kernel.ColumnProducts(sum, product, n.dx[lo:hi], n.x[lo:hi])
}

// fit sums one sample's chunks and sets dx = lines₀·g + lines₁·x + lines₂.
func (n *groupNormBackwardRun) fit(sample, _ int) {
	totals, products := n.part(n.totals, sample)
	clear(totals)
	clear(products)
	for chunk := range n.chunks {
		s, p := n.part(n.parts, sample*n.chunks+chunk)
		for c := range n.channels {
			totals[c] += s[c]
			products[c] += p[c]
		}
	}
	width := n.channels / n.groups
	for g := range n.groups {
		n.fitGroup(sample, g*width, (g+1)*width, totals, products)
	}
}

func (n *groupNormBackwardRun) fitGroup(sample, from, to int, totals, products []float64) {
	mean, inverse := n.group(sample, from/(to-from))
	var sum, product float64
	for c := from; c < to; c++ {
		products[c] = inverse * (products[c] - float64(mean*totals[c])) // Σg·x becomes Σg·x̂.
		sum += float64(totals[c] * float64(n.gamma[c]))
		product += float64(products[c] * float64(n.gamma[c]))
	}
	count := float64((to - from) * n.positions)
	byX := -inverse * inverse * product / count
	offset := -inverse*sum/count - float64(byX*mean)
	ofG, ofX, rest := n.line(sample, 0), n.line(sample, 1), n.line(sample, 2)
	for c := from; c < to; c++ {
		ofG[c], ofX[c], rest[c] = float32(inverse*float64(n.gamma[c])), float32(byX), float32(offset)
	}
}

// apply turns g into dx in one chunk.
func (n *groupNormBackwardRun) apply(t, _ int) {
	sample := t / n.chunks
	ofG, ofX, rest := n.line(sample, 0), n.line(sample, 1), n.line(sample, 2)
	lo, hi := n.span(t)
	kernel.AffineGrad(n.dx[lo:hi], n.x[lo:hi], n.dx[lo:hi], ofG, ofX, rest)
}

// parameters sums dgamma and dbeta over the samples, in order.
func (n *groupNormBackwardRun) parameters() {
	for c := range n.channels {
		var beta, gamma float64
		for sample := range n.samples {
			totals, products := n.part(n.totals, sample)
			beta += totals[c]
			gamma += products[c]
		}
		if n.dgamma != nil {
			n.dgamma[c] = float32(gamma)
		}
		if n.dbeta != nil {
			n.dbeta[c] = float32(beta)
		}
	}
}
