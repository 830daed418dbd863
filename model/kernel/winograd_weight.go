package kernel

// winogradWeight is the gradient of the weights by tiles: dg = Gᵀ·[Σ (Bᵀ·d·B)∘(A·dy·Aᵀ)]·G, the sum over tiles in ascending
// order. It is the adjoint of winograd in the weights.
type winogradWeight struct {
	set   *kernelSet
	depth int
	args  ConvArgs

	rows, cols          int
	ld, pointStep       int
	points              []float32 // [16, ⌈count/depth⌉, ld] of the image.
	panelStep, panels   int
	grads               []float32 // [panels, 16, ⌈count/depth⌉, nr] of the result's gradient.
	products            []float32 // [blocks, panels, 16, blockRows, nr], where one pass over the tiles is not enough.
	blocks              int       // Of channels of the image.
	first, count, tiles int
	phase               winogradPhase
	scratch             []*Scratch
}

type winogradPhase int

const (
	winogradImage winogradPhase = iota
	winogradResult
	winogradProduct
)

// rowsPerBlock is the channels of the image in a task.
const rowsPerBlock = 112

func (w *winogradWeight) run(p *Pool) {
	a, nr := &w.args, w.set.nr
	w.rows, w.cols = ceilDiv(a.OH, 2), ceilDiv(a.OW, 2)
	w.ld, w.panels, w.blocks = rowStep(a.Cin), ceilDiv(a.Cout, nr), ceilDiv(a.Cin, rowsPerBlock)
	w.scratch, w.tiles = p.scratch, a.B*w.rows*w.cols
	count := min(w.tiles, 64*max(1, pointFloats*w.depth/(64*16*(w.ld+w.panels*nr))))
	rows := ceilDiv(count, w.depth)
	w.pointStep, w.panelStep = rows*w.ld+16, rows*nr+16
	w.points, w.grads = grow(w.points, 16*w.pointStep), grow(w.grads, w.panels*16*w.panelStep)
	if count < w.tiles {
		w.products = grow(w.products, w.blocks*w.panels*16*w.productStep())
	}
	for w.first = 0; w.first < w.tiles; w.first += count {
		w.count = min(count, w.tiles-w.first)
		for w.phase = winogradImage; w.phase <= winogradProduct; w.phase++ {
			p.run(w.tasks(), w)
		}
	}
	w.args, w.scratch = ConvArgs{}, nil
}

func (w *winogradWeight) productStep() int { return rowsPerBlock*w.set.nr + 16 }

func (w *winogradWeight) tasks() int {
	if w.phase == winogradProduct {
		return w.blocks * w.panels
	}
	return ceilDiv(w.count, w.tilesPerTask())
}

// tilesPerTask is even, for pairs.
func (w *winogradWeight) tilesPerTask() int {
	ch := w.args.Cin
	if w.phase == winogradResult {
		ch = w.args.Cout
	}
	return 2 * max(1, chunkElements/(32*ch))
}

func (w *winogradWeight) do(task, thread int) {
	s := w.scratch[thread]
	if w.phase == winogradProduct {
		w.multiply(s, task/w.panels, task%w.panels)
		return
	}
	n := w.tilesPerTask()
	for tile := task * n; tile < min(w.count, (task+1)*n); tile += w.depth2() {
		if w.phase == winogradImage {
			w.transformImage(s, tile)
		} else {
			w.transformResult(s, tile)
		}
	}
}

// depth2 is the tiles that are transformed at a time: two where they become pairs.
func (w *winogradWeight) depth2() int {
	if w.set.rounds() {
		return 2
	}
	return 1
}

func (w *winogradWeight) transformImage(s *Scratch, tile int) {
	a, x := &w.args, &s.winograd
	pixels := func(tile int) {
		tileOf(w.first+tile, w.rows, w.cols).read(s, x.pixels[:], 4, -a.PadTop, -a.PadLeft, a.X, a.H, a.W, a.Cin)
	}
	if !w.set.rounds() {
		pixels(tile)
		active.vectors.tileInput(&w.points[tile*w.ld], &x.pixels[0], a.Cin, 4*w.pointStep)
		return
	}
	x.exact = grow(x.exact, 32*a.Cin)
	n := min(2, w.count-tile)
	for i := range n {
		pixels(tile + i)
		active.vectors.tileInput(&x.exact[16*a.Cin*i], &x.pixels[0], a.Cin, 4*a.Cin)
	}
	for p := range 16 {
		w.set.half.pair(w.points[p*w.pointStep+tile/w.depth*w.ld:], w.ld, x.exact[p*a.Cin:], 16*a.Cin, a.Cin, n)
	}
}

func (w *winogradWeight) transformResult(s *Scratch, tile int) {
	a, x, nr := &w.args, &s.winograd, w.set.nr
	n := min(w.depth2(), w.count-tile)
	if w.set.rounds() {
		x.exact = grow(x.exact, 32*nr)
	}
	for panel := range w.panels {
		cols := min(nr, a.Cout-panel*nr)
		dst := w.grads[panel*16*w.panelStep+tile/w.depth*nr:]
		for i := range n {
			tileOf(w.first+tile+i, w.rows, w.cols).read(s, x.pixels[:4], 2, 0, 0, a.Y, a.OH, a.OW, a.Cout)
			zeros := s.zeroRow(a.Cout)
			for q, p := range x.pixels[:4] {
				if p != zeros {
					x.pixels[q] = &at(p, a.Cout)[panel*nr]
				}
			}
			if w.set.rounds() {
				active.vectors.tileGradient(&x.exact[16*nr*i], &x.pixels[0], cols, 4*nr)
			} else {
				active.vectors.tileGradient(&dst[0], &x.pixels[0], cols, 4*w.panelStep)
			}
		}
		for p := 0; p < 16 && w.set.rounds(); p++ {
			w.set.packCopy(dst[p*w.panelStep:], nr, x.exact[p*nr:], 16*nr, nr, nr, n)
		}
	}
}

// multiply computes the products of a block of channels of the image and a panel of those of the result.
func (w *winogradWeight) multiply(s *Scratch, block, panel int) {
	a, x, nr, step := &w.args, &s.winograd, w.set.nr, w.productStep()
	c0 := block * rowsPerBlock
	n, cols := min(rowsPerBlock, a.Cin-c0), min(nr, a.Cout-panel*nr)
	x.products = grow(x.products, 16*step)
	products := x.products
	if w.count < w.tiles {
		products = w.products[(block*w.panels+panel)*16*step:][:16*step]
	}
	for p := range 16 {
		s.strip = strip{rows: n, cols: cols, kc: ceilDiv(w.count, w.depth), step: w.set.mr, aStep: w.set.mr,
			a: w.points[p*w.pointStep+c0:], lda: w.ld, b: w.grads[(panel*16+p)*w.panelStep:],
			c: products[p*step:], ldc: nr, load: w.first > 0}
		w.set.strip(&s.strip, s)
	}
	if w.first+w.count < w.tiles {
		return
	}
	for i := range n {
		w.store(s, c0+i, panel*nr, cols, products[i*nr:], 4*step)
	}
}

// store writes the 9 taps of one channel of the image.
func (w *winogradWeight) store(s *Scratch, c, column, cols int, products []float32, step int) {
	a := &w.args
	dst := &a.Wt[c*a.Cout+column]
	old, oldTap := s.zeroRow(maxWidth), 0
	if a.Accumulate {
		old, oldTap = dst, 4*a.Cin*a.Cout
	}
	active.vectors.weightTaps(dst, old, &products[0], cols, 4*a.Cin*a.Cout, oldTap, step)
}
