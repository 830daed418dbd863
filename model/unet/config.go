package unet

import (
	"io/fs"

	"yohaku/model/config"
)

// Class is the diffusers class whose folders this package reads.
const Class = "UNet2DConditionModel"

// Layers is the number of transformer layers: one number, or one for each attention of a block.
type Layers = config.PerBlock[int]

// Config is config.json of a UNet2DConditionModel: every argument of its constructor (diffusers 0.42), under its name.
// A field that check does not mention is either honoured by Build or has no effect on the supported blocks, as its
// comment says.
type Config struct {
	SampleSize                        config.Size              `json:"sample_size"` // Latent side the model was trained at; a default for sampling.
	InChannels                        int                      `json:"in_channels"`
	OutChannels                       int                      `json:"out_channels"`
	CenterInputSample                 bool                     `json:"center_input_sample"`
	FlipSinToCos                      bool                     `json:"flip_sin_to_cos"`
	FreqShift                         float64                  `json:"freq_shift"`
	DownBlockTypes                    []string                 `json:"down_block_types"`
	MidBlockType                      *string                  `json:"mid_block_type"`
	UpBlockTypes                      []string                 `json:"up_block_types"`
	OnlyCrossAttention                config.PerBlock[bool]    `json:"only_cross_attention"` // attn1 looks at the context too; not in the mid block.
	BlockOutChannels                  []int                    `json:"block_out_channels"`
	LayersPerBlock                    config.PerBlock[int]     `json:"layers_per_block"`
	DownsamplePadding                 int                      `json:"downsample_padding"` // 0 means: pad right and bottom by one.
	MidBlockScaleFactor               float64                  `json:"mid_block_scale_factor"`
	Dropout                           float64                  `json:"dropout"`
	ActFn                             string                   `json:"act_fn"`
	NormNumGroups                     int                      `json:"norm_num_groups"`
	NormEps                           float64                  `json:"norm_eps"`
	CrossAttentionDim                 config.PerBlock[int]     `json:"cross_attention_dim"`
	TransformerLayersPerBlock         config.PerBlock[Layers]  `json:"transformer_layers_per_block"`
	ReverseTransformerLayersPerBlock  *config.PerBlock[Layers] `json:"reverse_transformer_layers_per_block"` // Up blocks, in their own order.
	EncoderHidDim                     *int                     `json:"encoder_hid_dim"`
	EncoderHidDimType                 *string                  `json:"encoder_hid_dim_type"`
	AttentionHeadDim                  config.PerBlock[int]     `json:"attention_head_dim"` // The number of heads, in spite of its name.
	NumAttentionHeads                 *config.PerBlock[int]    `json:"num_attention_heads"`
	DualCrossAttention                bool                     `json:"dual_cross_attention"`
	UseLinearProjection               bool                     `json:"use_linear_projection"`
	ClassEmbedType                    *string                  `json:"class_embed_type"`
	AdditionEmbedType                 *string                  `json:"addition_embed_type"`
	AdditionTimeEmbedDim              *int                     `json:"addition_time_embed_dim"`
	NumClassEmbeds                    *int                     `json:"num_class_embeds"`
	UpcastAttention                   bool                     `json:"upcast_attention"` // No effect in float32.
	ResnetTimeScaleShift              string                   `json:"resnet_time_scale_shift"`
	ResnetSkipTimeAct                 bool                     `json:"resnet_skip_time_act"`    // Only in blocks that check refuses.
	ResnetOutScaleFactor              float64                  `json:"resnet_out_scale_factor"` // Only in blocks that check refuses.
	TimeEmbeddingType                 string                   `json:"time_embedding_type"`
	TimeEmbeddingDim                  *int                     `json:"time_embedding_dim"` // Default 4 × the first block's channels.
	TimeEmbeddingActFn                *string                  `json:"time_embedding_act_fn"`
	TimestepPostAct                   *string                  `json:"timestep_post_act"`
	TimeCondProjDim                   *int                     `json:"time_cond_proj_dim"`
	ConvInKernel                      int                      `json:"conv_in_kernel"`
	ConvOutKernel                     int                      `json:"conv_out_kernel"`
	ProjectionClassEmbeddingsInputDim *int                     `json:"projection_class_embeddings_input_dim"`
	AttentionType                     string                   `json:"attention_type"`
	ClassEmbeddingsConcat             bool                     `json:"class_embeddings_concat"`
	MidBlockOnlyCrossAttention        *bool                    `json:"mid_block_only_cross_attention"` // Only in a mid block that check refuses.
	CrossAttentionNorm                *string                  `json:"cross_attention_norm"`           // Only in blocks that check refuses.
	AdditionEmbedTypeNumHeads         int                      `json:"addition_embed_type_num_heads"`  // Only for embeddings that check refuses.
}

