// Command draw writes the pictures and captions that the demo's base model is trained on, and a
// contact sheet to look at:
//
//	go run ./dataset/brand/recipe/draw -n 20000 -seed 1 -out DIR
//	go run ./dataset/brand/recipe/draw -pairs 240 -seed 1 -out DIR
//
// DIR/pictures.u8 holds n × 64 × 64 × 3 bytes (RGB, rows from the top), DIR/captions.jsonl a line for
// each picture: the four captions of brand.Captions. DIR/sheet.png shows every product and colour.
// With -pairs, DIR holds the preference pairs instead, as a folder that coordinator up --data takes
// (metadata.jsonl and PNG files), and held_out.txt, the prompts for scoring.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"yohaku/dataset"
	"yohaku/dataset/brand"
)

func main() {
	n := flag.Int("n", 20000, "number of pictures")
	pairs := flag.Int("pairs", 0, "write this many preference pairs instead of pictures with captions")
	flip := flag.Float64("flip", brand.DefaultFlipRatio, "part of the pairs whose label is wrong on purpose")
	seed := flag.Uint64("seed", 1, "seed of the scenes")
	dir := flag.String("out", "", "folder to write to")
	flag.Parse()
	if err := run(*dir, *n, *pairs, *seed, *flip); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir string, n, pairs int, seed uint64, flip float64) error {
	if dir == "" {
		return fmt.Errorf("--out is empty: name the folder to write to")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if pairs > 0 {
		return writePairs(dir, brand.Pairs(pairs, seed, flip))
	}
	return writePictures(dir, n, seed)
}

// writePairs writes source as metadata.jsonl beside its pictures.
func writePairs(dir string, source dataset.Source) error {
	metadata, err := os.Create(filepath.Join(dir, "metadata.jsonl"))
	if err != nil {
		return err
	}
	defer metadata.Close()
	err = source.Each(context.Background(), func(r dataset.Record) error {
		winner, loser := fmt.Sprintf("%04d-winner.png", r.Pair.Row), fmt.Sprintf("%04d-loser.png", r.Pair.Row)
		line := map[string]string{"prompt": r.Pair.Prompt, "winner": winner, "loser": loser}
		return errors.Join(
			os.WriteFile(filepath.Join(dir, winner), r.Pair.Winner, 0o644),
			os.WriteFile(filepath.Join(dir, loser), r.Pair.Loser, 0o644),
			json.NewEncoder(metadata).Encode(line))
	})
	heldOut := strings.Join(brand.HeldOutPrompts(), "\n") + "\n"
	return errors.Join(err, os.WriteFile(filepath.Join(dir, "held_out.txt"), []byte(heldOut), 0o644))
}

func writePictures(dir string, n int, seed uint64) error {
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
			if _, err := pictures.Write(img.Pix[i : i+3]); err != nil {
				return err
			}
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
