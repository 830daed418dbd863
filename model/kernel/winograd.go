package kernel

// winograd is a convolution of 3×3 pixels, stride 1, by tiles of 2×2 pixels of the result, in 16 products of tiles by
// channels instead of 36: Y = Aᵀ·[(G·g·Gᵀ)∘(Bᵀ·d·B)]·A. In float32 it is as exact as the direct sum. The 16 numbers of a
// tile or a weight are its points. The order of sums is fixed: over channels in ascending order for each point, then as
// the transforms have it.
//
// Source: Lavin and Gray, arXiv:1509.09308, F(2×2, 3×3).
type winograd struct {
	set                 *kernelSet // Of the products.
	depth               int        // Values of k in an element of points: 2 in pairs of bf16.
	image, out          []float32
	height, width, ch   int // Of the image.
	outH, outW, columns int
	top, left           int
	accumulate          bool
	bias, weights       []float32
	turned              bool // The weights are those of the gradient of the image.

	rows, cols    int       // Tiles of an image.
	ld, pointStep int       // Elements from one tile to the next, and from one point.
	points        []float32 // [16, count, ld] of the image.
	first, count  int       // The tiles under way.
	group, panels int       // Tiles in a task, panels of columns.
	transforming  bool
	scratch       []*Scratch
}

// winogradScratch is what one thread needs.
type winogradScratch struct {
	products     []float32 // [16, tiles, nr].
	weights      []float32 // [16, blockPoints, nr], packed.
	exact        []float32 // The same, or points of tiles, before they are rounded to bf16.
	taps         []float32 // [9, blockPoints, nr], turned.
	nowhere      [maxWidth]float32
	pixels, dsts [16]*float32
	olds         [4]*float32
}

// pointFloats bounds the points that exist at a time. Only tests change it.
var pointFloats = 4 << 20

const (
	threadPoints  = 512 << 10 // Points of the image for each thread: what is read again soon may stay in the last cache.
	blockPoints   = 128       // Channels of a block of weights: 16 of them stay in the second-level cache.
	groupTiles    = 112       // Tiles of a task at most, as many as their products fit there.
	winogradLeast = 16        // Channels below which the transforms cost more than they save.
)

// winogradFits reports whether a convolution goes by tiles. It depends on the shape of an image only.
func winogradFits(a *ConvArgs) bool {
	return a.KH == 3 && a.KW == 3 && a.Stride == 1 && a.OH > 1 && a.OW > 1 && a.Cin >= winogradLeast && a.Cout >= winogradLeast &&
		a.PadTop >= 0 && a.PadLeft >= 0 && a.PadTop < 3 && a.PadLeft < 3
}

// rowStep is the elements of a row of n: rows a multiple of 2 KiB apart would share sets of the first-level cache.
func rowStep(n int) int {
	n = ceilDiv(n, 16) * 16
	if n%512 == 0 {
		n += 16
	}
	return n
}

// run computes the convolution of a batch.
func (w *winograd) run(p *Pool, batch int) {
	nr := w.set.nr
	w.rows, w.cols = ceilDiv(w.outH, 2), ceilDiv(w.outW, 2)
	w.ld, w.panels, w.scratch = rowStep(ceilDiv(w.ch, w.depth)), ceilDiv(w.columns, nr), p.scratch
	tiles := batch * w.rows * w.cols
	count := min(tiles, groupTiles*max(1, min(pointFloats, p.threads*threadPoints)/(groupTiles*16*w.ld)))
	w.pointStep = count*w.ld + 16
	w.points = grow(w.points, 16*w.pointStep)
	for w.first = 0; w.first < tiles; w.first += count {
		w.count = min(count, tiles-w.first)
		w.transforming = true
		p.run(ceilDiv(w.count, w.tilesPerTask()), w)
		w.transforming, w.group = false, w.taskTiles(p.threads)
		p.run(ceilDiv(w.count, w.group)*w.panels, w)
	}
	w.image, w.out, w.bias, w.weights, w.scratch = nil, nil, nil, nil, nil
}

// tilesPerTask is how many tiles of the image a task transforms.
func (w *winograd) tilesPerTask() int { return max(1, chunkElements/(16*w.ch)) }

// taskTiles is how many tiles a task multiplies: fewer where there would not be a few tasks for each thread.
func (w *winograd) taskTiles(threads int) int {
	n := groupTiles
	for n > 28 && ceilDiv(w.count, n)*w.panels < 3*threads && threads > 1 {
		n /= 2
	}
	return min(n, w.count)
}

func (w *winograd) do(task, thread int) {
	s := w.scratch[thread]
	if !w.transforming {
		w.multiply(s, task/w.panels*w.group, task%w.panels)
		return
	}
	n := w.tilesPerTask()
	for tile := task * n; tile < min(w.count, (task+1)*n); tile++ {
		w.transform(s, tile)
	}
}

