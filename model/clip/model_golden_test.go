package clip

import (
	"math"
	"os"
	"strings"
	"testing"

	"yohaku/internal/golden"
	"yohaku/internal/picture"
	"yohaku/model/internal/nettest"
	"yohaku/model/op"
)

func TestGoldenModel(t *testing.T) {
	golden.Run(t, "04d_clip_model_pickscore", checkModel)
}

func checkModel(t *testing.T, c *golden.Case) {
	cfg, err := ReadModelConfig(os.DirFS(c.Dir), "model")
	if err != nil {
		t.Fatal(err)
	}
	pixels := goldenPixels(t, c)
	weights := c.Tensors(t, "model", "model.safetensors")
	side := cfg.Vision.ImageSize

	b := op.NewBuilder()
	n := len(pixels) / (3 * side * side)
	embeds, err := BuildVision(b, cfg, b.Input("pixels", n, side, side, 3))
	if err != nil {
		t.Fatal(err)
	}
	nettest.CheckParams(t, b, weights, RenameVision)
	vision := nettest.Compile(t, b, weights, RenameVision, []op.Node{embeds}, nil)
	copy(vision.Input("pixels"), pixels)
	vision.Run()
	images := normalized(vision.Output(0), cfg.ProjectionDim)
	c.Near(t, "image_embeds", images, golden.Float32(t, c.Outputs(t), "image_embeds"))

	b = op.NewBuilder()
	ids := inputIDs(t, c)
	out, err := BuildText(b, cfg.Text, Inputs{IDs: b.Input("ids", len(ids), len(ids[0])), Pool: b.Input("pool", len(ids))})
	if err != nil {
		t.Fatal(err)
	}
	nettest.CheckParams(t, b, weights, RenameText)
	text := nettest.Compile(t, b, weights, RenameText, []op.Node{out.Embeds}, nil)
	fill(text, cfg.Text, ids)
	text.Run()
	texts := normalized(text.Output(0), cfg.ProjectionDim)
	c.Near(t, "text_embeds", texts, golden.Float32(t, c.Outputs(t), "text_embeds"))

	scale := math.Exp(float64(golden.Float32(t, weights, LogitScale)[0]))
	var logits, scores []float32
	for i := range ids {
		for j := range n {
			logit := float32(scale * dot(texts[i*cfg.ProjectionDim:(i+1)*cfg.ProjectionDim], images[j*cfg.ProjectionDim:(j+1)*cfg.ProjectionDim]))
			logits = append(logits, logit)
			if i == j {
				scores = append(scores, logit)
			}
		}
	}
	c.Near(t, "logits_per_text", logits, golden.Float32(t, c.Outputs(t), "logits_per_text"))
	c.Near(t, "score", scores, golden.Float32(t, c.Outputs(t), "score"))
}

// goldenPixels processes the case's pictures and holds them to the case's pixels.
func goldenPixels(t *testing.T, c *golden.Case) []float32 {
	t.Helper()
	var args struct{ Images []string }
	c.Args(t, &args)
	p, err := ReadProcessor(os.DirFS(c.Dir), "model")
	if err != nil {
		t.Fatal(err)
	}
	size := 3 * p.Side() * p.Side()
	pixels := make([]float32, len(args.Images)*size)
	for i, name := range args.Images {
		data, err := os.ReadFile(c.Path("images", name))
		if err != nil {
			t.Fatal(err)
		}
		m, err := picture.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		p.Pixels(pixels[i*size:(i+1)*size], m)
	}
	c.Near(t, "pixel_values", nettest.NCHW(pixels, len(args.Images), 3, p.Side(), p.Side()), golden.Float32(t, c.Outputs(t), "pixel_values"))
	return pixels
}

// normalized divides each row of n values by its length.
func normalized(x []float32, n int) []float32 {
	out := make([]float32, len(x))
	for i := 0; i < len(x); i += n {
		length := math.Sqrt(dot(x[i:i+n], x[i:i+n]))
		for j, v := range x[i : i+n] {
			out[i+j] = float32(float64(v) / length)
		}
	}
	return out
}

func dot(a, b []float32) float64 {
	sum := 0.0
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}

func TestModelConfigRefusesByName(t *testing.T) {
	for text, want := range map[string]string{
		`{"model_type":"clip","colour":1}`:                                      `"colour"`,
		`{"model_type":"siglip"}`:                                               `"model_type"`,
		`{"model_type":"clip","vision_config":{"hidden_act":"relu"}}`:           `"hidden_act"`,
		`{"model_type":"clip","vision_config":{"num_channels":4}}`:              `"num_channels"`,
		`{"model_type":"clip","text_config":{"num_attention_heads":7}}`:         `"num_attention_heads"`,
		`{"model_type":"clip","vision_config":{"image_size":8,"patch_size":9}}`: `"patch_size"`,
	} {
		if _, err := ParseModelConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %s", text, err, want)
		}
	}
	for text, want := range map[string]string{
		`{"resample":2}`:                                   `"resample"`,
		`{"size":{"longest_edge":3}}`:                      `"size"`,
		`{"crop_size":{"height":3,"width":4}}`:             `"crop_size"`,
		`{"image_std":[0,1,1]}`:                            `"image_std"`,
		`{"do_center_crop":false}`:                         `"do_center_crop"`,
		`{"size":10,"crop_size":{"height":11,"width":11}}`: `"crop_size"`,
	} {
		if _, err := ParseProcessor([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %s", text, err, want)
		}
	}
	if p, err := ParseProcessor([]byte(`{"size":336,"crop_size":336}`)); err != nil || p.Side() != 336 {
		t.Errorf("sizes as numbers: side %d, error %v", p.Side(), err)
	}
}
