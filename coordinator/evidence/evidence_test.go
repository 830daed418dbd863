package evidence

import (
	"bytes"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/internal/wire"
)

func picture(c color.Color) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for y := range 64 {
		for x := range 64 {
			m.Set(x, y, c)
		}
	}
	return m
}

func TestSheetPlacesThePicturesAndFramesTheWinners(t *testing.T) {
	red, blue := picture(color.RGBA{R: 255, A: 255}), picture(color.RGBA{B: 255, A: 255})
	data, err := Sheet("Run r1", []Row{{Prompt: "a mug", Base: []image.Image{red, red}, Tuned: []image.Image{blue, blue}, Won: []bool{true, false}}})
	if err != nil {
		t.Fatal(err)
	}
	sheet, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	top := margin + 2*textRow + textRow - 4
	left := margin + 2*cell + gap + gutter
	for _, test := range []struct {
		x, y int
		want color.RGBA
	}{
		{margin + 5, top + 5, color.RGBA{R: 255, A: 255}},
		{left + 5, top + 5, color.RGBA{B: 255, A: 255}},
		{left - 2, top + 5, color.RGBA{R: 0x18, G: 0x9a, B: 0x4c, A: 255}},
		{left + cell + gap - 2, top + 5, color.RGBA{R: 255, G: 255, B: 255, A: 255}},
	} {
		if got := color.RGBAModel.Convert(sheet.At(test.x, test.y)); got != test.want {
			t.Errorf("pixel (%d, %d) is %v, want %v", test.x, test.y, got, test.want)
		}
	}
}

func TestAReportWithoutEvaluationSaysNull(t *testing.T) {
	data, err := json.Marshal(Report{Notes: []string{"no evaluation"}})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), `"win_rate":null,"win_rate_low":null,"win_rate_high":null`) {
		t.Errorf("report %s", data)
	}
}

// gallery has one score and one plain look a picture, [prompts][seeds].
func gallery(t *testing.T, name string, scores [][]float64) Gallery {
	t.Helper()
	file := filepath.Join(t.TempDir(), "p.png")
	var data bytes.Buffer
	if err := png.Encode(&data, picture(color.White)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	g := Gallery{Name: name}
	for _, row := range scores {
		var pictures []Picture
		for s, score := range row {
			pictures = append(pictures, Picture{Seed: uint64(s), File: file, PictureScore: wire.PictureScore{
				Score: score, Features: []float32{float32(s) * float32(score), 0}, Look: wire.Look{Saturation: score / 10},
			}})
		}
		g.Pictures = append(g.Pictures, pictures)
	}
	return g
}

func TestEvaluate(t *testing.T) {
	galleries := []Gallery{gallery(t, "base", [][]float64{{1, 1}, {1, 1}, {1, 1}}), gallery(t, "tuned", [][]float64{{2, 2}, {1, 2}, {0, 0}}), gallery(t, "third", [][]float64{{3, 3}, {3, 3}, {3, 3}})}
	e := Evaluate([]string{"a", "b", "c"}, galleries, 1)
	if want := (1 + 0.75 + 0) / 3; math.Abs(*e.WinRate-want) > 1e-15 || e.Comparisons != 6 || e.Ties != 1 || e.Samples != 18 {
		t.Errorf("win rate %v of %d, %d ties, %d samples; want %v of 6, 1 tie, 18", *e.WinRate, e.Comparisons, e.Ties, e.Samples, want)
	}
	if *e.DiversityBase != 1 || math.Abs(*e.DiversityTuned-4.0/3) > 1e-12 {
		t.Errorf("diversity %v and %v, want the distance between the seeds: 1 and 4/3", *e.DiversityBase, *e.DiversityTuned)
	}
	if e.ConsistencyBase != nil || len(e.Notes) != 1 || !strings.Contains(e.Notes[0], "consistency") {
		t.Errorf("consistency without an encoder: %v, notes %q; want null and why", e.ConsistencyBase, e.Notes)
	}
	if got := *e.SeedAgreement; math.Abs(got-2.0/3) > 1e-12 {
		t.Errorf("seeds agree in %v, want 2/3", got)
	}
	if d := e.Models[2].Distance; math.Abs(d.Value-20) > 1e-9 || e.Models[0].Distance.Value != 0 {
		t.Errorf("distance from the base %v, want 20 points of saturation", d)
	}
	if s := e.Models; !(s[2].Strength.Value > s[1].Strength.Value && s[2].Strength.Low > 0) || s[0].Strength.Value >= 0 {
		t.Errorf("strengths %v, %v, %v; want the third ahead", s[0].Strength, s[1].Strength, s[2].Strength)
	}
	if again := Evaluate([]string{"a", "b", "c"}, galleries, 1); cmp.Diff(e, again) != "" {
		t.Error("the same pictures and seed give other figures")
	}
	if one := Evaluate([]string{"a"}, []Gallery{gallery(t, "base", [][]float64{{1}}), gallery(t, "tuned", [][]float64{{2}})}, 1); one.DiversityBase != nil || len(one.Notes) != 2 {
		t.Errorf("one seed: diversity %v, notes %q; want null and why", one.DiversityBase, one.Notes)
	}
}

// TestAPageEscapesWhatItIsGiven, and holds its pictures itself.
func TestAPageEscapesWhatItIsGiven(t *testing.T) {
	galleries := []Gallery{gallery(t, "base", [][]float64{{1, 1}}), gallery(t, "<b>tuned", [][]float64{{2, 0}})}
	e := Evaluate([]string{"<script>alert(1)</script>"}, galleries, 1)
	html, err := e.HTML("a & b", galleries)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"&lt;script&gt;alert(1)", "&lt;b&gt;tuned", "a &amp; b", `src="data:image/png;base64,`} {
		if !strings.Contains(string(html), want) {
			t.Errorf("no %q in the page", want)
		}
	}
	if strings.Contains(string(html), "<script") || strings.Contains(string(html), "ZgotmplZ") || strings.Count(string(html), `class="won"`) != 1 {
		t.Error("the page holds a script, an URL that was refused, or not one winner")
	}
	if md := string(e.Markdown()); !strings.Contains(md, "| base |") || !strings.Contains(md, "Wilson") {
		t.Errorf("Markdown:\n%s", md)
	}
}

// TestALongTitleFits: it is cut to the sheet's width, not by it.
func TestALongTitleFits(t *testing.T) {
	m := picture(color.Black)
	data, err := Sheet(strings.Repeat("A title that is long. ", 9), []Row{{Prompt: strings.Repeat("a prompt that is long ", 9), Base: []image.Image{m}, Tuned: []image.Image{m}}})
	if err != nil {
		t.Fatal(err)
	}
	sheet, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	right := sheet.Bounds().Dx() - margin
	for y := range margin + 3*textRow {
		for x := right; x < sheet.Bounds().Dx(); x++ {
			if r, _, _, _ := sheet.At(x, y).RGBA(); r != 0xffff {
				t.Fatalf("text in the right margin, at (%d, %d)", x, y)
			}
		}
	}
}
