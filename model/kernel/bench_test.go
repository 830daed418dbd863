package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// benchThreads is the number of threads of the benchmarks' pool: YOHAKU_BENCH_THREADS, or 2.
func benchThreads() int {
	if n, err := strconv.Atoi(os.Getenv("YOHAKU_BENCH_THREADS")); err == nil {
		return n
	}
	return 2
}

var began = time.Now()

// clock is the time that measure reads.
var clock = func() time.Duration { return time.Since(began) }

// measure runs f and reports the rate of the fastest call, since other work on the machine only ever slows a call down.
func measure(b *testing.B, work float64, unit string, f func()) {
	f()
	b.ReportAllocs()
	best := time.Duration(math.MaxInt64)
	for b.Loop() {
		start := clock()
		f()
		best = min(best, clock()-start)
	}
	b.ReportMetric(work/best.Seconds()*1e-9, unit)
}

func BenchmarkGemm(b *testing.B) {
	pool := NewPool(benchThreads())
	defer pool.Close()
	for _, c := range []gemmCase{
		{m: 1024, n: 1024, k: 1024}, {m: 1024, n: 1024, k: 1024, transB: true}, {m: 1024, n: 1024, k: 1024, transA: true},
		{m: 4096, n: 1280, k: 320, transB: true}, {m: 64, n: 1280, k: 1280, transB: true}, {m: 256, n: 320, k: 768, transB: true},
		{m: 77, n: 64, k: 64, transB: true}, {m: 1024, n: 64, k: 64, transB: true}, {m: 64, n: 64, k: 8192, transA: true},
		{m: 256, n: 256, k: 8, transB: true}, {m: 256, n: 8, k: 256}, {m: 64, n: 8, k: 1024}, {m: 1024, n: 8, k: 64, transA: true}, {m: 64, n: 1024, k: 8, transB: true}, {m: 64, n: 1024, k: 40, transB: true}, {m: 64, n: 40, k: 1024}, {m: 1024, n: 40, k: 64, transA: true},
	} {
		b.Run(c.String(), func(b *testing.B) {
			a := c.args(1)
			measure(b, 2*float64(c.m)*float64(c.n)*float64(c.k), "GFLOP/s", func() { pool.Gemm(a) })
		})
	}
}

func BenchmarkHalfGemm(b *testing.B) {
	pool := NewPool(benchThreads())
	defer pool.Close()
	for _, c := range []gemmCase{
		{m: 1024, n: 1024, k: 1024}, {m: 1024, n: 1024, k: 1024, transB: true}, {m: 1024, n: 1024, k: 1024, transA: true},
		{m: 4096, n: 1280, k: 320, transB: true}, {m: 64, n: 1280, k: 1280, transB: true}, {m: 1024, n: 64, k: 64, transB: true},
	} {
		for _, stored := range []bool{false, true} {
			a := c.args(1)
			rounded(a, stored, stored)
			b.Run(fmt.Sprintf("%s,stored=%v", c, stored), func(b *testing.B) {
				measure(b, 2*float64(c.m)*float64(c.n)*float64(c.k), "GFLOP/s", func() { pool.Gemm(a) })
			})
		}
	}
}

func BenchmarkConv(b *testing.B) {
	pool := NewPool(benchThreads())
	defer pool.Close()
	for _, s := range [][4]int{{8, 32, 64, 64}, {8, 64, 64, 64}, {2, 64, 320, 320}, {8, 16, 128, 128}, {8, 8, 256, 256}, {2, 8, 1280, 1280}, {8, 32, 4, 64}} {
		a := convCase{s[0], s[1], s[1], s[2], s[3], 3, 1, 1, 1, 1, 1}.args(1)
		flops := 2 * float64(s[0]*s[1]*s[1]) * float64(9*s[2]*s[3])
		for name, pass := range map[string]func(*ConvArgs){"forward": pool.ConvForward, "data": pool.ConvDataGrad, "weight": pool.ConvWeightGrad} {
			b.Run(fmt.Sprintf("b%d_%dx%d_%d_%d/%s", s[0], s[1], s[1], s[2], s[3], name), func(b *testing.B) {
				measure(b, flops, "GFLOP/s", func() { pass(a) })
			})
		}
	}
}

