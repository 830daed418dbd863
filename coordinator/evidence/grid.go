// Package evidence makes what a run ends with: the comparison of the tuned model with its base,
// as figures and as a sheet of pictures side by side.
package evidence

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"strings"

	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// Row is one prompt of the sheet with its pictures, seed by seed.
type Row struct {
	Prompt      string
	Base, Tuned []image.Image
	Won         []bool // Whether the tuned picture won, by seed.
}

// Measures of the sheet, in pixels.
const (
	cell      = 128 // A picture's side; smaller ones are enlarged.
	gap       = 8
	gutter    = 32 // Between base and tuned.
	margin    = 24
	labelSize = 15
	headSize  = 20
	textRow   = 26
	maxWidth  = 1600 // Of a sheet that is as wide as its title.
)

// Sheet draws the rows: the prompt above its pictures, base at the left, tuned at the right, a
// green frame around each tuned picture that won its comparison.
func Sheet(title string, rows []Row) ([]byte, error) {
	seeds := 0
	for _, r := range rows {
		seeds = max(seeds, len(r.Base))
	}
	half := seeds*cell + max(0, seeds-1)*gap
	head, err := face(gobold.TTF, headSize)
	if err != nil {
		return nil, err
	}
	width := max(2*margin+2*half+gutter, 480, min(2*margin+font.MeasureString(head, title).Ceil(), maxWidth))
	rowHeight := textRow + cell + gap
	canvas := image.NewRGBA(image.Rect(0, 0, width, 2*margin+2*textRow+len(rows)*rowHeight))
	draw.Draw(canvas, canvas.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	label, err := face(goregular.TTF, labelSize)
	if err != nil {
		return nil, err
	}
	write(canvas, head, title, margin, margin+headSize)
	top := margin + textRow
	tunedLeft := margin + half + gutter
	write(canvas, label, "base", margin, top+labelSize)
	write(canvas, label, "tuned (framed: preferred by the judge)", tunedLeft, top+labelSize)
	top += textRow
	for _, r := range rows {
		write(canvas, label, r.Prompt, margin, top+labelSize)
		drawRow(canvas, r, top+textRow-4, tunedLeft)
		top += rowHeight
	}
	var out bytes.Buffer
	if err := png.Encode(&out, canvas); err != nil {
		return nil, fmt.Errorf("encode sheet: %w", err)
	}
	return out.Bytes(), nil
}

func drawRow(canvas *image.RGBA, r Row, top, tunedLeft int) {
	green := image.NewUniform(color.RGBA{R: 0x18, G: 0x9a, B: 0x4c, A: 0xff})
	for s := range r.Base {
		x := s * (cell + gap)
		place(canvas, r.Base[s], margin+x, top)
		if s < len(r.Won) && r.Won[s] {
			draw.Draw(canvas, image.Rect(tunedLeft+x-3, top-3, tunedLeft+x+cell+3, top+cell+3), green, image.Point{}, draw.Src)
		}
		place(canvas, r.Tuned[s], tunedLeft+x, top)
	}
}

func place(canvas *image.RGBA, m image.Image, x, y int) {
	draw.CatmullRom.Scale(canvas, image.Rect(x, y, x+cell, y+cell), m, m.Bounds(), draw.Src, nil)
}

func face(ttf []byte, size float64) (font.Face, error) {
	f, err := opentype.Parse(ttf)
	if err != nil {
		return nil, fmt.Errorf("parse font: %w", err)
	}
	return opentype.NewFace(f, &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingFull})
}

// write draws text, cut where it would go into the right margin.
func write(canvas *image.RGBA, f font.Face, text string, x, baseline int) {
	d := font.Drawer{Dst: canvas, Src: image.NewUniform(color.RGBA{R: 0x22, G: 0x22, B: 0x22, A: 0xff}), Face: f, Dot: fixed.P(x, baseline)}
	d.DrawString(fitting(f, text, canvas.Bounds().Dx()-margin-x))
}

// fitting is text, or as much of its beginning as is width wide with an ellipsis.
func fitting(f font.Face, text string, width int) string {
	if font.MeasureString(f, text).Ceil() <= width {
		return text
	}
	runes := []rune(text)
	for len(runes) > 0 && font.MeasureString(f, strings.TrimSpace(string(runes))+"…").Ceil() > width {
		runes = runes[:len(runes)-1]
	}
	return strings.TrimSpace(string(runes)) + "…"
}
