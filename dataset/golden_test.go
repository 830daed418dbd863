package dataset

import (
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/internal/golden"
	"yohaku/internal/picture"
)

// goldenRow is one row of case 10's arguments.
type goldenRow struct {
	Index        int        `json:"index"`
	Label0       float64    `json:"label_0"`
	Flip         bool       `json:"flip"`
	OriginalSize [2]int     `json:"original_size"`
	CropTopLeft  [2]int     `json:"crop_top_left"`
	TimeIDs      [6]float32 `json:"time_ids"`
}

func TestGoldenPreprocessing(t *testing.T) {
	golden.Run(t, "10_pair_preprocessing", func(t *testing.T, c *golden.Case) {
		var args struct {
			Resolution int         `json:"resolution"`
			Rows       []goldenRow `json:"rows"`
		}
		c.Args(t, &args)
		for _, row := range args.Rows {
			t.Run(fmt.Sprint("row=", row.Index), func(t *testing.T) { checkRow(t, c, args.Resolution, row) })
		}
	})
}

func checkRow(t *testing.T, c *golden.Case, resolution int, row goldenRow) {
	outputs := c.Outputs(t)
	tensor := func(name string) []float32 { return golden.Float32(t, outputs, fmt.Sprintf("%d.%s", row.Index, name)) }
	read := func(name string) *picture.Image {
		data, err := os.ReadFile(c.Path("images", name))
		if err != nil {
			t.Fatal(err)
		}
		m, err := picture.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	first, second := read(fmt.Sprintf("%d_0.png", row.Index)), read(fmt.Sprintf("%d_1.png", row.Index))

	resized := picture.ResizeBicubic(second, first.Width, first.Height)
	want, err := outputs.Bytes(fmt.Sprintf("%d.jpg1_resized_uint8", row.Index))
	if err != nil {
		t.Fatal(err)
	}
	if greatest, _ := picture.Difference(resized, &picture.Image{Width: first.Width, Height: first.Height, Pix: want}); greatest != 0 {
		t.Errorf("jpg1_resized_uint8: greatest difference %d, want the same bytes", greatest)
	}

	winner, loser := first, second
	if row.Label0 == 0 {
		winner, loser = second, first
	}
	pixels, err := Transform{Resolution: resolution, CenterCrop: true}.
		Preprocess(winner, loser, row.Label0 == 0, row.Flip, 0)
	if err != nil {
		t.Fatal(err)
	}
	c.Near(t, "pixel_values", append(pixels.Winner, pixels.Loser...), tensor("pixel_values"))
	if diff := cmp.Diff(pixels.TimeIDs(), row.TimeIDs); diff != "" {
		t.Errorf("time ids (-got +want):\n%s", diff)
	}
	checkResized(t, c, resized, first, row.Label0 == 0, resolution, tensor("resized"))
	checkJPEG(t, c, row.Index, read(fmt.Sprintf("%d.jpg", row.Index)))
}

// checkResized compares the whole resized pictures, before flip and crop.
func checkResized(t *testing.T, c *golden.Case, second, first *picture.Image, loserFirst bool, resolution int, want []float32) {
	t.Helper()
	width, height := shortSideTo(first.Width, first.Height, resolution)
	order := []*picture.Image{first, second}
	if loserFirst {
		order = []*picture.Image{second, first}
	}
	var got []float32
	for _, m := range order {
		got = append(got, resizeWhole(m, width, height)...)
	}
	c.Near(t, "resized", got, want)
}

// resizeWhole puts resizeCrop's squares together to [3, height, width].
func resizeWhole(m *picture.Image, width, height int) []float32 {
	side := min(width, height)
	whole := make([]float32, 3*width*height)
	for at := 0; ; at = min(at+side, max(width, height)-side) {
		top, left := 0, at
		if height > width {
			top, left = at, 0
		}
		square := resizeCrop(m, width, height, top, left, side)
		for i, v := range square {
			plane, y, x := i/(side*side), i/side%side, i%side
			whole[(plane*height+top+y)*width+left+x] = v
		}
		if at == max(width, height)-side {
			return whole
		}
	}
}

// checkJPEG bounds the distance from libjpeg-turbo, which case.json leaves open.
func checkJPEG(t *testing.T, c *golden.Case, index int, got *picture.Image) {
	t.Helper()
	outputs := c.Outputs(t)
	name := fmt.Sprintf("%d.jpeg_rgb_uint8", index)
	want, err := outputs.Bytes(name)
	if err != nil {
		t.Fatal(err)
	}
	shape := golden.Shape(t, outputs, name)
	greatest, mean := picture.Difference(got, &picture.Image{Height: shape[0], Width: shape[1], Pix: want})
	t.Logf("JPEG: greatest difference from libjpeg-turbo %d, mean %.4f", greatest, mean)
	if greatest > 4 || mean > 0.2 {
		t.Errorf("JPEG: greatest difference from libjpeg-turbo %d, mean %.4f; at most 4 and 0.2 expected", greatest, mean)
	}
}