// seeded returns n numbers in [-1, 1) from a fixed seed.
func seeded(n int) []float32 { return random(rand.New(rand.NewPCG(1, 3)), n) }

func BenchmarkVector(b *testing.B) {
	n := 16 << 10 // Within the second-level cache.
	x := [][]float32{seeded(n), seeded(n), seeded(n), seeded(n), seeded(n)}
	sums := [][]float64{make([]float64, n), make([]float64, n)}
	channel := [][]float32{seeded(64), seeded(64), seeded(64), seeded(64), seeded(64)}
	f := AdamWFactors{Scale: 1, Toward: 0.1, Beta2: 0.999, Rest: 0.001, Inverse: 20, Eps: 1e-8, Rate: 3e-3, Keep: 1}
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"Add", func() { Add(x[0], x[1], x[2]) }},
		{"SiLU", func() { SiLU(x[0], x[1]) }},
		{"SiLUGrad", func() { SiLUGrad(x[0], x[1], x[2]) }},
		{"GELU", func() { GELU(x[0], x[1]) }},
		{"GELUGrad", func() { GELUGrad(x[0], x[1], x[2]) }},
		{"Affine64", func() { Affine(x[0], x[1], channel[0], channel[1]) }},
		{"AffineSiLU64", func() { AffineSiLU(x[0], x[1], channel[0], channel[1]) }},
		{"AffineSiLUGrad64", func() { AffineSiLUGrad(x[0], x[1], x[2], channel[0], channel[1]) }},
		{"AffineGrad64", func() { AffineGrad(x[0], x[1], x[2], channel[0], channel[1], channel[2]) }},
		{"GEGLU", func() { GEGLU(x[0], x[1], x[2]) }},
		{"GEGLUGrad", func() { GEGLUGrad(x[0], x[1], x[2], x[3], x[4]) }},
		{"ColumnSums64", func() { ColumnSums(sums[0][:64], x[0]) }},
		{"ColumnSquares64", func() { ColumnSquares(sums[0][:64], sums[1][:64], x[0]) }},
		{"ColumnProducts64", func() { ColumnProducts(sums[0][:64], sums[1][:64], x[0], x[1]) }},
		{"ColumnExp32", func() { active.vectors.columnExp(&x[0][0], &x[1][0], &x[2][0], n/32, 32, 128) }},
		{"AttentionGrad32", func() {
			active.vectors.attentionGrad(&x[0][0], &x[1][0], &x[2][0], &x[3][0], &x[4][0], &x[4][32], n/32, 32, 128)
		}},
		{"Moments", func() { Moments(x[0]) }},
		{"LayerNormGrad", func() { LayerNormGrad(x[0], sums[0], sums[1], x[1], x[2], x[3], 0.1, 1.7) }},
		{"AdamW", func() { AdamWUpdate(x[0], x[1], x[2], x[3], &f) }},
	} {
		b.Run(c.name, func(b *testing.B) { measure(b, float64(n), "Gel/s", c.f) })
	}
}

func BenchmarkAttention(b *testing.B) {
	pool := NewPool(benchThreads())
	defer pool.Close()
	for _, c := range []attentionCase{{8, 8, 1024, 1024, 4, false}, {8, 8, 1024, 1024, 8, false}, {8, 8, 256, 256, 16, false}, {2, 8, 1024, 1024, 40, false}, {2, 5, 1024, 1024, 64, false}, {8, 8, 1024, 77, 8, false}, {1, 8, 4096, 4096, 40, false}} {
		a := c.args(1)
		scores := float64(c.batch * c.heads * c.queries * c.keys)
		name := fmt.Sprintf("b%d_h%d_%dx%d_d%d", c.batch, c.heads, c.queries, c.keys, c.dim)
		b.Run(name+"/forward", func(b *testing.B) { measure(b, scores, "Gel/s", func() { pool.AttentionForward(a) }) })
		b.Run(name+"/backward", func(b *testing.B) { measure(b, scores, "Gel/s", func() { pool.AttentionBackward(a) }) })
	}
}
