package encode

import (
	"fmt"

	"yohaku/model/backend"
	"yohaku/model/checkpoint"
	"yohaku/model/clip"
	"yohaku/model/clip/tokenizer"
	"yohaku/model/compile"
	"yohaku/model/lora"
	"yohaku/model/op"
	"yohaku/model/weights"
)

// Text encodes prompts as a pipeline of diffusers does: tokens of the fast tokenizer, padded to the model's length, no
// padding mask. It belongs to one goroutine.
//
// StableDiffusionPipeline takes the last hidden state of its one encoder, behind its norm. StableDiffusionXLPipeline has
// two, takes the state before the last layer of each, side by side, and the second's projected pooled output.
type Text struct{ encoders []*textEncoder }

// Embedding is a prompt's.
type Embedding struct {
	Tokens []float32 // [Length,Dim].
	Pooled []float32 // [PooledDim]; nil where there is none.
}

// textEncoder is one CLIPTextModel with its tokenizer.
type textEncoder struct {
	config    clip.Config
	tokenizer *tokenizer.Tokenizer
	exe       *compile.Executable
	batch     int
	use       textUse
}

// textUse says what is taken of an encoder.
type textUse struct{ penultimate, pooled bool }

// Names of the programs' inputs.
const (
	inputIDs  = "input.ids"
	inputPool = "input.pool"
)

// textParts are the folders of a pipeline that OpenText reads, the last two in SDXL only.
var textParts = []string{"text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"}

// OpenText reads the text encoders and tokenizers of the pipeline folder f and compiles them for batches of prompts. It
// returns an error when parts do not fit each other.
func OpenText(f *checkpoint.Folder, be backend.Backend, batch int) (*Text, error) {
	if batch < 1 {
		return nil, fmt.Errorf("encode prompts in batches of %d: must be at least 1", batch)
	}
	uses := []textUse{{}}
	if f.Has(textParts[2]) {
		uses = []textUse{{penultimate: true}, {penultimate: true, pooled: true}}
	}
	t := &Text{}
	for i, use := range uses {
		model, err := f.Sub(textParts[2*i])
		if err != nil {
			return nil, err
		}
		tokens, err := f.Sub(textParts[2*i+1])
		if err != nil {
			return nil, err
		}
		e, err := openTextEncoder(model, tokens, be, batch, use)
		if err != nil {
			return nil, fmt.Errorf("open the text encoder in %s: %w", model.Path(), err)
		}
		t.encoders = append(t.encoders, e)
	}
	if a, b := t.encoders[0], t.encoders[len(uses)-1]; a.length() != b.length() {
		return nil, fmt.Errorf("the text encoders of %s have %d and %d positions: they belong to different models", f.Path(), a.length(), b.length())
	}
	return t, nil
}

func openTextEncoder(model, tokens *checkpoint.Folder, be backend.Backend, batch int, use textUse) (*textEncoder, error) {
	c, err := clip.ReadConfig(model.FS(), ".")
	if err != nil {
		return nil, err
	}
	if use.pooled && !c.HasProjection() {
		return nil, fmt.Errorf("it is a %s: want a %s", clip.Class, clip.ClassWithProjection)
	}
	e := &textEncoder{config: c, batch: batch, use: use}
	if e.tokenizer, err = openTokenizer(tokens, c); err != nil {
		return nil, fmt.Errorf("open the tokenizer in %s: %w", tokens.Path(), err)
	}
	if e.exe, err = e.program(be); err != nil {
		return nil, err
	}
	return e, weights.Load(e.exe, model, checkpoint.LoadOptions{Rename: clip.Rename, Partial: c.HasProjection() && !use.pooled})
}

func (e *textEncoder) program(be backend.Backend) (*compile.Executable, error) {
	b := op.NewBuilder()
	in := clip.Inputs{IDs: b.Input(inputIDs, e.batch, e.length())}
	if e.use.pooled {
		in.Pool = b.Input(inputPool, e.batch)
	}
	out, err := clip.BuildText(b, e.config, in)
	if err != nil {
		return nil, err
	}
	outputs := []op.Node{out.Last}
	if e.use.penultimate {
		outputs[0] = out.Hidden[len(out.Hidden)-2]
	}
	if e.use.pooled {
		outputs = append(outputs, out.Embeds)
	}
	return compile.Compile(b, be, outputs, nil, compile.Options{})
}

