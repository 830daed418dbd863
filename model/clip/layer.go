package clip

import (
	"yohaku/model/layer"
	"yohaku/model/op"
)

// encoderLayer is CLIPEncoderLayer, which text and vision share: self-attention and a two-layer perceptron, each behind
// its norm and added.
type encoderLayer struct {
	hidden, intermediate, heads int
	act                         string
	eps                         float64
	causal                      bool
}

func (l encoderLayer) build(m layer.Module, h op.Node) op.Node {
	x := m.LayerNorm("layer_norm1", h, l.eps)
	h = m.Apply(op.Add{}, l.attention(m.Sub("self_attn"), x), h)
	x = m.LayerNorm("layer_norm2", h, l.eps)
	x = m.Linear("mlp.fc1", x, l.intermediate, true)
	x = m.Linear("mlp.fc2", m.Apply(l.activation(), x), l.hidden, true)
	return m.Apply(op.Add{}, x, h)
}

func (l encoderLayer) attention(m layer.Module, x op.Node) op.Node {
	q := m.Linear("q_proj", x, l.hidden, true)
	k := m.Linear("k_proj", x, l.hidden, true)
	v := m.Linear("v_proj", x, l.hidden, true)
	return m.Linear("out_proj", m.Apply(op.Attention{Heads: l.heads, Causal: l.causal}, q, k, v), l.hidden, true)
}

func (l encoderLayer) activation() op.Def {
	if l.act == "gelu" {
		return op.GELU{}
	}
	return op.QuickGELU{}
}
