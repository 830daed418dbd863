// Package scorer says how well a picture fits a prompt, with a CLIPModel's folder: CLIP's own, or one that was trained on
// people's choices, such as PickScore's.
//
// Source: transformers 5, models/clip/modeling_clip.py; Kirstain et al., Pick-a-Pic, arXiv:2305.01569, section 4.
package scorer

import (
	"fmt"
	"math"

	"yohaku/internal/picture"
	"yohaku/model/backend"
	"yohaku/model/checkpoint"
	"yohaku/model/clip"
	"yohaku/model/clip/tokenizer"
	"yohaku/model/compile"
	"yohaku/model/op"
	"yohaku/model/weights"
)

// Scorer is an open model. It belongs to one goroutine.
type Scorer struct {
	config    clip.ModelConfig
	processor clip.Processor
	tokenizer *tokenizer.Tokenizer
	vision    *compile.Executable
	text      *compile.Executable
	scale     float64              // exp(logit_scale)
	prompts   map[string][]float32 // Embeddings of those seen.
}

// Said is what the model says of a picture.
type Said struct {
	Logit   float64   // exp(logit_scale)·Cosine: the score.
	Cosine  float64   // Of prompt and picture, in [−1, 1].
	Picture []float32 // The picture's embedding, of length 1, [projection_dim].
}

// Names of the programs' inputs.
const (
	inputPixels = "input.pixels"
	inputIDs    = "input.ids"
	inputPool   = "input.pool"
)

// maxPrompts bounds the embeddings that are kept.
const maxPrompts = 4096

// Open reads the folder of a CLIPModel: config.json, preprocessor_config.json, the tokenizer's files and the weights.
func Open(f *checkpoint.Folder, be backend.Backend) (*Scorer, error) {
	s := &Scorer{prompts: map[string][]float32{}}
	if err := s.open(f, be); err != nil {
		return nil, fmt.Errorf("open the scorer in %s: %w", f.Path(), err)
	}
	return s, nil
}

func (s *Scorer) open(f *checkpoint.Folder, be backend.Backend) error {
	if err := s.openModel(f, be); err != nil {
		return err
	}
	var err error
	if s.tokenizer, err = tokenizer.Load(f.FS()); err != nil {
		return err
	}
	if s.tokenizer.VocabSize() > s.config.Text.VocabSize {
		return fmt.Errorf("the vocabulary has %d tokens, the text model's vocab_size is %d: they belong to different models", s.tokenizer.VocabSize(), s.config.Text.VocabSize)
	}
	return nil
}

// openModel reads everything but the tokenizer.
func (s *Scorer) openModel(f *checkpoint.Folder, be backend.Backend) error {
	var err error
	if s.config, err = clip.ReadModelConfig(f.FS(), "."); err != nil {
		return err
	}
	if s.processor, err = clip.ReadProcessor(f.FS(), "."); err != nil {
		return err
	}
	if err := s.compile(be); err != nil {
		return err
	}
	if err := weights.Load(s.vision, f, checkpoint.LoadOptions{Rename: clip.RenameVision, Partial: true}); err != nil {
		return err
	}
	if err := weights.Load(s.text, f, checkpoint.LoadOptions{Rename: clip.RenameText, Partial: true}); err != nil {
		return err
	}
	return s.readScale(f)
}

func (s *Scorer) compile(be backend.Backend) error {
	b := op.NewBuilder()
	side := s.config.Vision.ImageSize
	embeds, err := clip.BuildVision(b, s.config, b.Input(inputPixels, 1, s.processor.Side(), s.processor.Side(), 3))
	if err != nil {
		return fmt.Errorf("vision model of side %d: %w", side, err)
	}
	if s.vision, err = compile.Compile(b, be, []op.Node{embeds}, nil, compile.Options{}); err != nil {
		return err
	}
	b = op.NewBuilder()
	out, err := clip.BuildText(b, s.config.Text, clip.Inputs{IDs: b.Input(inputIDs, 1, s.config.Text.MaxPositionEmbeddings), Pool: b.Input(inputPool, 1)})
	if err != nil {
		return err
	}
	s.text, err = compile.Compile(b, be, []op.Node{out.Embeds}, nil, compile.Options{})
	return err
}

func (s *Scorer) readScale(f *checkpoint.Folder) error {
	w, err := f.Weights("")
	if err != nil {
		return err
	}
	defer w.Close() // Only read.
	if info, ok := w.Info(clip.LogitScale); !ok || len(info.Shape) > 1 || len(info.Shape) == 1 && info.Shape[0] != 1 {
		return fmt.Errorf("it has no scalar %s: it is no whole %s", clip.LogitScale, clip.ClassModel)
	}
	scale := make([]float32, 1)
	if err := w.Float32(clip.LogitScale, scale); err != nil {
		return err
	}
	s.scale = math.Exp(float64(scale[0]))
	return nil
}

// Score says how well m fits the prompt. A prompt that is too long is cut.
func (s *Scorer) Score(prompt string, m *picture.Image) (Said, error) {
	text, err := s.prompt(prompt)
	if err != nil {
		return Said{}, err
	}
	s.processor.Pixels(s.vision.Input(inputPixels), m)
	if err := s.vision.Run(nil); err != nil {
		return Said{}, err
	}
	said := Said{Picture: normalized(s.vision.Output(0))}
	said.Cosine = dot(text, said.Picture)
	said.Logit = s.scale * said.Cosine
	return said, nil
}

func (s *Scorer) prompt(prompt string) ([]float32, error) {
	if e, ok := s.prompts[prompt]; ok {
		return e, nil
	}
	ids, _ := s.tokenizer.Encode(prompt, s.config.Text.MaxPositionEmbeddings, tokenizer.Fast)
	return s.embed(prompt, ids)
}

// embed is the embedding of the prompt with the ids.
func (s *Scorer) embed(prompt string, ids []int) ([]float32, error) {
	for i, id := range ids {
		s.text.Input(inputIDs)[i] = float32(id)
	}
	copy(s.text.Input(inputPool), s.config.Text.PoolPositions([][]int{ids}))
	if err := s.text.Run(nil); err != nil {
		return nil, err
	}
	e := normalized(s.text.Output(0))
	if len(s.prompts) < maxPrompts {
		s.prompts[prompt] = e
	}
	return e, nil
}

// normalized is x divided by its length.
func normalized(x []float32) []float32 {
	length := math.Sqrt(dot(x, x))
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(float64(v) / length)
	}
	return out
}

func dot(a, b []float32) float64 {
	sum := 0.0
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}
