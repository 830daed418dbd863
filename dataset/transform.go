package dataset

import (
	"encoding/binary"
	"fmt"
	"math"

	"yohaku/internal/picture"
	"yohaku/internal/rng"
)

// Transform is how a pair's pictures become tensors. Its String names it in the keys of cached
// latents.
type Transform struct {
	Resolution int    // Side of the square tensors, pixels.
	CenterCrop bool   // Otherwise the crop is drawn, keyed by Seed and the pair's content.
	Seed       uint64 // Of the random crops.
}

// Pixels is a preprocessed pair.
type Pixels struct {
	Winner, Loser []float32 // [3, Resolution, Resolution], in [−1, 1].
	OriginalSize  [2]int    // Height and width of image 0.
	CropTopLeft   [2]int    // Of the crop, after the resize; the same for both pictures.
	Resolution    int
}

// TimeIDs returns SDXL's size conditioning: original height and width, crop top and left, target
// height and width.
func (p Pixels) TimeIDs() [6]float32 {
	return [6]float32{float32(p.OriginalSize[0]), float32(p.OriginalSize[1]), float32(p.CropTopLeft[0]),
		float32(p.CropTopLeft[1]), float32(p.Resolution), float32(p.Resolution)}
}

// maxResolution bounds the tensors of one pair.
const maxResolution = 8192

// Check reports a Transform that cannot be applied.
func (t Transform) Check() error {
	if t.Resolution < 1 || t.Resolution > maxResolution {
		return fmt.Errorf("resolution must be from 1 to %d, got %d", maxResolution, t.Resolution)
	}
	return nil
}

// String names the transform. Its version grows when the same settings begin to give other bits.
func (t Transform) String() string {
	const version = 1
	if t.CenterCrop {
		return fmt.Sprintf("preprocessing-%d resolution=%d crop=center", version, t.Resolution)
	}
	return fmt.Sprintf("preprocessing-%d resolution=%d crop=random seed=%d", version, t.Resolution, t.Seed)
}

// Pair decodes and preprocesses p; flip mirrors both pictures.
func (t Transform) Pair(p *Pair, flip bool) (Pixels, error) {
	winner, err := picture.Decode(p.Winner)
	if err != nil {
		return Pixels{}, fmt.Errorf("winner of %s row %d: %w", p.File, p.Row, err)
	}
	loser, err := picture.Decode(p.Loser)
	if err != nil {
		return Pixels{}, fmt.Errorf("loser of %s row %d: %w", p.File, p.Row, err)
	}
	digest := p.Digest()
	return t.Preprocess(winner, loser, p.LoserFirst, flip, binary.LittleEndian.Uint64(digest[:]))
}

// Preprocess makes the tensors of a pair, in the reference pipeline's order:
//
//  1. image 1 is resized to image 0's size (bicubic, 8 bits);
//  2. both are scaled to [0, 1] and resized so that the short side is Resolution (bilinear,
//     antialiased), the long one int(Resolution·long/short);
//  3. both are mirrored when flip is set;
//  4. both are cropped to Resolution × Resolution at the same place: the centre, or one drawn by
//     the key (Seed, item);
//  5. x becomes (x − ½)/½.
//
// loserFirst says that the loser is image 0.
//
// Source: mapo-t2i/mapo, train.py, preprocess_train; golden case 10.
func (t Transform) Preprocess(winner, loser *picture.Image, loserFirst, flip bool, item uint64) (Pixels, error) {
	if err := t.Check(); err != nil {
		return Pixels{}, err
	}
	for _, m := range []*picture.Image{winner, loser} {
		if err := picture.CheckSize(m.Width, m.Height); err != nil {
			return Pixels{}, err
		}
	}
	first, second := winner, loser
	if loserFirst {
		first, second = loser, winner
	}
	second = picture.ResizeBicubic(second, first.Width, first.Height)
	if loserFirst {
		winner = second
	} else {
		loser = second
	}
	width, height := shortSideTo(first.Width, first.Height, t.Resolution)
	top, left := t.crop(width, height, item)
	return Pixels{
		Winner:       t.tensor(winner, width, height, top, left, flip),
		Loser:        t.tensor(loser, width, height, top, left, flip),
		OriginalSize: [2]int{first.Height, first.Width},
		CropTopLeft:  [2]int{top, left},
		Resolution:   t.Resolution,
	}, nil
}

// shortSideTo returns the size at which the short side is side and the long one
// int(side·long/short).
func shortSideTo(width, height, side int) (w, h int) {
	if width <= height {
		return side, int(float64(side) * float64(height) / float64(width))
	}
	return int(float64(side) * float64(width) / float64(height)), side
}

// crop returns where the crop of a width × height picture starts.
func (t Transform) crop(width, height int, item uint64) (top, left int) {
	if t.CenterCrop {
		return centreOffset(height - t.Resolution), centreOffset(width - t.Resolution)
	}
	s := rng.New(rng.Key{Seed: t.Seed, Domain: rng.Crop, Item: item})
	return s.IntN(height - t.Resolution + 1), s.IntN(width - t.Resolution + 1)
}

// centreOffset returns half of what is left over; a half goes to the even number, as Python rounds.
func centreOffset(left int) int { return int(math.RoundToEven(float64(left) / 2)) }

// tensor resizes, mirrors, crops and scales one picture.
func (t Transform) tensor(m *picture.Image, width, height, top, left int, flip bool) []float32 {
	side := t.Resolution
	if flip {
		left = width - left - side // The crop of the mirrored picture, mirrored back.
	}
	x := resizeCrop(m, width, height, top, left, side)
	for i, v := range x {
		x[i] = (v - 0.5) / 0.5
	}
	if flip {
		Mirror(x, side)
	}
	return x
}

// Mirror turns planes of rows of the given width left to right, in place.
func Mirror(x []float32, width int) {
	for ; len(x) > 0; x = x[width:] {
		for i, j := 0, width-1; i < j; i, j = i+1, j-1 {
			x[i], x[j] = x[j], x[i]
		}
	}
}

// Flipped says whether the reference's random flip mirrors the item of a step: with probability
// one half, keyed, so that it does not depend on who asks.
func Flipped(seed, step, item uint64) bool {
	return rng.New(rng.Key{Seed: seed, Domain: rng.Flip, Step: step, Item: item}).Float64() < 0.5
}
