package look

import (
	"image"
	"image/color"
	"math"
	"testing"

	"yohaku/dataset/palette"
)

func painted(w, h int, at func(x, y int) color.RGBA) image.Image {
	m := image.NewRGBA(image.Rect(3, 5, 3+w, 5+h)) // Not at the origin.
	for y := range h {
		for x := range w {
			m.Set(3+x, 5+y, at(x, y))
		}
	}
	return m
}

func distance(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return math.Sqrt(sum)
}

func TestStatistics(t *testing.T) {
	half := painted(30, 20, func(x, _ int) color.RGBA {
		if x < 15 {
			return color.RGBA{R: 255, A: 255}
		}
		return color.RGBA{R: 100, G: 100, B: 100, A: 255}
	})
	s, _ := Of(half)
	if math.Abs(s.Saturation-0.5) > 1e-12 || math.Abs(s.Clipping-0.5) > 1e-12 {
		t.Errorf("saturation %v, clipping %v; want ½ each", s.Saturation, s.Clipping)
	}
	red, grey := palette.FromSRGB(255, 0, 0), palette.FromSRGB(100, 100, 100)
	if want := (red.L + grey.L) / 2; math.Abs(s.Mean[0]-want) > 1e-9 {
		t.Errorf("mean L %v, want %v", s.Mean[0], want)
	}
	if want := math.Abs(red.A-grey.A) / 2; math.Abs(s.Deviation[1]-want) > 1e-6 {
		t.Errorf("deviation of a %v, want %v", s.Deviation[1], want)
	}
}

// TestFeatureDistanceIsDeltaE: of two plain pictures it is the distance of their colours, and a change of half the
// picture counts 1/√2 of it.
func TestFeatureDistanceIsDeltaE(t *testing.T) {
	red, blue := color.RGBA{R: 200, A: 255}, color.RGBA{B: 200, A: 255}
	plain := func(c color.RGBA) image.Image { return painted(64, 64, func(int, int) color.RGBA { return c }) }
	_, a := Of(plain(red))
	_, b := Of(plain(blue))
	_, half := Of(painted(64, 64, func(x, _ int) color.RGBA {
		if x < 32 {
			return blue
		}
		return red
	}))
	want := palette.FromSRGB(200, 0, 0).Distance(palette.FromSRGB(0, 0, 200))
	if got := distance(a, b); math.Abs(got-want) > 1e-3 {
		t.Errorf("distance %v, want %v", got, want)
	}
	if got := distance(a, half); math.Abs(got-want/math.Sqrt2) > 1e-3 {
		t.Errorf("distance to half a change %v, want %v", got, want/math.Sqrt2)
	}
}

func TestAnEmptyPictureGivesZeros(t *testing.T) {
	if s, f := Of(image.NewRGBA(image.Rectangle{})); s != (Stats{}) || distance(f, make([]float32, len(f))) != 0 {
		t.Errorf("stats %+v", s)
	}
}
