package clip

import (
	"fmt"
	"strings"

	"yohaku/model/config"
	"yohaku/model/layer"
	"yohaku/model/op"
)

// VisionConfig is the vision_config of a CLIPModel: every field of CLIPVisionConfig (transformers 5), under its name.
type VisionConfig struct {
	ModelType         string  `json:"model_type"`
	HiddenSize        int     `json:"hidden_size"`
	IntermediateSize  int     `json:"intermediate_size"`
	NumHiddenLayers   int     `json:"num_hidden_layers"`
	NumAttentionHeads int     `json:"num_attention_heads"`
	NumChannels       int     `json:"num_channels"`
	ImageSize         int     `json:"image_size"`
	PatchSize         int     `json:"patch_size"`
	HiddenAct         string  `json:"hidden_act"`
	LayerNormEps      float64 `json:"layer_norm_eps"`
}

// VisionDefaults returns the defaults of CLIPVisionConfig, which stand for absent keys.
func VisionDefaults() VisionConfig {
	return VisionConfig{
		ModelType: "clip_vision_model", HiddenSize: 768, IntermediateSize: 3072, NumHiddenLayers: 12, NumAttentionHeads: 12,
		NumChannels: 3, ImageSize: 224, PatchSize: 32, HiddenAct: "quick_gelu", LayerNormEps: 1e-5,
	}
}

// maxSide bounds an image's side, in pixels.
const maxSide = 4096

func (c VisionConfig) check() error {
	k := &config.Checker{Class: "CLIPVisionModel"}
	k.OneOf("model_type", c.ModelType, "clip_vision_model")
	k.Range("hidden_size", c.HiddenSize, 1, maxWidth)
	k.Range("intermediate_size", c.IntermediateSize, 1, maxWidth)
	k.Range("num_hidden_layers", c.NumHiddenLayers, 1, maxLayers)
	k.That(c.NumAttentionHeads >= 1 && c.HiddenSize%max(c.NumAttentionHeads, 1) == 0, "num_attention_heads", c.NumAttentionHeads,
		"must divide hidden_size %d", c.HiddenSize)
	k.That(c.NumChannels == 3, "num_channels", c.NumChannels, "must be 3: pictures are RGB")
	k.Range("image_size", c.ImageSize, 1, maxSide)
	k.That(c.PatchSize >= 1 && c.PatchSize <= c.ImageSize, "patch_size", c.PatchSize, "must be between 1 and image_size %d", c.ImageSize)
	k.OneOf("hidden_act", c.HiddenAct, "quick_gelu", "gelu")
	k.That(c.LayerNormEps > 0, "layer_norm_eps", c.LayerNormEps, "must be above 0")
	return k.Err()
}

// BuildVision adds the vision side of a CLIPModel to b: pixels [B,S,S,3] NHWC, from a Processor, with S = image_size →
// embeds [B,projection_dim], not normalized. It returns an error when pixels do not fit c.
//
// Parameters carry the names that RenameVision gives.
func BuildVision(b *op.Builder, c ModelConfig, pixels op.Node) (embeds op.Node, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	v := c.Vision
	if s := pixels.Shape(); len(s) != 4 || s[1] != v.ImageSize || s[2] != v.ImageSize || s[3] != v.NumChannels {
		return nil, fmt.Errorf("clip input pixels: shape %v, want [B,%d,%d,%d]: does the image processor belong to this model?", s, v.ImageSize, v.ImageSize, v.NumChannels)
	}
	err = op.Build(func() { embeds = c.buildVision(layer.Module{B: b}, pixels) })
	return embeds, err
}

func (c ModelConfig) buildVision(m layer.Module, pixels op.Node) op.Node {
	v := c.Vision
	h := m.LayerNorm("pre_layrnorm", v.embed(m.Sub("embeddings"), pixels), v.LayerNormEps) // Misspelt in the files, too.
	l := encoderLayer{v.HiddenSize, v.IntermediateSize, v.NumAttentionHeads, v.HiddenAct, v.LayerNormEps, false}
	for i := range v.NumHiddenLayers {
		h = l.build(m.Sub("encoder.layers.%d", i), h)
	}
	s := h.Shape()
	first := m.Apply(op.Slice{From: 0, To: v.HiddenSize}, m.Reshape(h, s[0], s[1]*s[2])) // The class token's row.
	return m.Linear("visual_projection", m.LayerNorm("post_layernorm", first, v.LayerNormEps), c.ProjectionDim, false)
}

// embed cuts the picture into patches, [B,S,S,3] → [B,1+(S/P)²,D]: class token first, then the patches row by row, each
// with its position's embedding.
func (c VisionConfig) embed(m layer.Module, pixels op.Node) op.Node {
	side := c.ImageSize / c.PatchSize
	weight := m.B.Param(m.Path+".patch_embedding.weight", c.PatchSize, c.PatchSize, c.NumChannels, c.HiddenSize)
	patches := m.Apply(op.Conv2D{Stride: c.PatchSize}, pixels, weight)
	h := m.Reshape(patches, pixels.Shape()[0], side*side, c.HiddenSize)
	h = m.Apply(op.PrependRow{}, h, m.B.Param(m.Path+".class_embedding", c.HiddenSize))
	return m.Apply(op.AddPosition{}, h, m.B.Param(m.Path+".position_embedding.weight", 1+side*side, c.HiddenSize))
}

// RenameVision gives the name of a CLIPModel's tensor in the vision graph, "" for tensors of the text side.
func RenameVision(name string) string {
	if rest, ok := strings.CutPrefix(name, "vision_model."); ok {
		if rest == "embeddings.position_ids" {
			return ""
		}
		return rest
	}
	if name == "visual_projection.weight" {
		return name
	}
	return ""
}

// RenameText gives the name of a CLIPModel's tensor in the text graph, "" for tensors of the vision side.
func RenameText(name string) string {
	if strings.HasPrefix(name, "text_model.") || name == "text_projection.weight" {
		return Rename(name)
	}
	return ""
}
