package unet

import (
	"yohaku/model/layer"
	"yohaku/model/op"
)

const (
	transformerGroupEps = 1e-6 // Of a transformer's group norm, whatever norm_eps is.
	layerNormEps        = 1e-5
	geluWidth           = 4 // The feed-forward layer's width over the channels.
)

// transformer is the part of Transformer2DModel's arguments that differs between blocks.
type transformer struct {
	Heads, Layers int
	ContextOnly   bool // only_cross_attention: attn1 attends to the context too.
}

// transformer applies one Transformer2DModel with continuous input: h [B,H,W,C] → [B,H,W,C].
func (n *network) transformer(m layer.Module, x op.Node, t transformer) op.Node {
	s := x.Shape()
	batch, height, width, channels := s[0], s[1], s[2], s[3]
	h := m.GroupNorm("norm", x, n.config.NormNumGroups, transformerGroupEps, false)
	if n.config.UseLinearProjection {
		h = m.Linear("proj_in", m.Reshape(h, batch, height*width, channels), channels, true)
	} else {
		h = m.Reshape(m.Conv("proj_in", h, channels, 1, 1, layer.Pad(0)), batch, height*width, channels)
	}
	for i := range t.Layers {
		h = n.transformerBlock(m.Sub("transformer_blocks.%d", i), h, t)
	}
	if n.config.UseLinearProjection {
		h = m.Reshape(m.Linear("proj_out", h, channels, true), batch, height, width, channels)
	} else {
		h = m.Conv("proj_out", m.Reshape(h, batch, height, width, channels), channels, 1, 1, layer.Pad(0))
	}
	return m.Apply(op.Add{}, h, x)
}

// transformerBlock is BasicTransformerBlock with layer norms: self-attention, cross-attention, gated feed-forward, each
// behind its norm and added to its input. h is [B,N,C].
func (n *network) transformerBlock(m layer.Module, h op.Node, t transformer) op.Node {
	x := m.LayerNorm("norm1", h, layerNormEps)
	keys := x
	if t.ContextOnly {
		keys = n.context
	}
	h = m.Apply(op.Add{}, attention(m.Sub("attn1"), x, keys, t.Heads), h)
	x = m.LayerNorm("norm2", h, layerNormEps)
	h = m.Apply(op.Add{}, attention(m.Sub("attn2"), x, n.context, t.Heads), h)
	x = m.LayerNorm("norm3", h, layerNormEps)
	return m.Apply(op.Add{}, feedForward(m.Sub("ff"), x), h)
}

// attention is Attention of diffusers: projections without bias, to_out with one. x is [B,N,C], keys [B,M,D], or [B/n,M,D]
// for n parts of the batch that share them.
func attention(m layer.Module, x, keys op.Node, heads int) op.Node {
	channels := layer.Channels(x)
	q := m.Linear("to_q", x, channels, false)
	batch := x.Shape()[0]
	k := m.Repeated(m.Linear("to_k", keys, channels, false), batch)
	v := m.Repeated(m.Linear("to_v", keys, channels, false), batch)
	return m.Linear("to_out.0", m.Apply(op.Attention{Heads: heads}, q, k, v), channels, true)
}

// feedForward is FeedForward with geglu: net.2(a · gelu(b)) with [a ‖ b] = net.0.proj(x).
func feedForward(m layer.Module, x op.Node) op.Node {
	channels := layer.Channels(x)
	h := m.Linear("net.0.proj", x, 2*geluWidth*channels, true)
	return m.Linear("net.2", m.Apply(op.GEGLU{}, h), channels, true)
}
