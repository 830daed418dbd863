package natsring

import (
	"fmt"
	"testing"

	"yohaku/allreduce/fixedpoint"
)

// BenchmarkHop times the smallest operations of rings over routes: an all-reduce goes 2(N−1) hops around, an
// all-gather N−1. The constants of docs/scale.md come from here.
func BenchmarkHop(b *testing.B) {
	for _, world := range []int{2, 4, 8} {
		var rings []*Ring
		for rank, s := range startCluster(b, world) {
			rings = append(rings, join(b, s, rank, world))
		}
		const n = 1024
		v := draw(1, world, n, fixedpoint.Blocks(n), 1<<20)
		step := 0
		b.Run(fmt.Sprintf("gather/world=%d", world), func(b *testing.B) {
			for b.Loop() {
				step++
				mustAll(b, everyone(rings, func(rank int, r *Ring) error {
					_, err := r.AllGather(b.Context(), Operation{Step: step}, "word", make([]byte, 128))
					return err
				}))
			}
			perHop(b, world-1)
		})
		b.Run(fmt.Sprintf("reduce/world=%d", world), func(b *testing.B) {
			for b.Loop() {
				step++
				mustAll(b, everyone(rings, func(rank int, r *Ring) error { return v.reduce(b.Context(), r, rank, Operation{Step: step}) }))
			}
			perHop(b, 2*(world-1))
		})
	}
}

func perHop(b *testing.B, hops int) {
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*hops), "µs/hop")
}
