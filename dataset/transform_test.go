package dataset

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/internal/picture"
	"yohaku/internal/rng"
)

// noise returns a picture of random bytes.
func noise(seed uint64, width, height int) *picture.Image {
	s := rng.New(rng.Key{Seed: seed, Domain: rng.Sample})
	m := picture.NewImage(width, height)
	for i := range m.Pix {
		m.Pix[i] = uint8(s.Uint32())
	}
	return m
}

// TestResizeKeepsConstants: weights sum to one, so a flat picture stays flat at every size.
func TestResizeKeepsConstants(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {3, 50}, {200, 7}, {64, 64}} {
		m := picture.NewImage(size[0], size[1])
		for i := range m.Pix {
			m.Pix[i] = 100
		}
		for i, v := range picture.ResizeBicubic(m, 33, 21).Pix {
			if v != 100 {
				t.Fatalf("bicubic from %v: byte %d = %d, want 100", size, i, v)
			}
		}
		width, height := shortSideTo(size[0], size[1], 16)
		for i, v := range resizeCrop(m, width, height, height-16, width-16, 16) {
			if math.Abs(float64(v)-100./255) > 1e-7 {
				t.Fatalf("bilinear from %v: element %d = %v, want %v", size, i, v, 100./255)
			}
		}
	}
}

// TestIdentityResize: at the picture's own size the bilinear resize is the picture.
func TestIdentityResize(t *testing.T) {
	m := noise(1, 9, 9)
	for i, v := range resizeCrop(m, 9, 9, 0, 0, 9) {
		plane, y, x := i/81, i/9%9, i%9
		if want := float32(m.Pix[3*(9*y+x)+plane]) / 255; v != want {
			t.Fatalf("seed 1: element %d = %v, want %v", i, v, want)
		}
	}
}

func TestShortSideTo(t *testing.T) {
	for _, tt := range []struct{ w, h, side, wantW, wantH int }{
		{64, 48, 32, 42, 32}, {40, 72, 32, 32, 57}, {33, 32, 32, 33, 32}, {32, 32, 32, 32, 32}, {20, 24, 32, 32, 38}, {1, 64, 8, 8, 512},
	} {
		if w, h := shortSideTo(tt.w, tt.h, tt.side); w != tt.wantW || h != tt.wantH {
			t.Errorf("shortSideTo(%d, %d, %d) = %d, %d, want %d, %d", tt.w, tt.h, tt.side, w, h, tt.wantW, tt.wantH)
		}
	}
}

// TestFlipIsMirror: with a crop that leaves nothing over, a flipped tensor is the mirrored one.
func TestFlipIsMirror(t *testing.T) {
	w, l := noise(2, 30, 30), noise(3, 30, 30)
	transform := Transform{Resolution: 24, CenterCrop: true}
	plain, err := transform.Preprocess(w, l, false, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	flipped, err := transform.Preprocess(w, l, false, true, 0)
	if err != nil {
		t.Fatal(err)
	}
	Mirror(plain.Winner, 24)
	if diff := cmp.Diff(flipped.Winner, plain.Winner); diff != "" {
		t.Error("a flipped winner is not the mirrored one")
	}
}

// TestLoserFirst: whichever picture is image 0 gives the size.
func TestLoserFirst(t *testing.T) {
	w, l := noise(4, 40, 20), noise(5, 20, 40)
	transform := Transform{Resolution: 16, CenterCrop: true}
	for _, tt := range []struct {
		loserFirst bool
		want       [2]int
	}{{false, [2]int{20, 40}}, {true, [2]int{40, 20}}} {
		p, err := transform.Preprocess(w, l, tt.loserFirst, false, 0)
		if err != nil {
			t.Fatal(err)
		}
		if p.OriginalSize != tt.want {
			t.Errorf("loserFirst %v: original size %v, want %v", tt.loserFirst, p.OriginalSize, tt.want)
		}
	}
}

func TestRandomCropIsKeyedAndInside(t *testing.T) {
	transform := Transform{Resolution: 16, Seed: 7}
	seen := map[int]bool{}
	for item := range uint64(300) {
		top, left := transform.crop(20, 16, item)
		if top != 0 || left < 0 || left > 4 {
			t.Fatalf("seed 7, item %d: crop at (%d, %d), want (0, 0…4)", item, top, left)
		}
		if top2, left2 := transform.crop(20, 16, item); top2 != top || left2 != left {
			t.Fatalf("seed 7, item %d: two draws differ", item)
		}
		seen[left] = true
	}
	if len(seen) != 5 {
		t.Errorf("seed 7: 300 crops start at %d of 5 columns", len(seen))
	}
}

func TestFlippedIsFair(t *testing.T) {
	n := 0
	for item := range uint64(2000) {
		if Flipped(9, 3, item) {
			n++
		}
	}
	if n < 890 || n > 1110 { // Five standard deviations.
		t.Errorf("seed 9: %d of 2000 flips, want about 1000", n)
	}
}

func TestTransformRefuses(t *testing.T) {
	good := noise(1, 8, 8)
	for name, tt := range map[string]struct {
		transform Transform
		winner    *picture.Image
		want      string
	}{
		"resolution 0": {Transform{}, good, "resolution must be from 1 to 8192, got 0"},
		"empty":        {Transform{Resolution: 8}, picture.NewImage(0, 5), "0 × 5 pixels"},
		"too long":     {Transform{Resolution: 8}, picture.NewImage(1, 65), "at most 64 times"},
	} {
		if _, err := tt.transform.Preprocess(tt.winner, good, false, false, 0); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, tt.want)
		}
	}
}

func BenchmarkPreprocess512(b *testing.B) {
	w, l := noise(1, 1024, 1024), noise(2, 768, 1024)
	t := Transform{Resolution: 512, CenterCrop: true}
	for b.Loop() {
		if _, err := t.Preprocess(w, l, false, false, 0); err != nil {
			b.Fatal(err)
		}
	}
}
