package palette

import (
	"image"
	"math"
	"slices"
)

// Score returns how near img comes to p, as minus a distance in ΔE*ab: higher is nearer, 0 is the
// best. With N pixels x and K colours c of share s,
//
//	fit   = 1/N · Σ_x min_c ΔE(x, c)
//	cover = 1/K · Σ_c mean of ΔE(x, c) over the ⌈s·N⌉ pixels nearest to c
//	score = −(fit + cover) / 2.
//
// Fit asks that every pixel wears a colour of the palette, cover that every colour is worn: a blank
// picture in one of the colours fits, and covers only that one. Alpha is ignored.
// An empty picture scores −Inf, and so does an empty palette.
func Score(img image.Image, p Palette) float64 {
	pixels := labs(img)
	if len(pixels) == 0 || len(p.Colours) == 0 {
		return math.Inf(-1)
	}
	nearest := make([]float64, len(pixels))
	distances := make([]float64, len(pixels))
	cover := 0.0
	for k, c := range p.Colours {
		for i, x := range pixels {
			distances[i] = x.Distance(c.Lab)
			if k == 0 || distances[i] < nearest[i] {
				nearest[i] = distances[i]
			}
		}
		slices.Sort(distances)
		cover += mean(distances[:covered(c.Share, len(pixels))])
	}
	return -(mean(nearest) + cover/float64(len(p.Colours))) / 2
}

// covered is the number of pixels in a share of n, from 1 to n.
func covered(share float64, n int) int {
	return min(n, max(1, int(math.Ceil(share*float64(n)))))
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// labs converts every pixel of img.
func labs(img image.Image) []Lab {
	b := img.Bounds()
	out := make([]Lab, 0, b.Dx()*b.Dy())
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, bl, _ := img.At(x, y).RGBA()
			out = append(out, FromSRGB(uint8(r>>8), uint8(g>>8), uint8(bl>>8)))
		}
	}
	return out
}
