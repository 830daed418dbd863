package evidence

import (
	"bytes"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"strings"
	"testing"
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
	var r Report
	r.SetWinRate("palette", [][]float64{{1}}, [][]float64{{2}})
	if *r.WinRate != 1 || *r.WinRateHigh != 1 || r.Comparisons != 1 {
		t.Errorf("report %+v", r)
	}
}
