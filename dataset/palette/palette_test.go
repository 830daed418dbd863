package palette

import (
	"errors"
	"image"
	"image/color"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestFromSRGB holds the conversion to published CIELAB values of sRGB colours (D65, 2°).
func TestFromSRGB(t *testing.T) {
	for _, c := range []struct {
		r, g, b uint8
		want    Lab
	}{
		{0, 0, 0, Lab{0, 0, 0}},
		{255, 255, 255, Lab{100, 0, 0}},
		{255, 0, 0, Lab{53.24, 80.09, 67.20}},
		{0, 255, 0, Lab{87.73, -86.18, 83.18}},
		{0, 0, 255, Lab{32.30, 79.19, -107.86}},
		{128, 128, 128, Lab{53.59, 0, 0}},
		{1, 1, 1, Lab{0.27, 0, 0}}, // The linear part near black.
	} {
		got := FromSRGB(c.r, c.g, c.b)
		if diff := cmp.Diff(got, c.want, cmpopts.EquateApprox(0, 0.02)); diff != "" {
			t.Errorf("FromSRGB(%d, %d, %d) (-got +want):\n%s", c.r, c.g, c.b, diff)
		}
	}
}

func TestDistance(t *testing.T) {
	if got := (Lab{50, 3, 4}).Distance(Lab{50, 0, 0}); got != 5 {
		t.Errorf("distance %g, want 5", got)
	}
}

var (
	teal   = color.RGBA{0x0f, 0x8b, 0x8d, 255}
	orange = color.RGBA{0xf2, 0xa6, 0x5a, 255}
	red    = color.RGBA{0xd2, 0x32, 0x2d, 255}
	green  = color.RGBA{0x3f, 0x9b, 0x3c, 255}
	cream  = color.RGBA{0xf5, 0xea, 0xd0, 255}
	grey   = color.RGBA{0xc3, 0xc6, 0xca, 255}
)

// picture is 20×20 with a share of the product's colour on the background's.
func picture(product, background color.Color, share float64) image.Image {
	img := image.NewRGBA(image.Rect(3, 5, 23, 25))
	for i := range 400 {
		c := background
		if float64(i) < share*400 {
			c = product
		}
		img.Set(3+i%20, 5+i/20, c)
	}
	return img
}

// TestScoreOrder lists pictures from the best to the worst.
func TestScoreOrder(t *testing.T) {
	order := []struct {
		name string
		img  image.Image
	}{
		{"the brand", picture(teal, orange, 0.25)},
		{"a small brand product", picture(teal, orange, 0.1)},
		{"blank orange", picture(teal, orange, 0)},
		{"red on orange", picture(red, orange, 0.25)},
		{"teal on grey", picture(teal, grey, 0.25)},
		{"red on grey", picture(red, grey, 0.25)},
	}
	last := math.Inf(1)
	for _, o := range order {
		got := Score(o.img, Brand)
		if got >= last {
			t.Errorf("%s scores %.2f, want below %.2f of the one before", o.name, got, last)
		}
		last = got
	}
	if got := Score(order[0].img, Brand); got != 0 {
		t.Errorf("the brand itself scores %g, want 0", got)
	}
}

// TestScoreMonotonic moves green to teal, and cream to orange: each step nearer scores higher.
func TestScoreMonotonic(t *testing.T) {
	blend := func(a, b color.RGBA, s float64) color.Color {
		mix := func(x, y uint8) uint8 { return uint8(math.Round(float64(x) + s*(float64(y)-float64(x)))) }
		return color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 255}
	}
	last := math.Inf(-1)
	for i := range 11 {
		s := float64(i) / 10
		got := Score(picture(blend(green, teal, s), blend(cream, orange, s), 0.25), Brand)
		if got <= last {
			t.Errorf("step %d scores %.3f, want above %.3f", i, got, last)
		}
		last = got
	}
}

func TestScoreOfNothing(t *testing.T) {
	if got := Score(image.NewRGBA(image.Rectangle{}), Brand); !math.IsInf(got, -1) {
		t.Errorf("empty picture scores %g, want -Inf", got)
	}
	if got := Score(picture(teal, orange, 0.2), Palette{}); !math.IsInf(got, -1) {
		t.Errorf("empty palette scores %g, want -Inf", got)
	}
}

func TestRead(t *testing.T) {
	got, err := Read(strings.NewReader(`{"name": "brand", "colours": [
		{"name": "teal", "hex": "#0f8b8d", "share": 0.2}, {"name": "orange", "hex": "#F2A65A", "share": 0.6}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, Brand); diff != "" {
		t.Errorf("Read (-got +want):\n%s", diff)
	}
}

func TestReadRefuses(t *testing.T) {
	for name, c := range map[string]struct{ json, want string }{
		"no colours":    {`{"colours": []}`, "colours is a list of 0"},
		"short hex":     {`{"colours": [{"hex": "#fff", "share": 1}]}`, `colours[0].hex is "#fff"`},
		"not hex":       {`{"colours": [{"hex": "#00gg00", "share": 1}]}`, `colours[0].hex is "#00gg00"`},
		"signed hex":    {`{"colours": [{"hex": "#+12345", "share": 1}]}`, `colours[0].hex is "#+12345"`},
		"no share":      {`{"colours": [{"hex": "#ffffff"}]}`, "colours[0].share is 0"},
		"shares over 1": {`{"colours": [{"hex": "#ffffff", "share": 0.7}, {"hex": "#000000", "share": 0.7}]}`, "the sum of the shares is 1.4"},
		"too long":      {`{"name": "` + strings.Repeat("x", maxBytes) + `"}`, "at most 65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(strings.NewReader(c.json))
			var field *FieldError
			if !errors.As(err, &field) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want a FieldError with %q", err, c.want)
			}
		})
	}
	for _, text := range []string{``, `{`, `{"color": 1}`, `[]`} {
		if _, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("Read(%q) gave no error", text)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"name": "a", "colours": [{"hex": "#0f8b8d", "share": 0.2}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Read(strings.NewReader(text))
		if err != nil {
			return
		}
		if n := len(p.Colours); n < 1 || n > maxColours {
			t.Errorf("Read(%q) accepted %d colours", text, n)
		}
	})
}
