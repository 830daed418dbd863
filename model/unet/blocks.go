package unet

import (
	"yohaku/model/layer"
	"yohaku/model/op"
)

// resnet applies one ResnetBlock2D; scale is its output_scale_factor.
func (n *network) resnet(m layer.Module, x op.Node, out int, scale float64) op.Node {
	r := layer.Resnet{Out: out, Groups: n.config.NormNumGroups, Eps: n.config.NormEps, Scale: scale}
	return r.Apply(m, x, n.time)
}

// down is CrossAttnDownBlock2D or DownBlock2D number i; each of its results is kept for the up path.
func (n *network) down(i int, h op.Node) op.Node {
	c := n.config
	m, attends := n.Sub("down_blocks.%d", i), crossAttends(c.DownBlockTypes[i])
	for l := range c.LayersPerBlock.At(i) {
		h = n.resnet(m.Sub("resnets.%d", l), h, c.BlockOutChannels[i], 1)
		if attends {
			h = n.transformer(m.Sub("attentions.%d", l), h, transformer{
				Heads: c.AttentionHeadDim.At(i), Layers: c.TransformerLayersPerBlock.At(i).At(l), ContextOnly: c.OnlyCrossAttention.At(i),
			})
		}
		n.push(h)
	}
	if i < c.Blocks()-1 {
		h = layer.Downsample(m, h, c.DownsamplePadding)
		n.push(h)
	}
	return h
}

// mid is UNetMidBlock2DCrossAttn, or UNetMidBlock2D, which diffusers makes with one resnet only, or nothing.
func (n *network) mid(h op.Node) op.Node {
	c := n.config
	if c.MidBlockType == nil {
		return h
	}
	m, last := n.Sub("mid_block"), c.Blocks()-1
	h = n.resnet(m.Sub("resnets.0"), h, c.BlockOutChannels[last], c.MidBlockScaleFactor)
	if !c.midAttends() {
		return h
	}
	h = n.transformer(m.Sub("attentions.0"), h, transformer{
		Heads: c.AttentionHeadDim.At(last), Layers: c.TransformerLayersPerBlock.At(last).At(0),
	})
	return n.resnet(m.Sub("resnets.1"), h, c.BlockOutChannels[last], c.MidBlockScaleFactor)
}

// up is CrossAttnUpBlock2D or UpBlock2D number j, counted from the mid block; it has the channels of down block
// Blocks−1−j and one layer more.
func (n *network) up(j int, h op.Node) op.Node {
	c := n.config
	i := c.Blocks() - 1 - j
	m, attends := n.Sub("up_blocks.%d", j), crossAttends(c.UpBlockTypes[j])
	for l := range c.LayersPerBlock.At(i) + 1 {
		h = m.Sub("resnets.%d", l).Apply(op.Concat{}, h, n.pop())
		h = n.resnet(m.Sub("resnets.%d", l), h, c.BlockOutChannels[i], 1)
		if attends {
			h = n.transformer(m.Sub("attentions.%d", l), h, transformer{
				Heads: c.AttentionHeadDim.At(i), Layers: c.upLayers(j).At(l), ContextOnly: c.OnlyCrossAttention.At(i),
			})
		}
	}
	if i > 0 {
		h = layer.Upsample(m, h)
	}
	return h
}
