package picture

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
			greatest, mean := Difference(got, want)
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
		if greatest, mean := Difference(ResizeBicubic(source, want.Width, want.Height), want); greatest != 0 {
			t.Errorf("%s: greatest difference %d, mean %.5f, want the same bytes", name, greatest, mean)
		}
	}
	if tested < 7 {
		t.Errorf("%d sizes tested, want 7", tested)
	}
}

func TestDecodeRefuses(t *testing.T) {
	big := append([]byte{}, readImage(t, "rgb.png")...)
	copy(big[16:], []byte{0, 1, 0, 0, 0, 1, 0, 0}) // 65536 × 65536, with a CRC that no longer fits.
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"animated PNG":  {readImage(t, "animated.png"), "the PNG is animated"},
		"animated WebP": {readImage(t, "animated.webp"), "the WebP is animated"},
		"GIF":           {readImage(t, "picture.gif"), "is a GIF file; PNG, JPEG and WebP are read: convert it"},
		"text":          {[]byte("hello"), "starts with 68 65 6c 6c 6f"},
		"empty":         {nil, "empty"},
		"truncated":     {readImage(t, "q90_420.jpg")[:200], "decode JPEG"},
		"cut WebP":      {readImage(t, "lossy.webp")[:100], "decode WebP"},
		"header only":   {[]byte("\x89PNG\r\n\x1a\n"), "decode PNG header"},
		"bad CRC":       {big, "decode PNG header"},
	} {
		if _, err := Decode(tt.data); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, tt.want)
		}
	}
	for size, want := range map[[2]int]string{
		{10_001, 10_000}: "at most 100 million",
		{1000, 15}:       "at most 64 times",
		{0, 0}:           "0 × 0 pixels",
	} {
		if err := CheckSize(size[0], size[1]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("CheckSize%v = %v, want an error with %q", size, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, name := range []string{"rgb.png", "palette_transparent.png", "lossy_alpha.webp", "rgba.webp", "q90_420.jpg", "cmyk.jpg", "progressive.jpg"} {
		data, err := os.ReadFile("testdata/images/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Decode(data)
		if err == nil && len(m.Pix) != 3*m.Width*m.Height {
			t.Fatalf("%d bytes for %d × %d pixels", len(m.Pix), m.Width, m.Height)
		}
	})
}
