package dataset

import "yohaku/internal/picture"

// window is what one output sample is made of: source samples from first on, with weights that
// sum to 1.
type window struct {
	first   int
	weights []float32
}

// bilinearWindows returns the windows that take a line of in samples to out samples with the
// triangle kernel. When the line shrinks the kernel is widened by in/out (antialiasing).
//
//	centre_i = (i + ½)·in/out,  weight_ij ∝ triangle((j + ½ − centre_i)/max(1, in/out))
//
// Scale, centre and weights are rounded to float32 where torch rounds them: at a few hundred
// pixels that moves a weight by 1e-5, which exact arithmetic would not follow.
//
// Source: torch, aten/src/ATen/native/cpu/UpSampleKernel.cpp, the antialiased kernels for float.
func bilinearWindows(in, out int) []window {
	scale := float32(in) / float32(out)
	widen := max(1, scale)
	inverse := float32(1 / float64(widen))
	windows := make([]window, out)
	for i := range windows {
		centre := float32(float64(scale) * (float64(i) + 0.5))
		first := max(0, int(float64(centre-widen)+0.5))
		end := min(in, int(float64(centre+widen)+0.5))
		weights := make([]float32, end-first)
		var total float32
		for j := range weights {
			x := float32((float64(float32(j+first)-centre) + 0.5) * float64(inverse))
			weights[j] = max(0, 1-max(x, -x))
			total += weights[j]
		}
		for j := range weights {
			weights[j] /= total
		}
		windows[i] = window{first, weights}
	}
	return windows
}

// resizeCrop resizes a picture bilinearly with antialiasing to width × height and cuts out the
// square of the given side at (top, left), as float32 planes [3, side, side] in [0, 1]. Only what
// is cut out is computed.
//
// As torchvision's Resize on a float tensor: bytes / 255, rows first, float32 between the passes.
// Sums are float64: products of float32 are exact there, so fusing them changes no bit.
func resizeCrop(src *picture.Image, width, height, top, left, side int) []float32 {
	columns := bilinearWindows(src.Width, width)[left : left+side]
	rows := bilinearWindows(src.Height, height)[top : top+side]
	from, to := rows[0].first, 0
	for _, w := range rows {
		from, to = min(from, w.first), max(to, w.first+len(w.weights))
	}
	lines := resizeLines(src, columns, from, to)
	dst := make([]float32, 3*side*side)
	lineSize := 3 * side
	for y, w := range rows {
		for c := range 3 {
			out := dst[(c*side+y)*side : (c*side+y+1)*side]
			for x := range out {
				at := (w.first-from)*lineSize + c*side + x
				sum := 0.0
				for j, weight := range w.weights {
					sum += float64(weight) * float64(lines[at+j*lineSize])
				}
				out[x] = float32(sum)
			}
		}
	}
	return dst
}

// resizeLines resizes the rows [from, to) of src: line y is [3, len(columns)], in [0, 1].
func resizeLines(src *picture.Image, columns []window, from, to int) []float32 {
	side := len(columns)
	lines := make([]float32, (to-from)*3*side)
	for y := from; y < to; y++ {
		row := src.Pix[3*y*src.Width : 3*(y+1)*src.Width]
		line := lines[(y-from)*3*side:]
		for x, w := range columns {
			var r, g, b float64
			for j, weight := range w.weights {
				p := row[3*(w.first+j) : 3*(w.first+j)+3]
				r += float64(weight) * byteValue[p[0]]
				g += float64(weight) * byteValue[p[1]]
				b += float64(weight) * byteValue[p[2]]
			}
			line[x], line[side+x], line[2*side+x] = float32(r), float32(g), float32(b)
		}
	}
	return lines
}

// byteValue[b] is float32(b)/255, as torchvision's ToTensor gives it.
var byteValue = func() (t [256]float64) {
	for b := range t {
		t[b] = float64(float32(b) / 255)
	}
	return t
}()
