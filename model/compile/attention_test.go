package compile_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"yohaku/model/backend/cpu"
	"yohaku/model/compile"
	"yohaku/model/op"
)

// TestAttentionInTiles covers what the tiny shapes do not: several tiles of queries, several chunks of
// keys, and heads of sizes that are no multiple of a vector, against the formulas in float64.
func TestAttentionInTiles(t *testing.T) {
	be := cpu.New(2)
	defer be.Close()
	for i, c := range []struct {
		def                   op.Attention
		batch, n, m, channels int
	}{
		{op.Attention{Heads: 2}, 1, 70, 1600, 10},
		{op.Attention{Heads: 1, Causal: true}, 1, 300, 300, 5},
		{op.Attention{Heads: 3}, 2, 97, 40, 24},
		{op.Attention{Heads: 1, Scale: 3}, 1, 33, 3000, 8},
	} {
		seed := uint64(i)
		r := rand.New(rand.NewPCG(seed, 5))
		in := []array{randomArray(r, op.Shape{c.batch, c.n, c.channels}), randomArray(r, op.Shape{c.batch, c.m, c.channels}), randomArray(r, op.Shape{c.batch, c.m, c.channels})}
		want := reference(c.def, in)
		target := randomArray(r, want.shape)
		e := operatorProgram(t, be, operatorCase{def: c.def, in: []op.Shape{in[0].shape, in[1].shape, in[2].shape}}, want.shape, compile.Options{Debug: true})
		for k, a := range in {
			fill32(operand(e, k), a.data)
		}
		fill32(e.Input("target"), target.data)
		grads := runOutputs(t, e)
		within(t, "o", e.Output(0), want.data, 3e-6, seed)
		do := same(want, func(k int, v float64) float64 { return 2 * (v - target.data[k]) })
		for k, g := range referenceAttentionGradient(c.def, in, want, do) {
			within(t, [...]string{"dq", "dk", "dv"}[k], grads[[...]string{"x0", "x1", "x2"}[k]], g.data, 5e-6, seed)
		}
	}
}

func within(t *testing.T, what string, got []float32, want []float64, tolerance float64, seed uint64) {
	t.Helper()
	var most float64
	for _, v := range want {
		most = max(most, math.Abs(v))
	}
	for k, v := range want {
		if !(math.Abs(float64(got[k])-v) <= tolerance*(most+1e-3)) {
			t.Errorf("seed %d: %s[%d] = %v, want %v (largest %v)", seed, what, k, got[k], v, most)
			return
		}
	}
}

// referenceAttentionGradient is the gradient of Attention by its formulas.
func referenceAttentionGradient(d op.Attention, in []array, o, do array) []array {
	q, k, v := in[0], in[1], in[2]
	dq, dk, dv := zeros(q.shape...), zeros(k.shape...), zeros(v.shape...)
	n, m, c := q.shape[1], k.shape[1], q.last()
	dim, scale := c/d.Heads, d.Factor(c)
	for b := range q.shape[0] {
		for h := range d.Heads {
			for i := range n {
				row := func(a array, length, r int) []float64 { return a.data[(b*length+r)*c+h*dim:][:dim] }
				seen := m
				if d.Causal {
					seen = i + 1
				}
				p := make([]float64, seen)
				var sum float64
				for j := range p {
					p[j] = math.Exp(scale * inner(row(q, n, i), row(k, m, j)))
					sum += p[j]
				}
				delta := inner(row(do, n, i), row(o, n, i))
				for j := range p {
					p[j] /= sum
					ds := scale * p[j] * (inner(row(do, n, i), row(v, m, j)) - delta)
					for x := range dim {
						row(dq, n, i)[x] += ds * row(k, m, j)[x]
						row(dk, m, j)[x] += ds * row(q, n, i)[x]
						row(dv, m, j)[x] += p[j] * row(do, n, i)[x]
					}
				}
			}
		}
	}
	return []array{dq, dk, dv}
}

func inner(a, b []float64) (s float64) {
	for i, v := range a {
		s += v * b[i]
	}
	return s
}
