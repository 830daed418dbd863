package kernel

import (
	"sync/atomic"
	"testing"
	"time"
)

func TestPoolRunsEachTaskOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		p := NewPool(threads)
		for round := range 300 {
			tasks := round % 17
			done := make([]atomic.Int32, tasks)
			p.Run(tasks, func(task, thread int) {
				if thread < 0 || thread >= threads {
					t.Errorf("thread %d of %d", thread, threads)
				}
				done[task].Add(1)
			})
			for i := range done {
				if n := done[i].Load(); n != 1 {
					t.Fatalf("%d threads, round %d: task %d of %d ran %d times", threads, round, i, tasks, n)
				}
			}
			if round%100 == 99 {
				time.Sleep(2 * spinTime) // Let the workers park; the next round wakes them.
			}
		}
		p.Close()
	}
}

func TestPoolRefusesNesting(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	var refused atomic.Int32
	p.Run(2, func(task, thread int) {
		defer func() {
			if recover() != nil {
				refused.Add(1)
			}
		}()
		p.Run(2, func(int, int) {})
	})
	if refused.Load() != 2 {
		t.Errorf("%d of 2 nested calls were refused", refused.Load())
	}
}

func BenchmarkPoolRun(b *testing.B) {
	p := NewPool(2)
	defer p.Close()
	f := func(int, int) {}
	b.ReportAllocs()
	for b.Loop() {
		p.Run(2, f)
	}
}
