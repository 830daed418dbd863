package kernel

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// TestCollectionIsNotHeldUp: the garbage collector can stop the threads between two calls into assembly. Without a
// preemption point there it waited for 16 seconds.
func TestCollectionIsNotHeldUp(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	a := gemmCase{m: 700, n: 700, k: 700}.args(1)
	x := seeded(1 << 20)
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			pool.Gemm(a)
			SiLU(x, x)
			GELU(x, x)
		}
	}()
	for range 5 {
		start := time.Now()
		runtime.GC()
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("a collection took %v beside the kernels", took)
		}
	}
	stop.Store(true)
	<-done
}