// Merge adds the adapters of the text encoders, times strength, to their weights. Embeddings made before stay as they are.
func (t *Text) Merge(s lora.Set, strength float64) error {
	for i, network := range []string{lora.TextEncoder, lora.TextEncoder2} {
		a, ok := s[network]
		switch {
		case !ok:
			continue
		case i >= len(t.encoders):
			return fmt.Errorf("merge adapter: it adapts %s, which the pipeline does not have; is it of another model family?", network)
		}
		e := t.encoders[i].exe
		if err := a.Merge(weights.Params(e.Params(), e.ParamSlab()), strength); err != nil {
			return fmt.Errorf("%s: %w", network, err)
		}
	}
	return nil
}

// Length is the number of tokens of a prompt's embedding.
func (t *Text) Length() int { return t.encoders[0].length() }

// Dim is the width of a token's embedding.
func (t *Text) Dim() int {
	n := 0
	for _, e := range t.encoders {
		n += e.config.HiddenSize
	}
	return n
}

// PooledDim is the width of the pooled embedding, 0 where there is none.
func (t *Text) PooledDim() int {
	if e := t.encoders[len(t.encoders)-1]; e.use.pooled {
		return *e.config.ProjectionDim
	}
	return 0
}

// Encode returns the embedding of each prompt. A prompt that is too long is cut, as diffusers cuts it.
func (t *Text) Encode(prompts []string) ([]Embedding, error) {
	out := make([]Embedding, len(prompts))
	for i := range out {
		out[i].Tokens = make([]float32, t.Length()*t.Dim())
	}
	column := 0
	for _, e := range t.encoders {
		for start := 0; start < len(prompts); start += e.batch {
			end := min(start+e.batch, len(prompts))
			if err := e.run(prompts[start:end]); err != nil {
				return nil, fmt.Errorf("encode prompts: %w", err)
			}
			for i := range out[start:end] {
				e.take(&out[start+i], i, column, t.Dim())
			}
		}
		column += e.config.HiddenSize
	}
	return out, nil
}

func (e *textEncoder) length() int { return e.config.MaxPositionEmbeddings }

// run encodes at most a batch; rows without a prompt keep what they had, and nobody takes their results.
func (e *textEncoder) run(prompts []string) error {
	for i, prompt := range prompts {
		ids, _ := e.tokenizer.Encode(prompt, e.length(), tokenizer.Fast)
		row := e.exe.Input(inputIDs)[i*e.length() : (i+1)*e.length()]
		for j, id := range ids {
			row[j] = float32(id)
		}
		if e.use.pooled {
			copy(e.exe.Input(inputPool)[i:], e.config.PoolPositions([][]int{ids}))
		}
	}
	return e.exe.Run(nil)
}

// take copies row i of the last run to dst, whose tokens are dim wide, from the given column on.
func (e *textEncoder) take(dst *Embedding, i, column, dim int) {
	n, width := e.length(), e.config.HiddenSize
	states := e.exe.Output(0)[i*n*width : (i+1)*n*width]
	for k := range n {
		copy(dst.Tokens[k*dim+column:], states[k*width:(k+1)*width])
	}
	if e.use.pooled {
		p := *e.config.ProjectionDim
		dst.Pooled = append([]float32(nil), e.exe.Output(1)[i*p:(i+1)*p]...)
	}
}

// openTokenizer reads the tokenizer of the text encoder c.
func openTokenizer(f *checkpoint.Folder, c clip.Config) (*tokenizer.Tokenizer, error) {
	t, err := tokenizer.Load(f.FS())
	if err != nil {
		return nil, err
	}
	switch {
	case t.MaxLength() != c.MaxPositionEmbeddings:
		return nil, fmt.Errorf("model_max_length is %d, the text encoder's max_position_embeddings %d: set model_max_length in tokenizer_config.json to the latter", t.MaxLength(), c.MaxPositionEmbeddings)
	case t.VocabSize() > c.VocabSize:
		return nil, fmt.Errorf("the vocabulary has %d tokens, the text encoder's vocab_size is %d: they belong to different models", t.VocabSize(), c.VocabSize)
	}
	return t, nil
}
