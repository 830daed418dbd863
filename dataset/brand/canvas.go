package brand

import (
	"image"
	"image/draw"
	"math"

	"golang.org/x/image/vector"
)

// Size is the width and height of every picture, in pixels.
const Size = 64

// rgb is a colour in sRGB, each channel in [0, 1].
type rgb struct{ r, g, b float64 }

// hex makes a colour from 0xRRGGBB.
func hex(v uint32) rgb {
	return rgb{float64(v>>16&255) / 255, float64(v>>8&255) / 255, float64(v&255) / 255}
}

// mix returns a + t·(b − a). The conversions forbid fused multiply-adds, so that a picture has
// the same bits on every machine.
func mix(a, b rgb, t float64) rgb {
	return rgb{lerp(a.r, b.r, t), lerp(a.g, b.g, t), lerp(a.b, b.b, t)}
}

func lerp(a, b, t float64) float64 { return a + float64(t*(b-a)) }

// light moves c towards white (t > 0) or towards its own dark shade (t < 0), |t| ≤ 1.
func (c rgb) light(t float64) rgb {
	if t < 0 {
		return mix(c, rgb{c.r * 0.22, c.g * 0.22, c.b * 0.26}, -t)
	}
	return mix(c, rgb{1, 1, 1}, t)
}

// paint gives the colour at a point of the product's unit square.
type paint func(x, y float64) rgb

// flat is one colour everywhere.
func flat(c rgb) paint { return func(_, _ float64) rgb { return c } }

// round shades c as a cylinder standing between x0 and x1, lit from the upper left.
func round(c rgb, x0, x1 float64) paint {
	return func(x, _ float64) rgb {
		u := (x - x0) / (x1 - x0)
		return c.light(bump(u, 0.28, 0.3)*0.34 - ramp(u, 0.5, 1.1)*0.62)
	}
}

// slope shades c from light at the top left to dark at the bottom right of the box.
func slope(c rgb, x0, y0, x1, y1 float64) paint {
	return func(x, y float64) rgb {
		u := (float64((x-x0)/(x1-x0)*0.5) + float64((y-y0)/(y1-y0)*0.5))
		return c.light(0.28 - float64(0.78*clamp01(u)))
	}
}

// bump is a smooth hill of height 1 at c and of half width w.
func bump(u, c, w float64) float64 {
	d := (u - c) / w
	if d < -1 || d > 1 {
		return 0
	}
	d = 1 - float64(d*d)
	return d * d
}

// ramp rises smoothly from 0 at a to 1 at b.
func ramp(u, a, b float64) float64 {
	t := clamp01((u - a) / (b - a))
	return t * t * (3 - float64(2*t))
}

func clamp01(v float64) float64 { return math.Max(0, math.Min(1, v)) }

// frame places a product's unit square, (0,0) top left, on the canvas, in pixels.
type frame struct {
	x, y, side float64
	mirror     bool
}

// point maps the unit square to pixels, rounded to 1/64 pixel.
func (f frame) point(x, y float64) (float32, float32) {
	if f.mirror {
		x = 1 - x
	}
	return snap(f.x + float64(x*f.side)), snap(f.y + float64(y*f.side))
}

func snap(v float64) float32 { return float32(math.Round(v*64) / 64) }

// canvas is a picture in the making: colours as floats, and the frame that paths are drawn in.
type canvas struct {
	pix   [Size * Size]rgb
	frame frame
}

// fill paints the inside of p. Opacity is in [0, 1].
func (c *canvas) fill(p *path, colour paint, opacity float64) {
	mask := p.rasterize(c.frame)
	for i, a := range mask.Pix {
		if a == 0 {
			continue
		}
		x := (float64(i%Size) + 0.5 - c.frame.x) / c.frame.side
		y := (float64(i/Size) + 0.5 - c.frame.y) / c.frame.side
		if c.frame.mirror {
			x = 1 - x
		}
		c.pix[i] = mix(c.pix[i], colour(x, y), opacity*float64(a)/255)
	}
}

