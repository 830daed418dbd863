// Package vae builds diffusers' AutoencoderKL as graphs, encoder and decoder apart, under diffusers' parameter names,
// and samples latents from the encoder's moments.
//
// Pictures are in [−1, 1]. The group norms' epsilon is 1e-6 everywhere, attention has one head, the encoder's
// downsamplings pad right and bottom only. Source: diffusers 0.42, models/autoencoders/autoencoder_kl.py and vae.py.
package vae

import (
	"fmt"

	"yohaku/model/layer"
	"yohaku/model/op"
)

const normEps = 1e-6

// BuildEncoder adds the encoder to b: x [B,H,W,in_channels] NHWC → moments [B,H/f,W/f,2·latent_channels] NHWC, mean
// first, then the log of the variance, not clamped. H and W must be multiples of f = c.Factor().
func BuildEncoder(b *op.Builder, c Config, x op.Node) (moments op.Node, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	s := x.Shape()
	if f := c.Factor(); len(s) != 4 || s[3] != c.InChannels || s[1]%f != 0 || s[2]%f != 0 {
		return nil, fmt.Errorf("vae encoder input: shape %v, want [B,H,W,%d] with H and W multiples of %d", s, c.InChannels, f)
	}
	n := network{config: c}
	err = op.Build(func() { moments = n.encode(layer.Module{B: b}, x) })
	return moments, err
}

// BuildDecoder adds the decoder to b: z [B,h,w,latent_channels] NHWC → picture [B,f·h,f·w,out_channels] NHWC. z is what
// Unscale makes of a diffusion model's latents.
func BuildDecoder(b *op.Builder, c Config, z op.Node) (image op.Node, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if s := z.Shape(); len(s) != 4 || s[3] != c.LatentChannels {
		return nil, fmt.Errorf("vae decoder input: shape %v, want [B,h,w,%d]", s, c.LatentChannels)
	}
	n := network{config: c}
	err = op.Build(func() { image = n.decode(layer.Module{B: b}, z) })
	return image, err
}

type network struct{ config Config }

func (n network) encode(top layer.Module, x op.Node) op.Node {
	c, m := n.config, top.Sub("encoder")
	h := m.Conv("conv_in", x, c.BlockOutChannels[0], 3, 1, layer.Pad(1))
	for i, kind := range c.DownBlockTypes {
		d := m.Sub("down_blocks.%d", i)
		h = n.layers(d, h, c.BlockOutChannels[i], c.LayersPerBlock, attends(kind))
		if i < len(c.BlockOutChannels)-1 {
			h = layer.Downsample(d, h, 0)
		}
	}
	h = n.mid(m.Sub("mid_block"), h)
	h = m.GroupNorm("conv_norm_out", h, c.NormNumGroups, normEps, true)
	h = m.Conv("conv_out", h, 2*c.LatentChannels, 3, 1, layer.Pad(1))
	if c.UseQuantConv {
		h = top.Conv("quant_conv", h, 2*c.LatentChannels, 1, 1, layer.Pad(0))
	}
	return h
}

func (n network) decode(top layer.Module, z op.Node) op.Node {
	c, m := n.config, top.Sub("decoder")
	if c.UsePostQuantConv {
		z = top.Conv("post_quant_conv", z, c.LatentChannels, 1, 1, layer.Pad(0))
	}
	last := len(c.BlockOutChannels) - 1
	h := m.Conv("conv_in", z, c.BlockOutChannels[last], 3, 1, layer.Pad(1))
	h = n.mid(m.Sub("mid_block"), h)
	for j, kind := range c.UpBlockTypes {
		u := m.Sub("up_blocks.%d", j)
		h = n.layers(u, h, c.BlockOutChannels[last-j], c.LayersPerBlock+1, attends(kind))
		if j < last {
			h = layer.Upsample(u, h)
		}
	}
	h = m.GroupNorm("conv_norm_out", h, c.NormNumGroups, normEps, true)
	return m.Conv("conv_out", h, c.OutChannels, 3, 1, layer.Pad(1))
}

// layers is the resnets of an encoder's or decoder's block, each with an attention behind it in the Attn blocks.
func (n network) layers(m layer.Module, h op.Node, channels, count int, attention bool) op.Node {
	for l := range count {
		h = n.resnet(m.Sub("resnets.%d", l), h, channels)
		if attention {
			h = n.attention(m.Sub("attentions.%d", l), h)
		}
	}
	return h
}

func (n network) mid(m layer.Module, h op.Node) op.Node {
	channels := layer.Channels(h)
	h = n.resnet(m.Sub("resnets.0"), h, channels)
	if n.config.MidBlockAddAttention {
		h = n.attention(m.Sub("attentions.0"), h)
	}
	return n.resnet(m.Sub("resnets.1"), h, channels)
}

func (n network) resnet(m layer.Module, x op.Node, channels int) op.Node {
	return layer.Resnet{Out: channels, Groups: n.config.NormNumGroups, Eps: normEps}.Apply(m, x, nil)
}

// attention is the self-attention over pixels with one head, biases and a residual: x [B,H,W,C] → [B,H,W,C].
func (n network) attention(m layer.Module, x op.Node) op.Node {
	s := x.Shape()
	channels := s[3]
	h := m.Reshape(m.GroupNorm("group_norm", x, n.config.NormNumGroups, normEps, false), s[0], s[1]*s[2], channels)
	q := m.Linear("to_q", h, channels, true)
	k := m.Linear("to_k", h, channels, true)
	v := m.Linear("to_v", h, channels, true)
	h = m.Linear("to_out.0", m.Apply(op.Attention{Heads: 1}, q, k, v), channels, true)
	return m.Apply(op.Add{}, m.Reshape(h, s...), x)
}
