package similarity

import (
	"math"
	"math/bits"
	"slices"

	"yohaku/internal/picture"
)

// Hash is a perceptual hash: near pictures differ in few bits.
type Hash uint64

// Distance is the number of bits in which two hashes differ, 0 to 64.
func (h Hash) Distance(other Hash) int { return bits.OnesCount64(uint64(h ^ other)) }

const (
	side    = 32 // Of the grey picture that the transform sees.
	lowSide = 8  // Of the block of low frequencies.
)

// cosines[u][x] = cos((2x+1)uπ/2N), the rows of the DCT-II of N = 32 points that PHash needs.
var cosines = func() (c [lowSide][side]float64) {
	for u := range c {
		for x := range c[u] {
			c[u][x] = math.Cos(float64(2*x+1) * float64(u) * math.Pi / (2 * side))
		}
	}
	return c
}()

// PHash is the hash by cosine transform: the picture in grey at 32×32, its 8×8 lowest frequencies F(u,v),
// and one bit for each that is above their median; the constant F(0,0) does not enter the median.
func PHash(m *picture.Image) Hash {
	grey := shrink(m, side, side)
	var rows [side][lowSide]float64
	for y := range side {
		for u := range lowSide {
			for x := range side {
				rows[y][u] += grey[y*side+x] * cosines[u][x]
			}
		}
	}
	var f [lowSide * lowSide]float64
	for v := range lowSide {
		for u := range lowSide {
			for y := range side {
				f[v*lowSide+u] += rows[y][u] * cosines[v][y]
			}
		}
	}
	sorted := slices.Clone(f[1:])
	slices.Sort(sorted)
	return above(f[:], sorted[len(sorted)/2])
}

func above(f []float64, threshold float64) (h Hash) {
	for i, v := range f {
		if v > threshold {
			h |= 1 << i
		}
	}
	return h
}

// DHash is the hash by differences: the picture in grey at 9×8, and one bit for each pixel that is brighter
// than its neighbour at the right.
func DHash(m *picture.Image) (h Hash) {
	grey := shrink(m, 9, 8)
	for y := range 8 {
		for x := range 8 {
			if grey[y*9+x] > grey[y*9+x+1] {
				h |= 1 << (y*8 + x)
			}
		}
	}
	return h
}

// shrink is the picture's luma (ITU-R BT.601, 0 to 255) at width×height, each the mean over its share of the
// picture; a picture that is smaller repeats its pixels.
func shrink(m *picture.Image, width, height int) []float64 {
	out := make([]float64, width*height)
	means(m, width, height, func(at int, r, g, b float64) { out[at] = 0.299*r + 0.587*g + 0.114*b })
	return out
}

// means visits the mean colours of a grid of width×height cells, row by row.
func means(m *picture.Image, width, height int, visit func(at int, r, g, b float64)) {
	for gy := range height {
		y0, y1 := span(gy, height, m.Height)
		for gx := range width {
			x0, x1 := span(gx, width, m.Width)
			var sum [3]int
			for y := y0; y < y1; y++ {
				row := m.Pix[3*(y*m.Width+x0) : 3*(y*m.Width+x1)]
				for i := 0; i < len(row); i += 3 {
					sum[0] += int(row[i])
					sum[1] += int(row[i+1])
					sum[2] += int(row[i+2])
				}
			}
			n := float64((y1 - y0) * (x1 - x0))
			visit(gy*width+gx, float64(sum[0])/n, float64(sum[1])/n, float64(sum[2])/n)
		}
	}
}

// span is the share i of n of size pixels; at least one.
func span(i, n, size int) (from, to int) {
	from = i * size / n
	return from, max(from+1, (i+1)*size/n)
}
