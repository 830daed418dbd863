package kernel

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// spinTime is how long a thread without work looks for more before it parks. A parked goroutine takes about 100 µs to
// wake, a spinning one 0.3 µs; the kernels of one step follow each other within microseconds.
const spinTime = 80 * time.Microsecond

// maxTasks bounds the tasks of one Run: two counters of 24 bits and a generation of 16 share one atomic word.
const maxTasks = 1<<24 - 1

// Pool is a fixed set of threads that share the tasks of one Run at a time.
//
// A Pool belongs to one goroutine: Run and the methods built on it must not be called concurrently, nor from inside a task.
type Pool struct {
	threads   int
	scratch   []*Scratch // One a thread.
	gemm      product    // The product being computed.
	conv      convolution
	attention attention
	running   bool

	job       job           // Set before state offers tasks; stable until all of them are done.
	_         [64]byte      // The words below are written by all threads.
	state     atomic.Uint64 // generation<<48 | tasks<<24 | next task
	_         [56]byte
	completed atomic.Int64
	_         [56]byte
	parked    atomic.Uint32 // 1 while the caller of Run waits on done.
	done      chan struct{}

	workers []worker
	closing atomic.Bool
	stopped sync.WaitGroup
}

// job is the work of one Run. A pointer in an interface costs no allocation, a closure would.
type job interface{ do(task, thread int) }

type jobFunc func(task, thread int)

func (f jobFunc) do(task, thread int) { f(task, thread) }

type worker struct {
	parked atomic.Uint32 // 1 while the worker waits on wake.
	wake   chan struct{}
	_      [48]byte
}

// NewPool starts a pool of the given number of threads, the caller of Run being one of them; 0 means one for each
// processor that Go may use. Close stops it.
func NewPool(threads int) *Pool {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	p := &Pool{threads: threads, done: make(chan struct{}, 1), workers: make([]worker, threads-1)}
	for range threads {
		p.scratch = append(p.scratch, new(Scratch))
	}
	for i := range p.workers {
		p.workers[i].wake = make(chan struct{}, 1)
		p.stopped.Add(1)
		go p.work(i)
	}
	return p
}

// Threads is the number of threads, the caller's included.
func (p *Pool) Threads() int { return p.threads }

// Run calls f once for each task in [0, tasks) and returns when all calls have returned. thread, in [0, Threads), tells
// concurrent calls apart. Tasks start in ascending order, so give the longest the lowest numbers.
func (p *Pool) Run(tasks int, f func(task, thread int)) { p.run(tasks, jobFunc(f)) }

func (p *Pool) run(tasks int, j job) {
	if tasks < 0 || tasks > maxTasks {
		panic(fmt.Sprintf("kernel: Run of %d tasks; the limit is %d", tasks, maxTasks))
	}
	if p.running {
		panic("kernel: Run called from inside a task; use GemmSerial there")
	}
	if tasks <= 1 || p.threads == 1 {
		runSerial(tasks, j)
		return
	}
	p.running = true
	p.offer(tasks, j)
	p.take(0)
	p.await(int64(tasks))
	p.job, p.running = nil, false
}

func runSerial(tasks int, j job) {
	for i := range tasks {
		j.do(i, 0)
	}
}

// offer publishes the tasks and wakes as many parked workers as can be of use.
func (p *Pool) offer(tasks int, j job) {
	p.job = j
	p.completed.Store(0)
	generation := p.state.Load()>>48 + 1
	p.state.Store(generation<<48 | uint64(tasks)<<24)
	for i := range min(tasks-1, len(p.workers)) {
		w := &p.workers[i]
		if w.parked.Load() == 1 && w.parked.CompareAndSwap(1, 0) {
			w.wake <- struct{}{}
		}
	}
}

// claim takes the next task, if there is one, and returns it with the number of tasks offered. A worker that comes late
// finds none and is not waited for.
func (p *Pool) claim() (task, tasks int, ok bool) {
	for {
		s := p.state.Load()
		next, n := int(s&maxTasks), int(s>>24&maxTasks)
		if next >= n {
			return 0, 0, false
		}
		if p.state.CompareAndSwap(s, s+1) {
			return next, n, true
		}
	}
}

// take does tasks until none is left and reports whether it did any.
func (p *Pool) take(thread int) (any bool) {
	for {
		task, tasks, ok := p.claim()
		if !ok {
			return any
		}
		any = true
		p.job.do(task, thread)
		if p.completed.Add(1) == int64(tasks) && p.parked.CompareAndSwap(1, 0) {
			p.done <- struct{}{}
		}
	}
}

// await returns when all tasks are done. It spins first: the threads end within microseconds of each other, unless the
// system has taken a processor away, and then spinning would only take another.
func (p *Pool) await(tasks int64) {
	if spin(func() bool { return p.completed.Load() == tasks }) {
		return
	}
	p.parked.Store(1)
	if p.completed.Load() == tasks && p.parked.CompareAndSwap(1, 0) {
		return
	}
	<-p.done
}

// work is a worker's life: take tasks, spin, park.
func (p *Pool) work(i int) {
	defer p.stopped.Done()
	w := &p.workers[i]
	ready := func() bool {
		s := p.state.Load()
		return s&maxTasks < s>>24&maxTasks || p.closing.Load()
	}
	for !p.closing.Load() {
		if p.take(i+1) || spin(ready) {
			continue
		}
		w.parked.Store(1)
		if ready() && w.parked.CompareAndSwap(1, 0) {
			continue
		}
		<-w.wake
	}
}

// spin waits until ready reports true, at most spinTime, and returns its last answer.
func spin(ready func() bool) bool {
	for start := time.Now(); ; {
		for range 32 {
			if ready() {
				return true
			}
			pause()
		}
		if time.Since(start) > spinTime {
			return ready()
		}
	}
}

// Close stops the workers and waits for them. The pool must not be used afterwards.
func (p *Pool) Close() {
	p.closing.Store(true)
	for i := range p.workers {
		if w := &p.workers[i]; w.parked.CompareAndSwap(1, 0) {
			w.wake <- struct{}{}
		}
	}
	p.stopped.Wait()
}
