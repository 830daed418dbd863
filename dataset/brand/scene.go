// Package brand draws simple products and makes preference pairs of them: the same prompt, once in
// the brand's colours and once in others.
//
// Purpose: the built-in data set of the demo, and the pictures its base model was trained on
// (recipe/). Everything is drawn by this package; there are no picture files.
//
// Invariants: a seed gives the same pixels on every machine (no fused multiply-adds, no
// trigonometry, coordinates rounded to 1/64 pixel before rasterization); every word of every
// prompt is in the base model's vocabulary.
package brand

import (
	"image"
	"math/rand/v2"
)

// Colours are the product colours, by the word that a caption uses.
var Colours = []string{"red", "yellow", "green", "teal", "blue", "purple", "pink", "brown", "black", "white"}

// Backgrounds are the soft backdrops, by the word that a caption uses.
var Backgrounds = []string{"orange", "cream", "sky", "mint", "lilac", "rose", "grey", "lemon", "sand", "slate"}

var colours = map[string]rgb{
	"red": hex(0xd2322d), "yellow": hex(0xf2c21a), "green": hex(0x3f9b3c), "teal": hex(0x0f8b8d),
	"blue": hex(0x2b5fc7), "purple": hex(0x7b3fa0), "pink": hex(0xec6ea5), "brown": hex(0x7a4a2b),
	"black": hex(0x2c2c30), "white": hex(0xf1f1ee),
}

var backgrounds = map[string]rgb{
	"orange": hex(0xf2a65a), "cream": hex(0xf5ead0), "sky": hex(0xa9d3ee), "mint": hex(0xb5e3cb),
	"lilac": hex(0xcfbfe8), "rose": hex(0xf3bcc4), "grey": hex(0xc3c6ca), "lemon": hex(0xf3ec9b),
	"sand": hex(0xd9c09a), "slate": hex(0x77889b),
}

// Scene says what a picture shows. Product, Colour and Background are words of the lists above.
type Scene struct {
	Product, Colour, Background string
	place                       frame
	shade                       float64 // How much lighter (above 0) or darker the colours are.
}

// RandomScene draws a scene: any product, colour and background, at a place, size and side of its own.
func RandomScene(r *rand.Rand) Scene {
	return randomScene(r, pick(r, Products), pick(r, Colours), pick(r, Backgrounds))
}

// randomScene chooses what the words leave open.
func randomScene(r *rand.Rand, product, colour, background string) Scene {
	side := 42 + float64(8*r.Float64())
	return Scene{Product: product, Colour: colour, Background: background,
		place: frame{
			x: (Size-side)/2 + float64(6*(r.Float64()-0.5)),
			y: (Size-side)/2 + float64(5*(r.Float64()-0.5)), side: side, mirror: r.IntN(2) == 1},
		shade: 0.16 * (r.Float64() - 0.5)}
}

func pick(r *rand.Rand, words []string) string { return words[r.IntN(len(words))] }

// Draw returns the picture of s, Size×Size pixels. An unknown word panics: scenes come from the lists.
func Draw(s Scene) *image.RGBA {
	product, ok := drawings[s.Product]
	if !ok {
		panic("unreachable: no drawing of " + s.Product)
	}
	p := &canvas{frame: s.place}
	p.backdrop(backgrounds[s.Background].light(s.shade))
	p.shadow()
	product(p, colours[s.Colour].light(s.shade))
	return p.image()
}

// backdrop fills the canvas with a studio sweep: a wall lit from the upper left, and a floor.
func (c *canvas) backdrop(colour rgb) {
	floor := (c.frame.y + float64(0.86*c.frame.side)) / Size
	for i := range c.pix {
		x, y := (float64(i%Size)+0.5)/Size, (float64(i/Size)+0.5)/Size
		glow := 0.16 - float64(0.12*x) - float64(0.12*y)
		c.pix[i] = colour.light(glow - float64(0.13*ramp(y, floor-0.03, floor+0.03)))
	}
}

// shadow darkens the floor under the product.
func (c *canvas) shadow() {
	for i := range 4 {
		w := 0.52 - float64(0.07*float64(i))
		c.fill(new(path).ellipse(0.53, 0.96, w, w*0.15), flat(rgb{0.1, 0.08, 0.12}), 0.11)
	}
}
