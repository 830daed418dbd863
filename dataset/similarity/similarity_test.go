package similarity

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/jpeg"
	"testing"

	"yohaku/dataset"
	"yohaku/dataset/brand"
	"yohaku/internal/picture"
)

// drawings are n different pictures of the brand set.
func drawings(t *testing.T, n int, seed uint64) []*picture.Image {
	t.Helper()
	var all []*picture.Image
	err := brand.Pairs(n, seed, 0).Each(context.Background(), func(r dataset.Record) error {
		m, err := picture.Decode(r.Pair.Winner)
		all = append(all, m)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func changed(t *testing.T, m *picture.Image, change func(x, y int, c color.RGBA) color.RGBA, quality int) *picture.Image {
	t.Helper()
	out := image.NewRGBA(image.Rect(0, 0, m.Width, m.Height))
	for y := range m.Height {
		for x := range m.Width {
			p := m.Pix[3*(y*m.Width+x):]
			out.SetRGBA(x, y, change(x, y, color.RGBA{p[0], p[1], p[2], 255}))
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, out, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	back, err := picture.Decode(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return back
}

func same(_, _ int, c color.RGBA) color.RGBA { return c }

func brighter(_, _ int, c color.RGBA) color.RGBA {
	up := func(v uint8) uint8 { return uint8(min(255, int(v)+8)) }
	return color.RGBA{up(c.R), up(c.G), up(c.B), 255}
}

// TestCopiesAreFoundAndOtherDrawingsAreNot: of 100 drawings, each changed in three ways, all copies are found. What is
// found beside them is nearly the same picture by chance: the brand set draws six products in one colour only.
func TestCopiesAreFoundAndOtherDrawingsAreNot(t *testing.T) {
	all := drawings(t, 100, 7)
	var prints []Print
	for _, m := range all {
		prints = append(prints, Of(m))
	}
	index := NewIndex(prints, Default)
	for name, change := range map[string]func(*picture.Image) *picture.Image{
		"jpeg at 60": func(m *picture.Image) *picture.Image { return changed(t, m, same, 60) },
		"brighter":   func(m *picture.Image) *picture.Image { return changed(t, m, brighter, 90) },
		"twice the size": func(m *picture.Image) *picture.Image {
			return changed(t, picture.ResizeBicubic(m, 2*m.Width, 2*m.Height), same, 90)
		},
	} {
		missed, others := 0, 0
		for i, m := range all {
			near := index.Near(Of(change(m)))
			own := false
			for _, j := range near {
				if j == i {
					own = true
				} else {
					others++
				}
			}
			if !own {
				missed++
			}
		}
		t.Logf("%s: %d of 100 missed, %d of 9,900 others", name, missed, others)
		if missed > 0 || others > 99 { // One in a hundred of the comparisons.
			t.Errorf("%s: %d of 100 copies missed, %d of 9,900 others taken for one", name, missed, others)
		}
	}
}

func TestTheIndexFindsWhatComparingAllFinds(t *testing.T) {
	var prints []Print
	for _, m := range drawings(t, 60, 3) {
		prints = append(prints, Of(m))
	}
	for _, threshold := range []Threshold{{0, 64, 1, 1}, {8, 64, 1, 1}, {20, 64, 1, 1}, {64, 64, 1, 1}, Default} {
		index := NewIndex(prints, threshold)
		for i, p := range prints {
			var want []int
			for j, q := range prints {
				if threshold.Near(q, p) {
					want = append(want, j)
				}
			}
			got := index.Near(p)
			if len(got) != len(want) || len(got) == 0 {
				t.Fatalf("threshold %+v, print %d: got %v, want %v", threshold, i, got, want)
			}
		}
	}
}

// TestHashesOfAnyPicture: no size is too small, and a blank picture has a hash.
func TestHashesOfAnyPicture(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {3, 200}, {9, 8}, {32, 32}, {33, 31}} {
		m := picture.NewImage(size[0], size[1])
		if p := Of(m); p.DHash != 0 || len(p.Features) != 768 {
			t.Errorf("%v: a black picture has dHash %x and %d features", size, p.DHash, len(p.Features))
		}
	}
}

// TestDHashByHand: brightness falls from left to right in the upper half only.
func TestDHashByHand(t *testing.T) {
	m := picture.NewImage(9, 8)
	for y := range 4 {
		for x := range 9 {
			for c := range 3 {
				m.Pix[3*(y*9+x)+c] = uint8(200 - 10*x)
			}
		}
	}
	if got, want := DHash(m), Hash(1<<32-1); got != want {
		t.Errorf("dHash %016x, want %016x", uint64(got), uint64(want))
	}
}
