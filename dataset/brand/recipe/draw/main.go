// Command draw writes the pictures and captions that the demo's base model is trained on, and a
// contact sheet to look at:
//
//	go run ./dataset/brand/recipe/draw -n 20000 -seed 1 -out DIR
//
// DIR/pictures.u8 holds n × 64 × 64 × 3 bytes (RGB, rows from the top), DIR/captions.jsonl a line for
// each picture: the four captions of brand.Captions. DIR/sheet.png shows every product and colour.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"

	"yohaku/dataset/brand"
)

func main() {
	n := flag.Int("n", 20000, "number of pictures")
	seed := flag.Uint64("seed", 1, "seed of the scenes")
	dir := flag.String("out", "", "folder to write to")
	flag.Parse()
	if err := run(*dir, *n, *seed); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir string, n int, seed uint64) error {
	if dir == "" {
		return fmt.Errorf("--out is empty: name the folder to write to")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := writeSheet(filepath.Join(dir, "sheet.png")); err != nil {
		return err
	}
	pictures, err := os.Create(filepath.Join(dir, "pictures.u8"))
	if err != nil {
		return err
	}
	defer pictures.Close()
	captions, err := os.Create(filepath.Join(dir, "captions.jsonl"))
	if err != nil {
		return err
	}
	defer captions.Close()
	return write(bufio.NewWriter(pictures), bufio.NewWriter(captions), n, rand.New(rand.NewPCG(seed, 0)))
}

func write(pictures, captions *bufio.Writer, n int, r *rand.Rand) error {
	lines := json.NewEncoder(captions)
	for range n {
		s := brand.RandomScene(r)
		img := brand.Draw(s)
		for i := 0; i < len(img.Pix); i += 4 {
			pictures.Write(img.Pix[i : i+3])
		}
		if err := lines.Encode(brand.Captions(r, s)); err != nil {
			return err
		}
	}
	if err := captions.Flush(); err != nil {
		return err
	}
	return pictures.Flush()
}

// writeSheet writes a row for each product and a column for each colour.
func writeSheet(path string) error {
	r := rand.New(rand.NewPCG(1, 2))
	out := image.NewRGBA(image.Rect(0, 0, len(brand.Colours)*brand.Size, len(brand.Products)*brand.Size))
	for row, product := range brand.Products {
		for col, colour := range brand.Colours {
			s := brand.RandomScene(r)
			s.Product, s.Colour, s.Background = product, colour, brand.Backgrounds[(row+col+7)%len(brand.Backgrounds)]
			img := brand.Draw(s)
			for y := range brand.Size {
				for x := range brand.Size {
					out.Set(col*brand.Size+x, row*brand.Size+y, img.At(x, y))
				}
			}
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return png.Encode(f, out)
}
