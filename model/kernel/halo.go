package kernel

// haloConv is a convolution that reads a copy of the image with its padding written out. The patch under a pixel is then
// KH runs of KW·channels elements, and neighbouring pixels lie a fixed step apart: the micro-kernels read the image where
// it lies, and only the weights are packed. It serves narrow results, for which packing patches costs more.
type haloConv struct {
	set                 *kernelSet
	image, out          []float32
	height, width, ch   int // Of the image.
	outH, outW, columns int
	kh, kw, stride      int
	top, left           int
	accumulate          bool
	bias                []float32
	weights             source

	padH, padW     int
	first          int // Image of the first padded copy that exists.
	padded, packed []float32
	parts, kc      int // Blocks of k in a run, and their length.
	mr             int // Pixels of a tile.
	panels         int
	rows           int // Rows of the result in a task.
	phase          haloPhase
	scratch        []*Scratch
}

// haloFloats bounds the padded copies that exist at a time. Only tests change it.
var haloFloats = 16 << 20

type haloPhase int

const (
	haloPack haloPhase = iota
	haloPad
	haloMultiply
)

// The shapes that haloConv serves; the bits are those of the other path.
const (
	haloColumns  = 512 // At most.
	haloChannels = 3   // At least.
	haloPixels   = 128 // Pixels of a task.
)

// fits reports whether h can compute the convolution that it describes.
func (h *haloConv) fits() bool {
	h.padH, h.padW = (h.outH-1)*h.stride+h.kh, (h.outW-1)*h.stride+h.kw
	return h.set.direct && h.columns <= haloColumns && h.ch >= haloChannels && 2*h.outW >= h.set.mr && h.top >= 0 && h.left >= 0 &&
		h.padH*h.padW*h.ch <= haloFloats
}

// run computes a convolution that fits, a few images at a time.
func (h *haloConv) run(p *Pool, batch int) {
	h.parts = ceilDiv(h.kw*h.ch, blockK)
	h.kc = ceilDiv(h.kw*h.ch, h.parts)
	h.panels = ceilDiv(h.columns, h.set.nr)
	h.mr = tilePixels(h.outW, h.set.mr, h.stride*h.ch)
	h.rows = ceilDiv(haloPixels, h.outW)
	images := min(batch, haloFloats/(h.padH*h.padW*h.ch))
	h.padded = grow(h.padded, images*h.padH*h.padW*h.ch)
	h.packed = grow(h.packed, h.kh*h.parts*h.panels*h.set.nr*h.kc)
	h.scratch = p.scratch
	h.phase = haloPack
	p.run(h.panels, h)
	for h.first = 0; h.first < batch; h.first += images {
		count := min(images, batch-h.first)
		h.phase = haloPad
		p.run(count*h.padH, h)
		h.phase = haloMultiply
		p.run(count*ceilDiv(h.outH, h.rows), h)
	}
	h.image, h.out, h.bias, h.weights, h.scratch = nil, nil, nil, nil, nil
}

// tilePixels is the pixels of a tile: those of a row in tiles of about the same size.
func tilePixels(width, mr, step int) int {
	if step%1024 == 0 {
		mr = min(mr, 7) // As in choosePath.
	}
	return ceilDiv(width, ceilDiv(width, mr))
}

func (h *haloConv) do(task, thread int) {
	switch h.phase {
	case haloPad:
		h.pad(task/h.padH, task%h.padH)
	case haloPack:
		h.pack(h.scratch[thread], task)
	default:
		bands := ceilDiv(h.outH, h.rows)
		h.multiply(h.scratch[thread], task/bands, task%bands*h.rows)
	}
}

// pad writes row y of the padded image.
func (h *haloConv) pad(image, y int) {
	row := h.padded[(image*h.padH+y)*h.padW*h.ch:][:h.padW*h.ch]
	from := y - h.top
	if from < 0 || from >= h.height {
		clear(row)
		return
	}
	left := min(h.left*h.ch, len(row))
	clear(row[:left])
	n := copy(row[left:], h.image[((h.first+image)*h.height+from)*h.width*h.ch:][:h.width*h.ch])
	clear(row[left+n:])
}

// block returns the place of a panel of the weights, where its k begins and how long it is.
func (h *haloConv) block(kh, part, panel int) (dst []float32, k0, kc int) {
	size := h.set.nr * h.kc
	at := part * h.kc
	return h.packed[((kh*h.parts+part)*h.panels+panel)*size:][:size], kh*h.kw*h.ch + at, min(h.kc, h.kw*h.ch-at)
}

func (h *haloConv) pack(s *Scratch, panel int) {
	nr := h.set.nr
	for kh := range h.kh {
		for part := range h.parts {
			dst, k0, kc := h.block(kh, part, panel)
			h.weights.pack(h.set, s, dst, nr, panel*nr, min(nr, h.columns-panel*nr), k0, kc)
		}
	}
}

// multiply computes the rows of the result from y0 on that belong to one task.
func (h *haloConv) multiply(s *Scratch, image, y0 int) {
	y1 := min(h.outH, y0+h.rows)
	for kh := range h.kh {
		for part := range h.parts {
			for panel := range h.panels {
				for y := y0; y < y1; y++ {
					h.row(s, image, y, kh, part, panel)
				}
			}
		}
	}
}

// row adds one block of k to a panel of columns of one row of the result.
func (h *haloConv) row(s *Scratch, image, y, kh, part, panel int) {
	weights, _, kc := h.block(kh, part, panel)
	nr := h.set.nr
	in := h.padded[((image*h.padH+y*h.stride+kh)*h.padW)*h.ch+part*h.kc:]
	out := h.out[(((h.first+image)*h.outH+y)*h.outW)*h.columns+panel*nr:]
	var bias []float32
	if h.bias != nil && kh == h.kh-1 && part == h.parts-1 {
		bias = h.bias[panel*nr:]
	}
	s.strip = strip{rows: h.outW, cols: min(nr, h.columns-panel*nr), kc: kc, step: h.mr, aStep: h.mr * h.stride * h.ch,
		a: in, byRows: true, lda: h.stride * h.ch, b: weights,
		c: out, ldc: h.columns, load: h.accumulate || kh > 0 || part > 0, bias: bias}
	h.set.strip(&s.strip, s)
}
