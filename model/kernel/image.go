package kernel

// pixelRows is an image as a source: a row for each pixel of the result, k = (tap, channel). Forward, the row gathers the
// patch of X under a pixel of Y; back, it gathers the pixels of Y that a pixel of X took part
// in, the last tap first.
type pixelRows struct {
	args *ConvArgs
	back bool
}

func (r *pixelRows) pack(set *kernelSet, s *Scratch, dst []float32, width, i, n, k0, kc int) {
	a := r.args
	channels := a.Cin
	if r.back {
		channels = a.Cout
	}
	s.zeroRow(channels)
	var corner [maxWidth]pixel
	r.locate(corner[:n], i)
	for kc > 0 {
		tap, ch := k0/channels, k0%channels
		run := min(kc, channels-ch)
		kh, kw := tap/a.KW, tap%a.KW
		if r.back {
			kh, kw = a.KH-1-kh, a.KW-1-kw
		}
		for j := range n {
			s.rows[j] = r.address(s, corner[j], kh, kw, ch)
		}
		set.packRows(dst, width, s.rows[:n], run)
		dst, k0, kc = dst[run*width:], k0+run, kc-run
	}
}

// pixel is a place in the image that is read, before the tap is added: forward the corner of a patch, back the pixel of
// X plus the padding.
type pixel struct{ image, h, w int }

func (r *pixelRows) locate(out []pixel, i int) {
	a := r.args
	height, width, scale, top, left := a.OH, a.OW, a.Stride, -a.PadTop, -a.PadLeft
	if r.back {
		height, width, scale, top, left = a.H, a.W, 1, a.PadTop, a.PadLeft
	}
	b, rest := i/(height*width), i%(height*width)
	h, w := rest/width, rest%width
	for j := range out {
		out[j] = pixel{b, h*scale + top, w*scale + left}
		if w++; w == width {
			w = 0
			if h++; h == height {
				h = 0
				b++
			}
		}
	}
}

// address is where the channels from ch on of the pixel under a tap are, or a row of zeros outside the image.
func (r *pixelRows) address(s *Scratch, p pixel, kh, kw, ch int) *float32 {
	a := r.args
	if !r.back {
		h, w := p.h+kh, p.w+kw
		if uint(h) >= uint(a.H) || uint(w) >= uint(a.W) {
			return &s.zeros[0]
		}
		return &a.X[((p.image*a.H+h)*a.W+w)*a.Cin+ch]
	}
	h, w := p.h-kh, p.w-kw
	if a.Stride > 1 {
		if h < 0 || w < 0 || h%a.Stride != 0 || w%a.Stride != 0 {
			return &s.zeros[0]
		}
		h, w = h/a.Stride, w/a.Stride
	}
	if uint(h) >= uint(a.OH) || uint(w) >= uint(a.OW) {
		return &s.zeros[0]
	}
	return &a.Y[((p.image*a.OH+h)*a.OW+w)*a.Cout+ch]
}

// turnedWeights is the weights as columns of B in the gradient of the image: a row for each ci, k = (tap, co), the last
// tap first.
type turnedWeights struct{ args *ConvArgs }

func (t *turnedWeights) pack(set *kernelSet, s *Scratch, dst []float32, width, i, n, k0, kc int) {
	a := t.args
	for kc > 0 {
		tap, co := a.KH*a.KW-1-k0/a.Cout, k0%a.Cout
		run := min(kc, a.Cout-co)
		for j := range n {
			s.rows[j] = &a.Wt[(tap*a.Cin+i+j)*a.Cout+co]
		}
		set.packRows(dst, width, s.rows[:n], run)
		dst, k0, kc = dst[run*width:], k0+run, kc-run
	}
}

// tapRows is an image as a source in the gradient of the weights: a row for each (tap, ci), k = pixels of Y.
type tapRows struct{ args *ConvArgs }

func (t *tapRows) pack(set *kernelSet, s *Scratch, dst []float32, width, i, n, k0, kc int) {
	ci := t.args.Cin
	for first := 0; first < n; {
		tap, ch := (i+first)/ci, (i+first)%ci
		run := min(n-first, ci-ch)
		t.packTap(set, dst, width, first, run, tap, ch, k0, kc)
		first += run
	}
	if n < width {
		for k := range kc {
			clear(dst[k*width+n : (k+1)*width])
		}
	}
}

// packTap packs run channels from ch on under one tap into rows [first, first+run) of the panel, pixels [k0, k0+kc).
func (t *tapRows) packTap(set *kernelSet, dst []float32, width, first, run, tap, ch, k0, kc int) {
	a := t.args
	kh, kw := tap/a.KW, tap%a.KW
	for k := 0; k < kc; {
		row, ow := (k0+k)/a.OW, (k0+k)%a.OW
		n := min(kc-k, a.OW-ow)
		b, oh := row/a.OH, row%a.OH
		h := oh*a.Stride + kh - a.PadTop
		// Pixels ow+[lo, hi) of this row of Y read inside the image.
		lo, hi := t.inside(kw-a.PadLeft, ow, n)
		if uint(h) >= uint(a.H) {
			lo, hi = n, n
		}
		for j := 0; j < n; j++ {
			if j == lo && hi > lo {
				src := a.X[((b*a.H+h)*a.W+(ow+lo)*a.Stride+kw-a.PadLeft)*a.Cin+ch:]
				set.packCopy(dst[(k+lo)*width+first:], width, src, a.Stride*a.Cin, run, run, hi-lo)
				j = hi - 1
				continue
			}
			clear(dst[(k+j)*width+first:][:run])
		}
		k += n
	}
}

// inside returns the range of j in [0, n) for which (ow+j)·Stride+shift is a column of the image.
func (t *tapRows) inside(shift, ow, n int) (lo, hi int) {
	a := t.args
	lo = max(0, ceilDiv(max(0, -shift), a.Stride)-ow)
	hi = min(n, max(0, ceilDiv(a.W-shift, a.Stride)-ow))
	return min(lo, n), max(hi, min(lo, n))
}
