package cpu

import "yohaku/model/kernel"

// sumChunk is the number of rows whose sum is one chain, and at most how many chunks there are.
// Both depend on the shape alone, so that the bits do not depend on threads.
const (
	leastSumRows  = 64
	mostSumChunks = 64
)

// sumChunks cuts n rows into count chunks of size rows.
func sumChunks(n int) (count, size int) {
	size = max(leastSumRows, (n+mostSumChunks-1)/mostSumChunks)
	return (n + size - 1) / size, size
}

// columnScratch is the scratch of columnSums, in float32.
func columnScratch(n, c int) int {
	count, _ := sumChunks(n)
	return 2 * count * c
}

// columnSums returns a run that writes Σ_r x[r,j] to dst[j], for x [n,c]: float64 chains over fixed
// chunks of rows, combined in order.
func (be *Backend) columnSums(dst, x []float32, n, c int, scratch []float32) func() {
	count, size := sumChunks(n)
	parts := doubles(scratch)
	chunk := func(t, _ int) {
		first := t * size
		kernel.ColumnSums(parts[t*c:(t+1)*c], x[first*c:min(n, first+size)*c])
	}
	return func() {
		be.pool.Run(count, chunk)
		combine(dst, parts, count, c)
	}
}

// combine writes the sums of parts [count,c] over count, in order.
func combine(dst []float32, parts []float64, count, c int) {
	for j := range c {
		var s float64
		for t := range count {
			s += parts[t*c+j]
		}
		dst[j] = float32(s)
	}
}
