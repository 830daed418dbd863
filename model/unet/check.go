package unet

import (
	"strings"

	"yohaku/model/config"
)

// Bounds of a config's sizes: far above any published model, low enough that no product of them overflows.
const (
	maxBlocks   = 16
	maxChannels = 1 << 16
	maxLayers   = 128
)

// check refuses, by name, every value that Build does not implement.
func (c Config) check() error {
	k := &config.Checker{Class: Class}
	c.checkBlocks(k)
	if k.Err() != nil {
		return k.Err() // The rules below index the lists by block.
	}
	c.checkSizes(k)
	c.checkAttention(k)
	c.checkEmbeddings(k)
	return k.Err()
}

func (c Config) checkBlocks(k *config.Checker) {
	n := len(c.BlockOutChannels)
	k.That(n >= 1 && n <= maxBlocks, "block_out_channels", c.BlockOutChannels, "must have 1 to %d entries", maxBlocks)
	k.That(len(c.DownBlockTypes) == n, "down_block_types", c.DownBlockTypes, "must have as many entries as block_out_channels: %d", n)
	k.That(len(c.UpBlockTypes) == n, "up_block_types", c.UpBlockTypes, "must have as many entries as block_out_channels: %d", n)
	for _, kind := range c.DownBlockTypes {
		k.OneOf("down_block_types", plainName(kind), "CrossAttnDownBlock2D", "DownBlock2D")
	}
	for _, kind := range c.UpBlockTypes {
		k.OneOf("up_block_types", plainName(kind), "CrossAttnUpBlock2D", "UpBlock2D")
	}
	if c.MidBlockType != nil {
		k.OneOf("mid_block_type", *c.MidBlockType, "UNetMidBlock2DCrossAttn", "UNetMidBlock2D")
	}
	checkPerBlock(k, "layers_per_block", c.LayersPerBlock, n)
	checkPerBlock(k, "attention_head_dim", c.AttentionHeadDim, n)
	checkPerBlock(k, "cross_attention_dim", c.CrossAttentionDim, n)
	checkPerBlock(k, "only_cross_attention", c.OnlyCrossAttention, n)
	checkPerBlock(k, "transformer_layers_per_block", c.TransformerLayersPerBlock, n)
	if c.ReverseTransformerLayersPerBlock != nil {
		checkPerBlock(k, "reverse_transformer_layers_per_block", *c.ReverseTransformerLayersPerBlock, n)
	}
}

func checkPerBlock[T any](k *config.Checker, key string, v config.PerBlock[T], blocks int) {
	if err := v.CheckLength(blocks); err != nil {
		k.That(false, key, v, "%v", err)
	}
}

func (c Config) checkSizes(k *config.Checker) {
	k.Range("in_channels", c.InChannels, 1, maxChannels)
	k.Range("out_channels", c.OutChannels, 1, maxChannels)
	k.Range("norm_num_groups", c.NormNumGroups, 1, maxChannels)
	for i, ch := range c.BlockOutChannels {
		k.That(ch >= 1 && ch <= maxChannels && ch%max(c.NormNumGroups, 1) == 0, "block_out_channels", c.BlockOutChannels,
			"entry %d must be between 1 and %d and a multiple of norm_num_groups %d", i, maxChannels, c.NormNumGroups)
		k.That(c.LayersPerBlock.At(i) >= 1 && c.LayersPerBlock.At(i) <= maxLayers, "layers_per_block", c.LayersPerBlock, "must be between 1 and %d", maxLayers)
	}
	k.That(c.NormEps > 0, "norm_eps", c.NormEps, "must be above 0")
	k.That(c.MidBlockScaleFactor > 0, "mid_block_scale_factor", c.MidBlockScaleFactor, "must be above 0")
	k.That(c.DownsamplePadding == 0 || c.DownsamplePadding == 1, "downsample_padding", c.DownsamplePadding, "not supported; supported: 0, 1")
	k.That(c.ConvInKernel%2 == 1 && c.ConvInKernel <= 15, "conv_in_kernel", c.ConvInKernel, "must be odd, 1 to 15")
	k.That(c.ConvOutKernel%2 == 1 && c.ConvOutKernel <= 15, "conv_out_kernel", c.ConvOutKernel, "must be odd, 1 to 15")
	k.That(!c.CenterInputSample, "center_input_sample", c.CenterInputSample, "not supported; supported: false")
	k.That(c.Dropout == 0, "dropout", c.Dropout, "not supported; supported: 0")
	k.OneOf("act_fn", c.ActFn, "silu", "swish")
	k.OneOf("resnet_time_scale_shift", c.ResnetTimeScaleShift, "default")
}

