package dataset

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"yohaku/internal/safetensors"
)

// pilPictures returns the names and RGB bytes of testdata/images.safetensors, which PIL computed.
func pilPictures(t testing.TB) map[string]*Image {
	t.Helper()
	f, err := safetensors.Open(filepath.Join("testdata", "images.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]*Image{}
	for _, info := range f.Infos() {
		pix, err := f.Bytes(info.Name)
		if err != nil {
			t.Fatal(err)
		}
		all[info.Name] = &Image{Height: info.Shape[0], Width: info.Shape[1], Pix: pix}
	}
	return all
}

func readImage(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "images", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// difference returns the greatest and the mean distance of two pictures' bytes.
func difference(t testing.TB, got, want *Image) (greatest int, mean float64) {
	t.Helper()
	if got.Width != want.Width || got.Height != want.Height {
		t.Fatalf("got %d × %d pixels, want %d × %d", got.Width, got.Height, want.Width, want.Height)
	}
	sum := 0
	for i, w := range want.Pix {
		d := max(int(got.Pix[i])-int(w), int(w)-int(got.Pix[i]))
		greatest = max(greatest, d)
		sum += d
	}
	return greatest, float64(sum) / float64(len(want.Pix))
}

// TestDecodeAsPIL holds every format and colour layout to PIL's bytes.
func TestDecodeAsPIL(t *testing.T) {
	allowed := map[string]int{".png": 0, ".webp": 0, ".jpg": 3}
	tested := 0
	for name, want := range pilPictures(t) {
		if strings.HasPrefix(name, "resize.") {
			continue
		}
		tested++
		t.Run(name, func(t *testing.T) {
			got, err := Decode(readImage(t, name))
			if err != nil {
				t.Fatal(err)
			}
			greatest, mean := difference(t, got, want)
			t.Logf("greatest difference %d, mean %.4f", greatest, mean)
			if limit := allowed[filepath.Ext(name)]; greatest > limit {
				t.Errorf("greatest difference from PIL %d, at most %d allowed", greatest, limit)
			}
		})
	}
	if tested < 25 {
		t.Errorf("%d pictures tested, want at least 25", tested)
	}
}

// TestResizeBicubicAsPIL: PIL's bytes, growing and shrinking.
func TestResizeBicubicAsPIL(t *testing.T) {
	source, err := Decode(readImage(t, "resize.png"))
	if err != nil {
		t.Fatal(err)
	}
	tested := 0
	for name, want := range pilPictures(t) {
		if !strings.HasPrefix(name, "resize.") {
			continue
		}
		tested++
		if greatest, mean := difference(t, resizeBicubic(source, want.Width, want.Height), want); greatest != 0 {
			t.Errorf("%s: greatest difference %d, mean %.5f, want the same bytes", name, greatest, mean)
		}
	}
	if tested < 7 {
		t.Errorf("%d sizes tested, want 7", tested)
	}
}
