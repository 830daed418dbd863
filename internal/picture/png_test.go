package picture

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"strings"
	"testing"
)

func TestEncodePNGKeepsPictureAndText(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 3, 2))
	m.Set(1, 1, color.NRGBA{10, 200, 30, 255})
	const text = "a red mug, 日本\nSteps: 20"
	data, err := EncodePNG(m, "parameters", text)
	if err != nil {
		t.Fatal(err)
	}
	back, err := png.Decode(bytes.NewReader(data)) // Checks every chunk's checksum.
	if err != nil {
		t.Fatal(err)
	}
	if got := color.NRGBAModel.Convert(back.At(1, 1)); got != m.At(1, 1) {
		t.Errorf("pixel %v, want %v", got, m.At(1, 1))
	}
	if !bytes.Contains(data, []byte("iTXtparameters\x00\x00\x00\x00\x00"+text)) {
		t.Error("the text is not in the file")
	}
	plain, err := EncodePNG(m, "parameters", "")
	if err != nil || bytes.Contains(plain, []byte("iTXt")) {
		t.Errorf("no text: error %v, or a chunk all the same", err)
	}
	for _, keyword := range []string{"", strings.Repeat("k", 80), "a\x00b"} {
		if _, err := EncodePNG(m, keyword, text); err == nil {
			t.Errorf("keyword %q is taken", keyword)
		}
	}
}
