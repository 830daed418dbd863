package trainstep

import (
	"math"
	"sync/atomic"

	"yohaku/allreduce/fixedpoint"
	"yohaku/internal/assert"
	"yohaku/model/kernel"
	"yohaku/model/optim"
)

// pieceBlocks is the number of blocks in a piece: its decoded gradient stays in a core's second-level cache. Sums of
// pieces are combined in order, so it is part of what fixes the bits of the norm.
const pieceBlocks = 16

// piece is a run of whole blocks of one tensor, which one thread works on at a time.
type piece struct {
	tensor int
	at     int // First element within the tensor.
	slab   fixedpoint.Tensor
}

// pieces are the slabs cut up, and the memory to work on them without allocating.
type pieces struct {
	pool    *kernel.Pool
	all     []piece
	first   []int       // First piece of each tensor, then the number of pieces.
	scratch [][]float32 // A decoded piece for each thread.
	squares []float64   // Of each piece.
	bad     atomic.Bool

	// What the running tasks work on.
	grad      []float32
	rounding  fixedpoint.Rounding // Of the micro-batch at hand; the block is each piece's.
	total     []int32
	factors   kernel.AdamWFactors
	from      int
	addTask   func(task, thread int)
	normTask  func(task, thread int)
	applyTask func(task, thread int)
}

func newPieces(pool *kernel.Pool, l *fixedpoint.Layout) *pieces {
	p := &pieces{pool: pool}
	const elements = pieceBlocks * fixedpoint.BlockElements
	for i := range l.Tensors() {
		t := l.Tensor(i)
		p.first = append(p.first, len(p.all))
		for at := 0; at < t.Len; at += elements {
			n := min(elements, t.Len-at)
			p.all = append(p.all, piece{tensor: i, at: at, slab: fixedpoint.Tensor{
				Offset: t.Offset + at, Len: n, Block: t.Block + at/fixedpoint.BlockElements, Blocks: fixedpoint.Blocks(n),
			}})
		}
	}
	p.first = append(p.first, len(p.all))
	for range pool.Threads() {
		p.scratch = append(p.scratch, make([]float32, elements))
	}
	p.squares = make([]float64, len(p.all))
	return p
}

// accumulate rounds a piece of the gradient at hand onto the grid.
func (t *Trainer) accumulate(task, _ int) {
	p := &t.pieces.all[t.pieces.from+task]
	s := p.slab
	key := t.pieces.rounding
	key.Block = s.Block
	bad := t.grid.AccumulateKeyed(t.sums[s.Offset:s.Offset+s.Len], t.pieces.grad[p.at:p.at+s.Len],
		t.state.Exponents[s.Block:s.Block+s.Blocks], t.needed[s.Block:s.Block+s.Blocks], key)
	if bad >= 0 {
		t.pieces.bad.Store(true)
	}
}

// add rounds one gradient tensor of one micro-batch onto the grid.
func (t *Trainer) add(step, mb, i int, grad []float32) {
	p := t.pieces
	if want := t.layout.Tensor(i).Len; len(grad) != want { // Arguments of a call would be allocated.
		assert.That(false, "gradient %d has %d elements, want %d", i, len(grad), want)
	}
	p.rounding = fixedpoint.Rounding{Seed: t.hyper.Seed, Step: uint64(step), MicroBatch: mb}
	p.grad, p.from = grad, p.first[i]
	p.pool.Run(p.first[i+1]-p.from, p.addTask)
	p.grad = nil
	if p.bad.CompareAndSwap(true, false) {
		t.bad = append(t.bad, NonFinite{MicroBatch: mb, Param: t.params[i].Name})
	}
}

// decode gives the mean gradient over the items of the step, in a thread's scratch.
func (t *Trainer) decode(p *piece, thread int) []float32 {
	s := p.slab
	grad := t.pieces.scratch[thread][:s.Len]
	fixedpoint.Decode(grad, t.pieces.total[s.Offset:s.Offset+s.Len], t.state.Exponents[s.Block:s.Block+s.Blocks], 1/float32(t.hyper.ItemsPerStep))
	return grad
}

// norm is the global gradient norm, summed in float64 in a fixed order.
func (t *Trainer) norm(total []int32) float64 {
	p := t.pieces
	p.total = total
	p.pool.Run(len(p.all), p.normTask)
	p.total = nil
	var sum float64
	for _, s := range p.squares {
		sum += s
	}
	return math.Sqrt(sum)
}

func (t *Trainer) square(task, thread int) {
	t.pieces.squares[task] = sumSquares(t.decode(&t.pieces.all[task], thread))
}

// sumSquares sums the squares of elements i, i+4, … each in a chain of its own.
func sumSquares(x []float32) float64 {
	var a, b, c, d float64
	for ; len(x) >= 4; x = x[4:] {
		a += float64(float64(x[0]) * float64(x[0]))
		b += float64(float64(x[1]) * float64(x[1]))
		c += float64(float64(x[2]) * float64(x[2]))
		d += float64(float64(x[3]) * float64(x[3]))
	}
	for _, v := range x {
		a += float64(float64(v) * float64(v))
	}
	return (a + b) + (c + d)
}

func (t *Trainer) update(total []int32, rate, clip float64) {
	p := t.pieces
	t.state.Updates++
	p.total, p.factors = total, t.hyper.Optimizer.Factors(t.state.Updates, rate, clip)
	p.pool.Run(len(p.all), p.applyTask)
	p.total = nil
}

func (t *Trainer) apply(task, thread int) {
	p := &t.pieces.all[task]
	s := p.slab
	m, v := t.state.M[s.Offset:s.Offset+s.Len], t.state.V[s.Offset:s.Offset+s.Len]
	params := t.params[p.tensor].Data[p.at : p.at+s.Len]
	kernel.AdamWUpdate(params, t.decode(p, thread), m, v, &t.pieces.factors)
	if t.state.EMA != nil {
		optim.EMA(t.state.EMA[s.Offset:s.Offset+s.Len], params, optim.EMADecay(t.state.Updates, t.hyper.EMADecay))
	}
}