// transform computes the points of one tile of the image.
func (w *winograd) transform(s *Scratch, tile int) {
	x := &s.winograd
	tileOf(w.first+tile, w.rows, w.cols).read(s, x.pixels[:], 4, -w.top, -w.left, w.image, w.height, w.width, w.ch)
	dst := w.points[tile*w.ld:]
	if !w.set.rounds() {
		active.vectors.tileInput(&dst[0], &x.pixels[0], w.ch, 4*w.pointStep)
		return
	}
	x.exact = grow(x.exact, 16*w.ch)
	active.vectors.tileInput(&x.exact[0], &x.pixels[0], w.ch, 4*w.ch)
	for p := range 16 {
		w.set.half.row(dst[p*w.pointStep:], x.exact[p*w.ch:][:w.ch])
	}
}

// tilePlace is a tile's image and the first pixel of its result.
type tilePlace struct{ image, h, w int }

func tileOf(tile, rows, cols int) tilePlace {
	image, rest := tile/(rows*cols), tile%(rows*cols)
	return tilePlace{image, 2 * (rest / cols), 2 * (rest % cols)}
}

// read sets pixels to the addresses of side×side pixels of an NHWC image from (h+top, w+left) on; those outside are zeros.
func (t tilePlace) read(s *Scratch, pixels []*float32, side, top, left int, x []float32, height, width, ch int) {
	zeros := s.zeroRow(ch)
	for i := range side {
		h := t.h + top + i
		if uint(h) >= uint(height) {
			for j := range side {
				pixels[side*i+j] = zeros
			}
			continue
		}
		row := (t.image*height + h) * width
		for j := range side {
			if w := t.w + left + j; uint(w) < uint(width) {
				pixels[side*i+j] = &x[(row+w)*ch]
			} else {
				pixels[side*i+j] = zeros
			}
		}
	}
}

// zeroRow is n zeros.
func (s *Scratch) zeroRow(n int) *float32 {
	if len(s.zeros) < n {
		s.zeros = make([]float32, max(n, maxWidth))
	}
	return &s.zeros[0]
}

// multiply computes a panel of columns for the tiles from t0 on.
func (w *winograd) multiply(s *Scratch, t0, panel int) {
	x, nr, n := &s.winograd, w.set.nr, min(w.group, w.count-t0)
	cols := min(nr, w.columns-panel*nr)
	step := groupTiles*nr + 16
	x.products = grow(x.products, 16*step)
	for k0 := 0; k0 < w.ch; k0 += blockPoints {
		kc := min(blockPoints, w.ch-k0)
		w.packWeights(s, panel*nr, cols, k0, kc)
		for p := range 16 {
			s.strip = strip{rows: n, cols: cols, kc: ceilDiv(kc, w.depth), step: w.set.mr, aStep: w.set.mr * w.ld,
				a: w.points[p*w.pointStep+t0*w.ld+k0/w.depth:], byRows: true, lda: w.ld,
				b: x.weights[p*blockPoints*nr:], c: x.products[p*step:], ldc: nr, load: k0 > 0}
			w.set.strip(&s.strip, s)
		}
	}
	for i := range n {
		w.store(s, w.first+t0+i, x.products[i*nr:], panel*nr, cols, 4*step)
	}
}

// packWeights computes the points of the weights of a block of channels and a panel of columns.
func (w *winograd) packWeights(s *Scratch, column, cols, k0, kc int) {
	x, nr, v := &s.winograd, w.set.nr, active.vectors
	x.weights = grow(x.weights, 16*blockPoints*nr)
	dst, half := x.weights, w.set.rounds()
	if half {
		x.exact = grow(x.exact, 16*blockPoints*nr)
		dst = x.exact
	}
	if w.turned {
		x.taps = grow(x.taps, 9*blockPoints*nr)
		for tap := range 9 {
			for r := range cols {
				s.rows[r] = &w.weights[(tap*w.columns+column+r)*w.ch+k0]
			}
			active.packRows(x.taps[(8-tap)*blockPoints*nr:], nr, s.rows[:cols], kc)
		}
		v.weightPoints(&dst[0], &x.taps[0], kc, cols, 4*nr, 4*nr, 4*blockPoints*nr, 4*blockPoints*nr)
	} else {
		v.weightPoints(&dst[0], &w.weights[k0*w.columns+column], kc, cols, 4*nr, 4*w.columns, 4*blockPoints*nr, 4*w.ch*w.columns)
	}
	for p := 0; p < 16 && half; p++ {
		at := p * blockPoints * nr
		w.set.packCopy(x.weights[at:], nr, x.exact[at:], nr, nr, nr, kc)
	}
}

// store writes the 2×2 pixels of a tile.
func (w *winograd) store(s *Scratch, tile int, products []float32, column, cols, step int) {
	x, t := &s.winograd, tileOf(tile, w.rows, w.cols)
	zeros := s.zeroRow(maxWidth)
	for q := range 4 {
		h, c := t.h+q/2, t.w+q%2
		x.dsts[q], x.olds[q] = &x.nowhere[0], zeros
		if h < w.outH && c < w.outW {
			x.dsts[q] = &w.out[((t.image*w.outH+h)*w.outW+c)*w.columns+column]
			if w.accumulate {
				x.olds[q] = x.dsts[q]
			}
		}
	}
	bias := zeros
	if w.bias != nil {
		bias = &w.bias[column]
	}
	active.vectors.tileOutput(&x.dsts[0], &x.olds[0], &products[0], bias, cols, step)
}
