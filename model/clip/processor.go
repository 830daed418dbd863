package clip

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path"

	"yohaku/internal/picture"
	"yohaku/model/config"
)

// ProcessorFile is the name of the image processor's configuration.
const ProcessorFile = "preprocessor_config.json"

// bicubic is PIL's number of its cubic filter.
const bicubic = 3

// Processor is CLIPImageProcessor: it makes a model's pixels of a picture.
type Processor struct {
	DoConvertRGB  bool      `json:"do_convert_rgb"`
	DoResize      bool      `json:"do_resize"`
	Size          edge      `json:"size"`
	Resample      int       `json:"resample"`
	DoCenterCrop  bool      `json:"do_center_crop"`
	CropSize      square    `json:"crop_size"`
	DoRescale     bool      `json:"do_rescale"`
	RescaleFactor float64   `json:"rescale_factor"`
	DoNormalize   bool      `json:"do_normalize"`
	ImageMean     []float64 `json:"image_mean"`
	ImageStd      []float64 `json:"image_std"`
}

// edge is {"shortest_edge": n}, or, in older files, n.
type edge int

// UnmarshalJSON takes either form.
func (e *edge) UnmarshalJSON(data []byte) error {
	var object struct {
		Edge int `json:"shortest_edge"`
	}
	if json.Unmarshal(data, (*int)(e)) == nil {
		return nil
	}
	if err := json.Unmarshal(data, &object); err != nil || object.Edge == 0 {
		return errors.New(`want a whole number, or an object with "shortest_edge"`)
	}
	*e = edge(object.Edge)
	return nil
}

// square is {"height": n, "width": n}, or, in older files, n.
type square int

// UnmarshalJSON takes either form.
func (s *square) UnmarshalJSON(data []byte) error {
	var object struct{ Height, Width int }
	if json.Unmarshal(data, (*int)(s)) == nil {
		return nil
	}
	if err := json.Unmarshal(data, &object); err != nil || object.Height == 0 || object.Height != object.Width {
		return errors.New(`want a whole number, or an object with equal "height" and "width"`)
	}
	*s = square(object.Height)
	return nil
}

// ReadProcessor reads the image processor of the model folder dir in fsys.
func ReadProcessor(fsys fs.FS, dir string) (Processor, error) {
	return config.ReadFile(fsys, path.Join(dir, ProcessorFile), ParseProcessor)
}

// ParseProcessor reads the bytes of a preprocessor_config.json. It returns a *config.KeyError for the first key that is
// not known or whose value is not implemented.
func ParseProcessor(data []byte) (Processor, error) {
	p := Processor{
		DoConvertRGB: true, DoResize: true, Size: 224, Resample: bicubic, DoCenterCrop: true, CropSize: 224, DoRescale: true, RescaleFactor: 1.0 / 255,
		DoNormalize: true, ImageMean: []float64{0.48145466, 0.4578275, 0.40821073}, ImageStd: []float64{0.26862954, 0.26130258, 0.27577711},
	}
	if err := config.Decode("CLIPImageProcessor", data, &p, "image_processor_type", "feature_extractor_type", "processor_class", "data_format", "device", "return_tensors"); err != nil {
		return Processor{}, err
	}
	k := &config.Checker{Class: "CLIPImageProcessor"}
	k.That(p.Resample == bicubic, "resample", p.Resample, "must be %d, bicubic", bicubic)
	k.Range("size", int(p.Size), 1, maxSide)
	k.Range("crop_size", int(p.CropSize), 1, int(p.Size))
	k.That(len(p.ImageMean) == 3, "image_mean", p.ImageMean, "want three numbers")
	k.That(len(p.ImageStd) == 3 && min(p.ImageStd[0], p.ImageStd[1], p.ImageStd[2]) > 0, "image_std", p.ImageStd, "want three numbers above 0")
	for key, on := range map[string]bool{"do_resize": p.DoResize, "do_center_crop": p.DoCenterCrop, "do_rescale": p.DoRescale, "do_normalize": p.DoNormalize} {
		k.That(on, key, on, "must be true")
	}
	return p, k.Err()
}

// Side is the side of the pixels that Pixels makes.
func (p Processor) Side() int { return int(p.CropSize) }

// Pixels resizes m so that its shorter edge is Size, cuts the middle out and normalizes it, to dst [Side,Side,3]:
//
//	dst = (byte·RescaleFactor − mean)/std
//
// Source: transformers 5, models/clip/image_processing_pil_clip.py.
func (p Processor) Pixels(dst []float32, m *picture.Image) {
	width, height := int(p.Size), int(p.Size)
	if m.Width < m.Height {
		height = int(p.Size) * m.Height / m.Width
	} else {
		width = int(p.Size) * m.Width / m.Height
	}
	m = picture.ResizeBicubic(m, width, height)
	side := p.Side()
	top, left := (height-side)/2, (width-side)/2
	for y := range side {
		row := m.Pix[3*((top+y)*width+left):][:3*side]
		for i, b := range row {
			c := i % 3
			dst[3*side*y+i] = (float32(float64(b)*p.RescaleFactor) - float32(p.ImageMean[c])) / float32(p.ImageStd[c])
		}
	}
}
