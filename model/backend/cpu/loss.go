package cpu

import (
	"yohaku/model/backend"
	"yohaku/model/objective"
	"yohaku/model/op"
)

func (be *Backend) mse(in []op.Shape) backend.Kernel {
	b := in[0][0]
	n := in[0].TotalSize() / b
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		x, z, y := a.In[0], a.In[1], a.Out[0]
		sample := func(s, _ int) {
			var sum float64
			target := z[s*n : (s+1)*n]
			for i, v := range x[s*n : (s+1)*n] {
				e := float64(v) - float64(target[i])
				sum += float64(e * e)
			}
			y[s] = float32(sum / float64(n))
		}
		return func() error { be.pool.Run(b, sample); return nil }
	}}
}

// pairs reads the operands of a loss, item by item.
type pairs struct {
	c        objective.Config
	m, terms []float32
	product  []float32 // With LoserSafeguard.
	items    int
}

func newPairs(c objective.Config, in [][]float32, items int) pairs {
	p := pairs{c: c, m: in[0], terms: in[1], items: items}
	if c.LoserSafeguard {
		p.product = in[2]
	}
	return p
}

func (p pairs) errors(i int) (w, l float64) {
	if p.c.SamplesPerItem() == 2 {
		l = float64(p.m[p.items+i])
	}
	return float64(p.m[i]), l
}

func (p pairs) loss(i int) objective.Pair {
	w, l := p.errors(i)
	t := p.terms[i*op.PairTerms:][:op.PairTerms]
	return p.c.Pair(w, l, objective.Terms{
		RefW: float64(t[op.TermRefWinner]), RefL: float64(t[op.TermRefLoser]), Weight: float64(t[op.TermWeight]), Margin: float64(t[op.TermMargin]),
	})
}

// safeguard is what the loser's gradient is scaled by.
func (p pairs) safeguard(i int, r objective.Pair) float64 {
	if !p.c.LoserSafeguard {
		return 1
	}
	w, _ := p.errors(i)
	return r.Safeguard(w, float64(p.product[i]))
}

// errorProduct multiplies the errors of winners and losers.
func (be *Backend) errorProduct(in []op.Shape) backend.Kernel {
	b := in[0][0] / 2
	n := in[0].TotalSize() / (2 * b)
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		x, z, y := a.In[0], a.In[1], a.Out[0]
		pair := func(i, _ int) {
			var sum float64
			w, l := x[i*n:(i+1)*n], x[(b+i)*n:(b+i+1)*n]
			tw, tl := z[i*n:(i+1)*n], z[(b+i)*n:(b+i+1)*n]
			for j := range w {
				ew, el := float64(w[j])-float64(tw[j]), float64(l[j])-float64(tl[j])
				sum += float64(ew * el)
			}
			y[i] = float32(sum / float64(n))
		}
		return func() error { be.pool.Run(b, pair); return nil }
	}}
}

func pairLoss(c objective.Config, items int) backend.Kernel {
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		p, stats := newPairs(c, a.In, items), []float32(nil)
		if len(a.Out) > 1 {
			stats = a.Out[1]
		}
		return func() error {
			var sum float64
			for i := range items {
				r := p.loss(i)
				sum += r.Loss
				if stats != nil {
					w, l := p.errors(i)
					s := stats[i*op.PairStats:][:op.PairStats]
					s[op.StatWinnerMSE], s[op.StatLoserMSE] = float32(w), float32(l)
					s[op.StatLogOdds], s[op.StatRatio], s[op.StatLoss] = float32(r.LogOdds), float32(r.Ratio), float32(r.Loss)
				}
			}
			a.Out[0][0] = float32(sum)
			return nil
		}
	}}
}

func pairLossBackward(c objective.Config, items int) backend.Kernel {
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		p, dloss, dm := newPairs(c, a.In[1:], items), a.In[0], a.Out[0]
		return func() error {
			for i := range items {
				r := p.loss(i)
				dm[i] = float32(float64(dloss[0]) * r.GradW)
				if c.SamplesPerItem() == 2 {
					dm[items+i] = float32(float64(dloss[0]) * r.GradL * p.safeguard(i, r))
				}
			}
			return nil
		}
	}}
}
