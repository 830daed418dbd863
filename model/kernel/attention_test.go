package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

type attentionCase struct {
	batch, heads, queries, keys, dim int
	causal                           bool
}

var attentionCases = []attentionCase{
	{1, 1, 1, 1, 1, false}, {2, 3, 33, 77, 8, false}, {1, 2, 70, 130, 40, false}, {1, 2, 5, 260, 4, false},
	{2, 1, 150, 150, 16, true}, {2, 3, 150, 300, 4, false}, {1, 2, 45, 127, 8, false}, {1, 1, 70, 260, 16, false}, {1, 1, 20, 31, 70, false}, {1, 2, 77, 77, 33, true},
}

func (c attentionCase) args(seed uint64) *AttentionArgs {
	r := rand.New(rand.NewPCG(seed, 6))
	queries, keys := c.batch*c.queries*c.heads*c.dim, c.batch*c.keys*c.heads*c.dim
	return &AttentionArgs{Batch: c.batch, Heads: c.heads, Queries: c.queries, Keys: c.keys, Dim: c.dim, Causal: c.causal,
		Scale: float32(2 / math.Sqrt(float64(c.dim))),
		Q:     random(r, queries), K: random(r, keys), V: random(r, keys), O: make([]float32, queries),
		LogSums: make([]float32, c.batch*c.heads*c.queries), DO: random(r, queries),
		DQ: random(r, queries), DK: random(r, keys), DV: random(r, keys)}
}

// attentionReference is attention in float64, one score at a time.
type attentionReference struct{ o, dq, dk, dv []float64 }

func referenceAttention(a *AttentionArgs) attentionReference {
	out := attentionReference{make([]float64, len(a.Q)), make([]float64, len(a.Q)), make([]float64, len(a.K)), make([]float64, len(a.K))}
	ld := a.Heads * a.Dim
	for b := range a.Batch {
		for h := range a.Heads {
			for i := range a.Queries {
				out.query(a, (b*a.Queries+i)*ld+h*a.Dim, b*a.Keys*ld+h*a.Dim, i)
			}
		}
	}
	return out
}

// query adds one query's part; q and k are the offsets of its row and of the first key.
func (r *attentionReference) query(a *AttentionArgs, q, k, i int) {
	ld, seen := a.Heads*a.Dim, a.Keys
	if a.Causal {
		seen = min(seen, i+1)
	}
	p, total, dot := make([]float64, seen), 0.0, 0.0
	for j := range p {
		for c := range a.Dim {
			p[j] += float64(a.Scale) * float64(a.Q[q+c]) * float64(a.K[k+j*ld+c])
		}
		p[j] = math.Exp(p[j])
		total += p[j]
	}
	dp := make([]float64, seen)
	for j := range p {
		p[j] /= total
		for c := range a.Dim {
			r.o[q+c] += p[j] * float64(a.V[k+j*ld+c])
			dp[j] += float64(a.DO[q+c]) * float64(a.V[k+j*ld+c])
		}
		dot += p[j] * dp[j]
	}
	for j := range p {
		ds := p[j] * (dp[j] - dot) * float64(a.Scale)
		for c := range a.Dim {
			r.dv[k+j*ld+c] += p[j] * float64(a.DO[q+c])
			r.dq[q+c] += ds * float64(a.K[k+j*ld+c])
			r.dk[k+j*ld+c] += ds * float64(a.Q[q+c])
		}
	}
}

func TestAttentionAgainstFloat64(t *testing.T) {
	onEverySet(t, func(t *testing.T) {
		pool := NewPool(2)
		defer pool.Close()
		for _, c := range attentionCases {
			a := c.args(1)
			want := referenceAttention(a)
			pool.AttentionForward(a)
			checkAttention(t, c, "O", a.O, want.o)
			pool.AttentionBackward(a)
			checkAttention(t, c, "DQ", a.DQ, want.dq)
			checkAttention(t, c, "DK", a.DK, want.dk)
			checkAttention(t, c, "DV", a.DV, want.dv)
		}
	})
}

// checkAttention allows 5e-6 of values that are about 1.
func checkAttention(t *testing.T, c attentionCase, name string, got []float32, want []float64) {
	t.Helper()
	for i := range got {
		if !(math.Abs(float64(got[i])-want[i]) <= 5e-6*max(1, math.Abs(want[i]))) {
			t.Fatalf("%+v: %s[%d] = %v, want %v", c, name, i, got[i], want[i])
		}
	}
}

// TestAttentionBits: threads, and the sets with fused multiply-adds, give the same bits.
func TestAttentionBits(t *testing.T) {
	one, three := NewPool(1), NewPool(3)
	defer one.Close()
	defer three.Close()
	first := map[string][]float32{}
	onEverySet(t, func(t *testing.T) {
		for _, c := range attentionCases {
			for _, p := range []*Pool{one, three} {
				a := c.args(2)
				p.AttentionForward(a)
				p.AttentionBackward(a)
				key := fmt.Sprint(active == genericSet, c)
				name := fmt.Sprintf("%+v, %d threads, ", c, p.Threads())
				sameBits(t, name+"O", a.O, first, key+"O")
				sameBits(t, name+"LogSums", a.LogSums, first, key+"LogSums")
				sameBits(t, name+"DQ", a.DQ, first, key+"DQ")
				sameBits(t, name+"DK", a.DK, first, key+"DK")
				sameBits(t, name+"DV", a.DV, first, key+"DV")
			}
		}
	})
}

func TestAttentionWithoutOptionalResults(t *testing.T) {
	pool := NewPool(1)
	defer pool.Close()
	a := attentionCases[1].args(3)
	pool.AttentionForward(a)
	pool.AttentionBackward(a)
	want, o := append([]float32{}, a.DQ...), append([]float32{}, a.O...)
	a.DK, a.DV = nil, nil
	pool.AttentionBackward(a)
	sameBits(t, "DQ without DK and DV", a.DQ, map[string][]float32{"": want}, "")
	a.LogSums = nil
	pool.AttentionForward(a)
	sameBits(t, "O without LogSums", a.O, map[string][]float32{"": o}, "")
}

func TestAttentionDoesNotAllocate(t *testing.T) {
	onEverySet(t, func(t *testing.T) {
		pool := NewPool(2)
		defer pool.Close()
		a := attentionCases[2].args(1)
		pass := func() { pool.AttentionForward(a); pool.AttentionBackward(a) }
		for range 50 { // Each thread's scratch grows when it first gets a task.
			pass()
		}
		if got := testing.AllocsPerRun(20, pass); got != 0 {
			t.Errorf("%v allocations, want 0", got)
		}
	})
}