func (c Config) checkAttention(k *config.Checker) {
	k.Null("num_attention_heads", c.NumAttentionHeads == nil, c.NumAttentionHeads)
	k.That(!c.DualCrossAttention, "dual_cross_attention", c.DualCrossAttention, "not supported; supported: false")
	k.OneOf("attention_type", c.AttentionType, "default")
	context := c.ContextDim()
	for i, ch := range c.BlockOutChannels {
		j := c.Blocks() - 1 - i // The up block with the same channels.
		down, up := crossAttends(c.DownBlockTypes[i]), crossAttends(c.UpBlockTypes[j])
		mid := i == c.Blocks()-1 && c.midAttends()
		if down {
			checkLayers(k, "transformer_layers_per_block", c.TransformerLayersPerBlock.At(i), c.LayersPerBlock.At(i))
		}
		if up {
			checkLayers(k, c.upLayersKey(), c.upLayers(j), c.LayersPerBlock.At(i)+1)
		}
		if mid {
			checkLayers(k, "transformer_layers_per_block", c.TransformerLayersPerBlock.At(i), 1)
		}
		if down || up || mid {
			heads := c.AttentionHeadDim.At(i)
			k.That(heads >= 1 && ch%heads == 0, "attention_head_dim", c.AttentionHeadDim, "the number of heads of block %d must divide its %d channels", i, ch)
			k.That(c.CrossAttentionDim.At(i) == context && context >= 1 && context <= maxChannels, "cross_attention_dim", c.CrossAttentionDim, "all blocks with cross-attention take one context, so their entries must be equal and 1 to %d", maxChannels)
		}
	}
}

// checkLayers refuses a list of transformer layers that is too short for the attentions of a block, as diffusers does.
func checkLayers(k *config.Checker, key string, v Layers, attentions int) {
	k.That(!v.List || len(v.Values) >= attentions, key, v, "a list must have an entry for each of the block's %d attentions", attentions)
	for _, n := range v.Values {
		k.That(n >= 0 && n <= maxLayers, key, v, "must be between 0 and %d", maxLayers)
	}
}

func (c Config) checkEmbeddings(k *config.Checker) {
	k.OneOf("time_embedding_type", c.TimeEmbeddingType, "positional")
	k.That(c.BlockOutChannels[0] >= 4, "block_out_channels", c.BlockOutChannels, "the first entry is the width of the sinusoids, must be at least 4")
	if c.TimeEmbeddingDim != nil {
		k.Range("time_embedding_dim", *c.TimeEmbeddingDim, 0, maxChannels)
	}
	checkActivation(k, "time_embedding_act_fn", c.TimeEmbeddingActFn)
	checkActivation(k, "timestep_post_act", c.TimestepPostAct)
	k.Null("time_cond_proj_dim", c.TimeCondProjDim == nil, c.TimeCondProjDim)
	k.Null("class_embed_type", c.ClassEmbedType == nil, c.ClassEmbedType)
	k.Null("num_class_embeds", c.NumClassEmbeds == nil, c.NumClassEmbeds)
	k.That(!c.ClassEmbeddingsConcat, "class_embeddings_concat", c.ClassEmbeddingsConcat, "not supported; supported: false")
	k.Null("encoder_hid_dim", c.EncoderHidDim == nil, c.EncoderHidDim)
	k.Null("encoder_hid_dim_type", c.EncoderHidDimType == nil, c.EncoderHidDimType)
	if c.AdditionEmbedType == nil {
		return
	}
	k.OneOf("addition_embed_type", *c.AdditionEmbedType, "text_time")
	k.That(c.AdditionTimeEmbedDim != nil && *c.AdditionTimeEmbedDim >= 4 && *c.AdditionTimeEmbedDim <= maxChannels,
		"addition_time_embed_dim", c.AdditionTimeEmbedDim, "text_time needs a width of at least 4")
	k.That(c.ProjectionClassEmbeddingsInputDim != nil && *c.ProjectionClassEmbeddingsInputDim <= maxChannels,
		"projection_class_embeddings_input_dim", c.ProjectionClassEmbeddingsInputDim, "text_time needs the width of its input")
	if k.Err() == nil {
		k.That(c.PooledDim() >= 1, "projection_class_embeddings_input_dim", c.ProjectionClassEmbeddingsInputDim,
			"must be above %d × addition_time_embed_dim = %d", TimeIDs, TimeIDs**c.AdditionTimeEmbedDim)
	}
}

func checkActivation(k *config.Checker, key string, name *string) {
	if name != nil {
		k.OneOf(key, *name, "silu", "swish")
	}
}

// plainName drops the prefix that diffusers itself ignores.
func plainName(kind string) string { return strings.TrimPrefix(kind, "UNetRes") }

func crossAttends(kind string) bool { return strings.HasPrefix(plainName(kind), "CrossAttn") }

func (c Config) midAttends() bool {
	return c.MidBlockType != nil && *c.MidBlockType == "UNetMidBlock2DCrossAttn"
}

func (c Config) upLayersKey() string {
	if c.ReverseTransformerLayersPerBlock != nil {
		return "reverse_transformer_layers_per_block"
	}
	return "transformer_layers_per_block"
}
