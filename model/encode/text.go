package encode

import (
	"fmt"

	"yohaku/model/backend"
	"yohaku/model/checkpoint"
	"yohaku/model/clip"
	"yohaku/model/clip/tokenizer"
	"yohaku/model/compile"
	"yohaku/model/op"
	"yohaku/model/weights"
)

// Text encodes prompts as StableDiffusionPipeline does: tokens of the fast tokenizer, padded to the model's length, no
// padding mask, the last hidden state behind its norm. It belongs to one goroutine.
type Text struct {
	config    clip.Config
	tokenizer *tokenizer.Tokenizer
	exe       *compile.Executable
	batch     int
}

const inputIDs = "input.ids"

// OpenText reads the CLIPTextModel in text and the CLIPTokenizer in tokens and compiles the encoder for batches of
// prompts. It returns an error when the two do not fit each other.
func OpenText(text, tokens *checkpoint.Folder, be backend.Backend, batch int) (*Text, error) {
	c, err := clip.ReadConfig(text.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("open the text encoder in %s: %w", text.Path(), err)
	}
	if batch < 1 {
		return nil, fmt.Errorf("encode prompts in batches of %d: must be at least 1", batch)
	}
	tok, err := openTokenizer(tokens, c)
	if err != nil {
		return nil, fmt.Errorf("open the tokenizer in %s: %w", tokens.Path(), err)
	}
	b := op.NewBuilder()
	out, err := clip.BuildText(b, c, clip.Inputs{IDs: b.Input(inputIDs, batch, c.MaxPositionEmbeddings)})
	if err != nil {
		return nil, fmt.Errorf("open the text encoder in %s: %w", text.Path(), err)
	}
	exe, err := compile.Compile(b, be, []op.Node{out.Last}, nil, compile.Options{})
	if err != nil {
		return nil, fmt.Errorf("compile the text encoder: %w", err)
	}
	if err := weights.Load(exe, text, checkpoint.LoadOptions{Rename: clip.Rename, Partial: c.HasProjection()}); err != nil {
		return nil, fmt.Errorf("open the text encoder in %s: %w", text.Path(), err)
	}
	return &Text{config: c, tokenizer: tok, exe: exe, batch: batch}, nil
}

// Length is the number of tokens of a prompt's embedding.
func (t *Text) Length() int { return t.config.MaxPositionEmbeddings }

// Dim is the width of a token's embedding.
func (t *Text) Dim() int { return t.config.HiddenSize }

// Encode returns the embedding of each prompt, [Length,Dim]. A prompt that is too long is cut, as diffusers cuts it.
func (t *Text) Encode(prompts []string) ([][]float32, error) {
	embeds := make([][]float32, 0, len(prompts))
	n := t.Length() * t.Dim()
	for start := 0; start < len(prompts); start += t.batch {
		part := prompts[start:min(start+t.batch, len(prompts))]
		for i, prompt := range part {
			t.fill(i, prompt)
		}
		if err := t.exe.Run(nil); err != nil {
			return nil, fmt.Errorf("encode prompts: %w", err)
		}
		for i := range part {
			embeds = append(embeds, append([]float32(nil), t.exe.Output(0)[i*n:(i+1)*n]...))
		}
	}
	return embeds, nil
}

// fill writes row i of a batch; rows without a prompt keep what they had, and their results are dropped.
func (t *Text) fill(i int, prompt string) {
	row := t.exe.Input(inputIDs)[i*t.Length() : (i+1)*t.Length()]
	ids, _ := t.tokenizer.Encode(prompt, len(row), tokenizer.Fast)
	for j, id := range ids {
		row[j] = float32(id)
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
