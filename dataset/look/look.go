// Package look tells what a picture looks like in numbers, without any model: features to compare pictures by, and
// the statistics by which artifacts of training show first.
//
// Invariant: the numbers depend on the pixels only, and are the same on every machine.
package look

import (
	"image"
	"math"

	"yohaku/dataset/palette"
)

// grid is the side of the grid of features.
const grid = 8

// Stats are a picture's statistics. Shares are in [0, 1], CIELAB as in package palette.
type Stats struct {
	Saturation float64    // Mean of HSV's S = 1 − min/max of a pixel's channels.
	Clipping   float64    // Share of channel values that are 0 or 255.
	Mean       [3]float64 // L, a and b.
	Deviation  [3]float64 // Standard deviation of L, a and b over the pixels.
}

// Of returns the statistics of m, and its features: the mean L, a and b of each cell of an 8×8 grid, row by row, divided
// by 8, so that the Euclidean distance of two pictures' features is the root mean square of ΔE*ab over the cells. Alpha is
// ignored. An empty picture gives zeros.
func Of(m image.Image) (Stats, []float32) {
	var s Stats
	cells, counts := make([]float64, 3*grid*grid), make([]float64, grid*grid)
	b := m.Bounds()
	var squares [3]float64
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r16, g16, b16, _ := m.At(x, y).RGBA()
			rgb := [3]uint8{uint8(r16 >> 8), uint8(g16 >> 8), uint8(b16 >> 8)}
			s.Saturation += saturation(rgb)
			for _, v := range rgb {
				if v == 0 || v == 255 {
					s.Clipping += 1.0 / 3
				}
			}
			lab := palette.FromSRGB(rgb[0], rgb[1], rgb[2])
			cell := (y-b.Min.Y)*grid/b.Dy()*grid + (x-b.Min.X)*grid/b.Dx()
			counts[cell]++
			for c, v := range [3]float64{lab.L, lab.A, lab.B} {
				cells[3*cell+c] += v
				s.Mean[c] += v
				squares[c] += v * v
			}
		}
	}
	n := max(1, float64(b.Dx()*b.Dy()))
	s.Saturation, s.Clipping = s.Saturation/n, s.Clipping/n
	for c := range s.Mean {
		s.Mean[c] /= n
		s.Deviation[c] = math.Sqrt(max(0, squares[c]/n-s.Mean[c]*s.Mean[c]))
	}
	features := make([]float32, len(cells))
	for i, v := range cells {
		features[i] = float32(v / max(1, counts[i/3]) / grid)
	}
	return s, features
}

func saturation(rgb [3]uint8) float64 {
	low, high := min(rgb[0], rgb[1], rgb[2]), max(rgb[0], rgb[1], rgb[2])
	if high == 0 {
		return 0
	}
	return 1 - float64(low)/float64(high)
}
