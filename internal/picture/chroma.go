package picture

import "image"

// This file turns the decoders' YCbCr planes into RGB as libjpeg-turbo and libwebp do. Go's own
// conversion repeats chroma samples instead of interpolating them, and takes the limited range of
// WebP's luma (16 … 235) for the full one.

// chromaRow is a function that fills dst, one value per pixel, for row y of the picture.
type chromaRow func(dst []uint8, y int)

// plane is one chroma plane: width and height are its real size, without the decoder's padding.
type plane struct {
	pix           []uint8
	stride        int
	width, height int
}

// row returns row y, the nearest one when y is outside.
func (p plane) row(y int) []uint8 {
	y = min(max(y, 0), p.height-1)
	return p.pix[y*p.stride : y*p.stride+p.width]
}

// nearFar returns the rows that a picture row lies between when chroma has half the height: the
// one it is nearer to and the other; at the border they are the same.
func (p plane) nearFar(y int) (near, far []uint8) {
	if y%2 == 0 {
		return p.row(y / 2), p.row(y/2 - 1)
	}
	return p.row(y / 2), p.row(y/2 + 1)
}

// planes returns the two chroma planes of m.
func planes(m *image.YCbCr) (cb, cr plane) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		w = (w + 1) / 2
	case image.YCbCrSubsampleRatio420:
		w, h = (w+1)/2, (h+1)/2
	case image.YCbCrSubsampleRatio440:
		h = (h + 1) / 2
	case image.YCbCrSubsampleRatio411:
		w = (w + 3) / 4
	case image.YCbCrSubsampleRatio410:
		w, h = (w+3)/4, (h+1)/2
	}
	at := m.COffset(m.Rect.Min.X, m.Rect.Min.Y)
	return plane{m.Cb[at:], m.CStride, w, h}, plane{m.Cr[at:], m.CStride, w, h}
}

// fromJPEG fills dst from a JPEG's planes (full range, BT.601).
//
// Source: libjpeg-turbo, jdsample.c (fancy upsampling) and jdcolor.c (build_ycc_rgb_table).
func fromJPEG(dst *Image, m *image.YCbCr) {
	cb, cr := planes(m)
	convertRows(dst, m, jpegUpsampler(cb, m.SubsampleRatio), jpegUpsampler(cr, m.SubsampleRatio), jpegPixel)
}

// fromVP8 fills dst from a lossy WebP's planes (limited range, BT.601).
//
// Source: libwebp, src/dsp/upsampling.c and yuv.h.
func fromVP8(dst *Image, m *image.YCbCr) {
	cb, cr := planes(m)
	convertRows(dst, m, vp8Upsampler(cb), vp8Upsampler(cr), vp8Pixel)
}

func convertRows(dst *Image, m *image.YCbCr, cbRow, crRow chromaRow, pixel func(y, cb, cr uint8) (r, g, b uint8)) {
	cb, cr := make([]uint8, dst.Width), make([]uint8, dst.Width)
	for y := range dst.Height {
		cbRow(cb, y)
		crRow(cr, y)
		luma := m.Y[m.YOffset(m.Rect.Min.X, m.Rect.Min.Y+y):]
		out := dst.Pix[3*y*dst.Width : 3*(y+1)*dst.Width]
		for x := range dst.Width {
			out[3*x], out[3*x+1], out[3*x+2] = pixel(luma[x], cb[x], cr[x])
		}
	}
}

// jpegPixel converts one pixel in 16-bit fixed point, each product rounded as in libjpeg's tables.
func jpegPixel(y, cb, cr uint8) (r, g, b uint8) {
	const half = 1 << 15
	u, v, luma := int32(cb)-128, int32(cr)-128, int32(y)
	r = clip8(luma + (91881*v+half)>>16)
	g = clip8(luma + (-22554*u-46802*v+half)>>16)
	b = clip8(luma + (116130*u+half)>>16)
	return r, g, b
}

// vp8Pixel converts one pixel; the constants hold 6 fractional bits after the high multiply.
func vp8Pixel(y, cb, cr uint8) (r, g, b uint8) {
	luma, u, v := int32(y)*19077>>8, int32(cb), int32(cr)
	r = clip8((luma + v*26149>>8 - 14234) >> 6)
	g = clip8((luma - u*6419>>8 - v*13320>>8 + 8708) >> 6)
	b = clip8((luma + u*33050>>8 - 17685) >> 6)
	return r, g, b
}

