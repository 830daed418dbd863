package layer

import "yohaku/model/op"

// Resnet is ResnetBlock2D of diffusers with time_embedding_norm "default":
//
//	h = conv1(silu(norm1(x)));  h += time_emb_proj(t);  h = conv2(silu(norm2(h)))
//	y = (shortcut(x) + h) / scale
//
// where t [B,T] is the activated time embedding, left out when nil, or [B/n,T] for n parts of the batch that share it, and shortcut is a 1×1 convolution when the number
// of channels changes.
type Resnet struct {
	Out    int     // Channels of the result.
	Groups int     // Of both norms.
	Eps    float64 // Of both norms.
	Scale  float64 // output_scale_factor; 0 and 1 are 1.
}

// Apply adds the block under m's path: x [B,H,W,I] → [B,H,W,Out].
func (r Resnet) Apply(m Module, x, t op.Node) op.Node {
	h := m.GroupNorm("norm1", x, r.Groups, r.Eps, true)
	h = m.Conv("conv1", h, r.Out, 3, 1, Pad(1))
	if t != nil {
		h = m.Apply(op.AddBroadcast{}, h, m.Repeated(m.Linear("time_emb_proj", t, r.Out, true), h.Shape()[0]))
	}
	h = m.GroupNorm("norm2", h, r.Groups, r.Eps, true)
	h = m.Conv("conv2", h, r.Out, 3, 1, Pad(1))
	if Channels(x) != r.Out {
		x = m.Conv("conv_shortcut", x, r.Out, 1, 1, Pad(0))
	}
	y := m.Apply(op.Add{}, h, x)
	if r.Scale != 0 && r.Scale != 1 {
		y = m.Apply(op.Scale{By: 1 / r.Scale}, y)
	}
	return y
}

// Downsample is Downsample2D of diffusers: a 3×3 convolution with stride 2. Padding 0 means one zero row below and one
// column at the right, as diffusers has it.
func Downsample(m Module, x op.Node, padding int) op.Node {
	pad := Pad(padding)
	if padding == 0 {
		pad = Padding{Bottom: 1, Right: 1}
	}
	return m.Conv("downsamplers.0.conv", x, Channels(x), 3, 2, pad)
}

// Upsample is Upsample2D of diffusers: nearest-neighbour doubling and a 3×3 convolution.
func Upsample(m Module, x op.Node) op.Node {
	return m.Conv("upsamplers.0.conv", m.Apply(op.Upsample2x{}, x), Channels(x), 3, 1, Pad(1))
}
