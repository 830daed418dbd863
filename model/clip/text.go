// Package clip builds CLIP as graphs: the text side, transformers' CLIPTextModel and CLIPTextModelWithProjection, and the
// vision side of CLIPModel, with its image processor.
//
// No padding mask acts: diffusers gives none, so padding tokens are attended to under the causal mask alone.
// Parameters carry the names that transformers 5 writes (embeddings.…, encoder.layers.0.…); Rename brings the names of
// older files, with text_model. in front, to them. Source: transformers 5, models/clip/modeling_clip.py.
package clip

import (
	"fmt"
	"strings"

	"yohaku/model/layer"
	"yohaku/model/op"
)

// legacyEOS is the eos_token_id of configs written before transformers fixed it: pool at the highest id then.
const legacyEOS = 2

// Inputs are the text encoder's inputs.
type Inputs struct {
	IDs  op.Node // [B,L], token ids as float32; L = max_position_embeddings.
	Pool op.Node // [B], the position to pool of each text, from Config.PoolPositions; nil for no pooled output.
}

// Outputs are the text encoder's results.
type Outputs struct {
	Last   op.Node   // [B,L,D], behind the final layer norm: what SD takes.
	Hidden []op.Node // num_hidden_layers + 1 of [B,L,D]: the embeddings, then each layer's result, none normalized.
	Pooled op.Node   // [B,D], Last at the end token; nil without Inputs.Pool.
	Embeds op.Node   // [B,projection_dim], the projected Pooled of a model with projection; otherwise nil.
}

// BuildText adds the text encoder to b. It returns an error when the inputs do not fit c.
func BuildText(b *op.Builder, c Config, in Inputs) (out Outputs, err error) {
	if err := c.check(); err != nil {
		return Outputs{}, err
	}
	s := in.IDs.Shape()
	if len(s) != 2 || s[1] != c.MaxPositionEmbeddings {
		return Outputs{}, fmt.Errorf("clip input ids: shape %v, want [B,%d] (max_position_embeddings): pad every text to that length", s, c.MaxPositionEmbeddings)
	}
	if in.Pool != nil && (len(in.Pool.Shape()) != 1 || in.Pool.Shape()[0] != s[0]) {
		return Outputs{}, fmt.Errorf("clip input pool: shape %v, want [%d]", in.Pool.Shape(), s[0])
	}
	err = op.Build(func() { out = c.build(layer.Module{B: b}, in) })
	return out, err
}

func (c Config) build(m layer.Module, in Inputs) Outputs {
	h := c.embed(m.Sub("embeddings"), in.IDs)
	out := Outputs{Hidden: []op.Node{h}}
	l := encoderLayer{c.HiddenSize, c.IntermediateSize, c.NumAttentionHeads, c.HiddenAct, c.LayerNormEps, true}
	for i := range c.NumHiddenLayers {
		h = l.build(m.Sub("encoder.layers.%d", i), h)
		out.Hidden = append(out.Hidden, h)
	}
	out.Last = m.LayerNorm("final_layer_norm", h, c.LayerNormEps)
	if in.Pool == nil {
		return out
	}
	out.Pooled = m.Apply(op.TakeRow{}, out.Last, in.Pool)
	if c.HasProjection() {
		out.Embeds = m.Linear("text_projection", out.Pooled, *c.ProjectionDim, false)
	}
	return out
}

// embed adds the token's and the position's embedding: ids [B,L] → [B,L,D].
func (c Config) embed(m layer.Module, ids op.Node) op.Node {
	tokens := m.B.Param(m.Path+".token_embedding.weight", c.VocabSize, c.HiddenSize)
	positions := m.B.Param(m.Path+".position_embedding.weight", c.MaxPositionEmbeddings, c.HiddenSize)
	return m.Apply(op.AddPosition{}, m.Apply(op.Embedding{}, ids, tokens), positions)
}

// PoolPositions returns, for each of the texts ids [B][L], the position at which the model pools: the first end token,
// or, when eos_token_id is the legacy 2, the first position of the highest id. A text without an end token pools at its
// first position, as transformers does.
func (c Config) PoolPositions(ids [][]int) []float32 {
	at := make([]float32, len(ids))
	for b, seq := range ids {
		at[b] = float32(c.poolPosition(seq))
	}
	return at
}

func (c Config) poolPosition(seq []int) int {
	at := 0
	for i, id := range seq {
		if c.EOSTokenID == legacyEOS {
			if id > seq[at] {
				at = i
			}
		} else if id == int(c.EOSTokenID) {
			return i
		}
	}
	return at
}

// Rename gives a tensor's present name from its name in a file: files of transformers 4 put text_model. in front of
// all but the projection. It returns "" for the position_ids that some files carry, which are not a parameter.
func Rename(name string) string {
	name = strings.TrimPrefix(name, "text_model.")
	if name == "embeddings.position_ids" {
		return ""
	}
	return name
}