func clip8(v int32) uint8 { return uint8(min(max(v, 0), 255)) }

// jpegUpsampler picks libjpeg's interpolation for a subsampling; it repeats samples where libjpeg
// does, in narrow pictures and at unusual ratios.
func jpegUpsampler(p plane, ratio image.YCbCrSubsampleRatio) chromaRow {
	const leastWidth = 3
	switch {
	case ratio == image.YCbCrSubsampleRatio444:
		return func(dst []uint8, y int) { copy(dst, p.row(y)) }
	case ratio == image.YCbCrSubsampleRatio422 && p.width >= leastWidth:
		return func(dst []uint8, y int) { upsampleH2(dst, p.row(y)) }
	case ratio == image.YCbCrSubsampleRatio420 && p.width >= leastWidth:
		return func(dst []uint8, y int) {
			near, far := p.nearFar(y)
			upsampleH2V2(dst, near, far)
		}
	case ratio == image.YCbCrSubsampleRatio440:
		return func(dst []uint8, y int) {
			near, far := p.nearFar(y)
			bias := 1 + y%2
			for x := range dst {
				dst[x] = uint8((3*int(near[x]) + int(far[x]) + bias) >> 2)
			}
		}
	}
	return repeatUpsampler(p, ratio)
}

// repeatUpsampler repeats the samples.
func repeatUpsampler(p plane, ratio image.YCbCrSubsampleRatio) chromaRow {
	h, v := 1, 1
	switch ratio {
	case image.YCbCrSubsampleRatio422:
		h = 2
	case image.YCbCrSubsampleRatio420:
		h, v = 2, 2
	case image.YCbCrSubsampleRatio411:
		h = 4
	case image.YCbCrSubsampleRatio410:
		h, v = 4, 2
	}
	return func(dst []uint8, y int) {
		row := p.row(y / v)
		for x := range dst {
			dst[x] = row[x/h]
		}
	}
}

// upsampleH2 doubles a row: each output is ¾ of the nearer sample and ¼ of the other, the rounding
// alternating.
func upsampleH2(dst, src []uint8) {
	last := len(src) - 1
	for x := range dst {
		i := x / 2
		near := 3 * int(src[i])
		switch {
		case x == 0 || i == last && x%2 == 1:
			dst[x] = src[i]
		case x%2 == 0:
			dst[x] = uint8((near + int(src[i-1]) + 1) >> 2)
		default:
			dst[x] = uint8((near + int(src[i+1]) + 2) >> 2)
		}
	}
}

// upsampleH2V2 doubles both ways: weights 9, 3, 3, 1 sixteenths, the rounding alternating.
func upsampleH2V2(dst, near, far []uint8) {
	sum := func(i int) int { return 3*int(near[i]) + int(far[i]) }
	last := len(near) - 1
	for x := range dst {
		i := x / 2
		this := sum(i)
		switch {
		case x == 0:
			dst[x] = uint8((4*this + 8) >> 4)
		case i == last && x%2 == 1:
			dst[x] = uint8((4*this + 7) >> 4)
		case x%2 == 0:
			dst[x] = uint8((3*this + sum(i-1) + 8) >> 4)
		default:
			dst[x] = uint8((3*this + sum(i+1) + 7) >> 4)
		}
	}
}

// vp8Upsampler doubles both ways, as libwebp's UpsampleLinePair.
func vp8Upsampler(p plane) chromaRow {
	return func(dst []uint8, y int) {
		near, far := p.nearFar(y)
		edge := func(i int) uint8 { return uint8((3*int(near[i]) + int(far[i]) + 2) >> 2) }
		dst[0] = edge(0)
		for x := 1; x < len(near); x++ {
			n0, n1, f0, f1 := int(near[x-1]), int(near[x]), int(far[x-1]), int(far[x])
			all := n0 + n1 + f0 + f1 + 8
			dst[2*x-1] = uint8(((all+2*(n1+f0))>>3 + n0) >> 1)
			if 2*x < len(dst) {
				dst[2*x] = uint8(((all+2*(n0+f1))>>3 + n1) >> 1)
			}
		}
		if len(dst)%2 == 0 {
			dst[len(dst)-1] = edge(len(near) - 1)
		}
	}
}