// Defaults returns the defaults of the diffusers constructor, which stand for absent keys.
func Defaults() Config {
	mid := "UNetMidBlock2DCrossAttn"
	return Config{
		InChannels: 4, OutChannels: 4, FlipSinToCos: true,
		DownBlockTypes: []string{"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"},
		MidBlockType:   &mid,
		UpBlockTypes:   []string{"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"},

		OnlyCrossAttention: config.All(false),
		BlockOutChannels:   []int{320, 640, 1280, 1280},
		LayersPerBlock:     config.All(2),
		DownsamplePadding:  1, MidBlockScaleFactor: 1, ActFn: "silu", NormNumGroups: 32, NormEps: 1e-5,
		CrossAttentionDim:         config.All(1280),
		TransformerLayersPerBlock: config.All(config.All(1)),
		AttentionHeadDim:          config.All(8),
		ResnetTimeScaleShift:      "default", ResnetOutScaleFactor: 1,
		TimeEmbeddingType: "positional", ConvInKernel: 3, ConvOutKernel: 3, AttentionType: "default",
		AdditionEmbedTypeNumHeads: 64,
	}
}

// ParseConfig reads the bytes of a config.json. It returns a *config.KeyError for the first key that is not known or
// whose value Build does not implement.
func ParseConfig(data []byte) (Config, error) {
	c := Defaults()
	if err := config.Decode(Class, data, &c); err != nil {
		return Config{}, err
	}
	if err := c.check(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// ReadConfig reads config.json in the folder dir of fsys.
func ReadConfig(fsys fs.FS, dir string) (Config, error) {
	return config.Read(fsys, dir, ParseConfig)
}

// Blocks is the number of down blocks, which is that of up blocks.
func (c Config) Blocks() int { return len(c.BlockOutChannels) }

// Factor is what height and width of a sample must be multiples of: 2 for each downsampling.
func (c Config) Factor() int { return 1 << (c.Blocks() - 1) }

// TimeDim is the width of the time embedding.
func (c Config) TimeDim() int {
	if c.TimeEmbeddingDim != nil && *c.TimeEmbeddingDim != 0 {
		return *c.TimeEmbeddingDim
	}
	return 4 * c.BlockOutChannels[0]
}

// ContextDim is the width of the text context that the cross-attentions expect: that of the first block that has one,
// otherwise that of the mid block.
func (c Config) ContextDim() int {
	for i, kind := range c.DownBlockTypes {
		if crossAttends(kind) {
			return c.CrossAttentionDim.At(i)
		}
	}
	return c.CrossAttentionDim.At(c.Blocks() - 1)
}

// HasTextTime reports whether the model takes SDXL's pooled text embedding and time ids.
func (c Config) HasTextTime() bool {
	return c.AdditionEmbedType != nil && *c.AdditionEmbedType == "text_time"
}

// PooledDim is the width of the pooled text embedding of a text_time model: what is left of the projection's input
// beside six embedded time ids.
func (c Config) PooledDim() int {
	return *c.ProjectionClassEmbeddingsInputDim - TimeIDs**c.AdditionTimeEmbedDim
}

// upLayers returns the transformer layers of up block j, in the up path's order.
func (c Config) upLayers(j int) Layers {
	if c.ReverseTransformerLayersPerBlock != nil {
		return c.ReverseTransformerLayersPerBlock.At(j)
	}
	return c.TransformerLayersPerBlock.At(c.Blocks() - 1 - j)
}
