package kernel

// Block sizes. The panels of one block of k stay in the second-level cache: streamedFloats bounds those of the operand
// that is packed as it goes, and blockK the length of a panel.
const (
	blockK         = 384
	streamedFloats = 64 << 10
)

// directColumns is the width of C up to which A is read where it lies: each of its elements enters few products, and
// packing would cost more than it saves.
const directColumns = 384

// product is one matrix product in progress. The smaller operand is packed ahead into panels; the larger is packed in
// blocks of panels, each of which one thread multiplies with all panels of the smaller.
type product struct {
	set        *kernelSet
	m, n, k    int
	c          []float32
	ldc        int
	accumulate bool
	bias       []float32

	depth          int     // Values of k in a row of a panel.
	kc, blocks     int     // Length of a block of k, number of blocks.
	mr             int     // Rows of a tile.
	direct         *matrix // A, when it is not packed.
	mPanels        int
	nPanels        int
	streamA        bool // A is the larger operand: B is packed ahead.
	packed         []float32
	packing        bool // The phase: packing ahead, or multiplying.
	tasks          int
	scratch        []*Scratch
	matrixA        matrix
	matrixB        matrix
	halfA, halfB   matrixHalf
	packedAhead    source
	packedWidth    int
	packedPanels   int
	streamed       source
	streamedWidth  int
	streamedPanels int
}