// image rounds the canvas to 8 bits.
func (c *canvas) image() *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, Size, Size))
	for i, v := range c.pix {
		out.Pix[4*i], out.Pix[4*i+1], out.Pix[4*i+2], out.Pix[4*i+3] = to8(v.r), to8(v.g), to8(v.b), 255
	}
	return out
}

func to8(v float64) uint8 { return uint8(math.Round(clamp01(v) * 255)) }

// path is a set of closed outlines in the unit square. Outlines of opposite direction cut holes.
type path struct{ outlines [][][2]float64 }

// begin starts an outline at (x, y).
func (p *path) begin(x, y float64) *path {
	p.outlines = append(p.outlines, [][2]float64{{x, y}})
	return p
}

func (p *path) pen() (*[][2]float64, [2]float64) {
	last := &p.outlines[len(p.outlines)-1]
	return last, (*last)[len(*last)-1]
}

// line draws straight to each further point: x, y, x, y, …
func (p *path) line(xy ...float64) *path {
	for i := 0; i+1 < len(xy); i += 2 {
		last, _ := p.pen()
		*last = append(*last, [2]float64{xy[i], xy[i+1]})
	}
	return p
}

// curve draws a cubic Bézier to (x, y) in 12 straight pieces.
func (p *path) curve(ax, ay, bx, by, x, y float64) *path {
	last, from := p.pen()
	for i := 1; i <= 12; i++ {
		t := float64(i) / 12
		*last = append(*last, [2]float64{
			bezier(from[0], ax, bx, x, t), bezier(from[1], ay, by, y, t)})
	}
	return p
}

// bezier is de Casteljau's evaluation, without fused multiply-adds.
func bezier(a, b, c, d, t float64) float64 {
	ab, bc, cd := lerp(a, b, t), lerp(b, c, t), lerp(c, d, t)
	return lerp(lerp(ab, bc, t), lerp(bc, cd, t), t)
}

// kappa places the control points of a quarter circle.
const kappa = 0.5522847498

// ellipse adds a whole ellipse; a negative rx reverses its direction, for holes.
func (p *path) ellipse(cx, cy, rx, ry float64) *path {
	kx, ky := rx*kappa, ry*kappa
	return p.begin(cx+rx, cy).
		curve(cx+rx, cy+ky, cx+kx, cy+ry, cx, cy+ry).
		curve(cx-kx, cy+ry, cx-rx, cy+ky, cx-rx, cy).
		curve(cx-rx, cy-ky, cx-kx, cy-ry, cx, cy-ry).
		curve(cx+kx, cy-ry, cx+rx, cy-ky, cx+rx, cy)
}

// box adds a rectangle with corners of radius r.
func (p *path) box(x0, y0, x1, y1, r float64) *path {
	k := r * (1 - kappa)
	return p.begin(x0+r, y0).line(x1-r, y0).curve(x1-k, y0, x1, y0+k, x1, y0+r).
		line(x1, y1-r).curve(x1, y1-k, x1-k, y1, x1-r, y1).
		line(x0+r, y1).curve(x0+k, y1, x0, y1-k, x0, y1-r).
		line(x0, y0+r).curve(x0, y0+k, x0+k, y0, x0+r, y0)
}

// rasterize returns the antialiased coverage of p on the canvas.
func (p *path) rasterize(f frame) *image.Alpha {
	z := vector.NewRasterizer(Size, Size)
	for _, outline := range p.outlines {
		for i, q := range outline {
			x, y := f.point(q[0], q[1])
			if i == 0 {
				z.MoveTo(x, y)
				continue
			}
			z.LineTo(x, y)
		}
		z.ClosePath()
	}
	mask := image.NewAlpha(image.Rect(0, 0, Size, Size))
	z.DrawOp = draw.Src
	z.Draw(mask, mask.Bounds(), image.Opaque, image.Point{})
	return mask
}
