package clip

import (
	"encoding/json"
	"io/fs"

	"yohaku/model/config"
)

// ClassModel is the class of a text and a vision model with a common embedding, such as PickScore's.
const ClassModel = "CLIPModel"

// LogitScale is the name of the tensor whose exponential scales a CLIPModel's cosines, a scalar.
const LogitScale = "logit_scale"

// ModelConfig is config.json of a CLIPModel.
type ModelConfig struct {
	ProjectionDim int
	Text          Config // With its projection.
	Vision        VisionConfig
}

// modelFile is config.json's outer level. The two inner ones are kept whole for their own decoders.
type modelFile struct {
	Architectures []string        `json:"architectures"`
	ModelType     string          `json:"model_type"`
	ProjectionDim int             `json:"projection_dim"`
	TextConfig    json.RawMessage `json:"text_config"`
	VisionConfig  json.RawMessage `json:"vision_config"`
}

// modelInert are the outer keys that change nothing in a forward pass.
var modelInert = append([]string{"logit_scale_init_value", "text_config_dict", "vision_config_dict"}, inert...)

// ParseModelConfig reads the bytes of a CLIPModel's config.json. It returns a *config.KeyError for the first key that is
// not known or whose value is not implemented.
func ParseModelConfig(data []byte) (ModelConfig, error) {
	file := modelFile{ProjectionDim: 512, TextConfig: json.RawMessage("{}"), VisionConfig: json.RawMessage("{}")}
	if err := config.Decode(ClassModel, data, &file, modelInert...); err != nil {
		return ModelConfig{}, err
	}
	k := &config.Checker{Class: ClassModel}
	k.OneOf("model_type", file.ModelType, "clip")
	if err := k.Err(); err != nil {
		return ModelConfig{}, err
	}
	c := ModelConfig{ProjectionDim: file.ProjectionDim, Text: Defaults(), Vision: VisionDefaults()}
	if err := config.Decode(Class, file.TextConfig, &c.Text, inert...); err != nil {
		return ModelConfig{}, err
	}
	if err := config.Decode("CLIPVisionModel", file.VisionConfig, &c.Vision, append([]string{"projection_dim"}, inert...)...); err != nil {
		return ModelConfig{}, err
	}
	c.Text.Architectures, c.Text.ProjectionDim = []string{ClassWithProjection}, &c.ProjectionDim // The outer one counts.
	return c, c.check()
}

// ReadModelConfig reads config.json in the folder dir of fsys.
func ReadModelConfig(fsys fs.FS, dir string) (ModelConfig, error) {
	return config.Read(fsys, dir, ParseModelConfig)
}

func (c ModelConfig) check() error {
	if err := c.Text.check(); err != nil {
		return err
	}
	return c.Vision.check()
}