// source is an operand of a product, seen as rows (of A, or columns of B) by k.
type source interface {
	// pack writes rows [i, i+n) and k in [k0, k0+kc) to dst[k*width+row]. What it writes to rows [n, width) is finite
	// and does not matter: it enters only sums that are not stored.
	pack(set *kernelSet, s *Scratch, dst []float32, width, i, n, k0, kc int)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// prepare sets the shapes and the blocking. Accumulation and bias are off.
func (g *product) prepare(m, n, k int, a, b source, c []float32, ldc int) {
	g.m, g.n, g.k, g.c, g.ldc = m, n, k, c, ldc
	g.accumulate, g.bias = false, nil
	g.blocks = max(1, ceilDiv(k, blockK*g.depth))
	g.kc = max(1, ceilDiv(ceilDiv(k, g.blocks), 16)) * 16
	g.blocks = max(1, ceilDiv(k, g.kc))
	g.streamA = m >= n
	g.choosePath(a)
	g.mPanels, g.nPanels = ceilDiv(m, g.mr), ceilDiv(n, g.set.nr)
	g.packedAhead, g.packedWidth, g.packedPanels = a, g.mr, g.mPanels
	g.streamed, g.streamedWidth, g.streamedPanels = b, g.set.nr, g.nPanels
	if g.streamA {
		g.packedAhead, g.packedWidth, g.packedPanels, g.streamed, g.streamedWidth, g.streamedPanels =
			g.streamed, g.streamedWidth, g.streamedPanels, g.packedAhead, g.packedWidth, g.packedPanels
	}
}

// choosePath decides whether A is packed, and the rows of a tile.
func (g *product) choosePath(a source) {
	g.mr, g.direct = g.set.mr, nil
	m, stored := a.(*matrix)
	if !stored || !g.streamA || g.k == 0 || !g.set.direct || g.n > directColumns {
		return
	}
	g.direct = m
	// Rows a multiple of 4 KiB apart share one set of the first-level cache, which has eight ways.
	if m.alongK && m.ld%1024 == 0 {
		g.mr = min(g.mr, 7)
	}
}

// compute runs the two phases on the pool, or in this thread when the product is small.
func (g *product) compute(p *Pool) {
	if p.threads == 1 || 2*g.m*g.n*g.k < serialFlops {
		g.computeSerial(p.scratch[0])
		return
	}
	first := p.scratch[0]
	first.packed = grow(first.packed, g.packedFloats())
	g.packed, g.scratch = first.packed, p.scratch
	g.packing = true
	p.run(g.packedPanels, g)
	g.packing, g.tasks = false, g.split(p.threads)
	p.run(g.tasks, g)
	g.release()
}

func (g *product) computeSerial(s *Scratch) {
	s.packed = grow(s.packed, g.packedFloats())
	s.one[0] = s
	g.packed, g.scratch = s.packed, s.one[:]
	g.packing = true
	runSerial(g.packedPanels, g)
	g.packing, g.tasks = false, g.split(1)
	runSerial(g.tasks, g)
	g.release()
}

// release drops the references to the caller's memory.
func (g *product) release() {
	g.direct, g.c, g.bias, g.packedAhead, g.streamed, g.packed = nil, nil, nil, nil, nil, nil
	g.matrixA.data, g.matrixB.data, g.halfA.data, g.halfB.data = nil, nil, nil, nil
}

func (g *product) packedFloats() int { return g.packedPanels * g.blocks * g.panelFloats(g.packedWidth) }

// panelFloats is the size of a panel of one block of k.
func (g *product) panelFloats(width int) int { return width * (g.kc / g.depth) }

// split returns the number of blocks of streamed panels: each fits the cache, and there are several for each thread,
// so that one that is slowed down holds nobody up for long.
func (g *product) split(threads int) int {
	perBlock := max(1, streamedFloats/max(1, g.panelFloats(g.streamedWidth)))
	n := ceilDiv(g.streamedPanels, perBlock)
	if threads > 1 {
		n = max(n, min(g.streamedPanels, 4*threads))
	}
	return n
}

func (g *product) do(task, thread int) {
	s := g.scratch[thread]
	if g.packing {
		g.packAhead(s, task)
		return
	}
	g.multiply(s, task*g.streamedPanels/g.tasks, (task+1)*g.streamedPanels/g.tasks)
}

// panel is the place of a panel of the operand packed ahead.
func (g *product) panel(block, i int) []float32 {
	size := g.panelFloats(g.packedWidth)
	return g.packed[(block*g.packedPanels+i)*size:][:size]
}

func (g *product) packAhead(s *Scratch, i int) {
	w := g.packedWidth
	rows := min(w, g.packedRows()-i*w)
	for block := range g.blocks {
		k0 := block * g.kc
		g.packedAhead.pack(g.set, s, g.panel(block, i), w, i*w, rows, k0, min(g.kc, g.k-k0))
	}
}

func (g *product) packedRows() int {
	if g.streamA {
		return g.n
	}
	return g.m
}

// multiply computes the part of C that belongs to the streamed panels [p0, p1).
func (g *product) multiply(s *Scratch, p0, p1 int) {
	w := g.streamedWidth
	size := g.panelFloats(w)
	if g.direct == nil {
		s.streamed = grow(s.streamed, (p1-p0)*size)
	}
	total := g.m + g.n - g.packedRows()
	for block := range g.blocks {
		k0 := block * g.kc
		kc := min(g.kc, g.k-k0)
		for i := p0; i < p1 && g.direct == nil; i++ {
			g.streamed.pack(g.set, s, s.streamed[(i-p0)*size:][:size], w, i*w, min(w, total-i*w), k0, kc)
		}
		for j := range g.packedPanels {
			if g.streamA {
				g.strip(s, block, p0, p1, j, s.streamed, g.panel(block, j), kc)
				continue
			}
			for i := p0; i < p1; i++ {
				g.strip(s, block, j, j+1, i, g.panel(block, j), s.streamed[(i-p0)*size:], kc)
			}
		}
	}
}

// strip computes the tiles of C in panels [i0, i1) of A and panel j of B over one block of k. a is panel i0, unless A is
// direct.
func (g *product) strip(s *Scratch, block, i0, i1, j int, a, b []float32, kc int) {
	mr, nr := g.mr, g.set.nr
	t := &s.strip // In the scratch, since a call through a function value would move it to the heap.
	*t = strip{rows: min(i1*mr, g.m) - i0*mr, cols: min(nr, g.n-j*nr), kc: ceilDiv(kc, g.depth), step: mr, aStep: g.panelFloats(mr), a: a, lda: mr, b: b,
		c: g.c[i0*mr*g.ldc+j*nr:], ldc: g.ldc, load: g.accumulate || block > 0}
	if m := g.direct; m != nil {
		t.a, t.lda, t.byRows, t.aStep = m.at(i0*mr, block*g.kc), m.ld, m.alongK, mr
		if m.alongK {
			t.aStep = mr * m.ld
		}
	}
	if g.bias != nil && block == g.blocks-1 {
		t.bias = g.bias[j*nr:]
	}
	g.set.strip(t, s)
}
