package clip

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"

	"yohaku/model/config"
)

// Class is the transformers class whose folders this package reads.
const Class = "CLIPTextModel"

// ClassWithProjection is the class of SDXL's second text encoder.
const ClassWithProjection = "CLIPTextModelWithProjection"

// Config is config.json of a CLIPTextModel: every field of CLIPTextConfig (transformers 5), under its name.
type Config struct {
	Architectures         []string `json:"architectures"`
	ModelType             string   `json:"model_type"`
	VocabSize             int      `json:"vocab_size"`
	HiddenSize            int      `json:"hidden_size"`
	IntermediateSize      int      `json:"intermediate_size"`
	ProjectionDim         *int     `json:"projection_dim"` // Only with a projection.
	NumHiddenLayers       int      `json:"num_hidden_layers"`
	NumAttentionHeads     int      `json:"num_attention_heads"`
	MaxPositionEmbeddings int      `json:"max_position_embeddings"`
	HiddenAct             string   `json:"hidden_act"`
	LayerNormEps          float64  `json:"layer_norm_eps"`
	EOSTokenID            TokenID  `json:"eos_token_id"` // Where to pool; 2 is the legacy rule.
}

// inert are the keys that change nothing in a forward pass without dropout: initialization, training, generation and
// bookkeeping of transformers, old and new.
var inert = []string{
	"attention_dropout", "dropout", "initializer_factor", "initializer_range", "pad_token_id", "bos_token_id",
	"dtype", "torch_dtype", "transformers_version", "transformers.js_config", "chunk_size_feed_forward", "use_cache", "is_decoder",
	"is_encoder_decoder", "add_cross_attention", "cross_attention_hidden_size", "tie_encoder_decoder", "tie_word_embeddings",
	"return_dict", "use_return_dict", "output_hidden_states", "output_attentions", "output_scores", "torchscript", "use_bfloat16", "pruned_heads",
	"id2label", "label2id", "num_labels", "problem_type", "finetuning_task", "task_specific_params", "tokenizer_class",
	"prefix", "sep_token_id", "decoder_start_token_id", "max_length", "min_length", "do_sample", "early_stopping", "num_beams",
	"num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty",
	"no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "return_dict_in_generate",
	"forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values", "exponential_decay_length_penalty",
	"suppress_tokens", "begin_suppress_tokens", "tf_legacy_loss",
}

// TokenID is a token's number. The pooling rule of transformers needs a single one: lists and null are refused.
type TokenID int

// UnmarshalJSON takes a whole number.
func (t *TokenID) UnmarshalJSON(data []byte) error {
	var id int
	if string(bytes.TrimSpace(data)) == "null" || json.Unmarshal(data, &id) != nil {
		return errors.New("want one whole number: pooling needs a single end token")
	}
	*t = TokenID(id)
	return nil
}

// Defaults returns the defaults of CLIPTextConfig, which stand for absent keys.
func Defaults() Config {
	projection := 512
	return Config{
		Architectures: []string{Class}, ModelType: "clip_text_model",
		VocabSize: 49408, HiddenSize: 512, IntermediateSize: 2048, ProjectionDim: &projection, NumHiddenLayers: 12, NumAttentionHeads: 8,
		MaxPositionEmbeddings: 77, HiddenAct: "quick_gelu", LayerNormEps: 1e-5, EOSTokenID: 49407,
	}
}

// ParseConfig reads the bytes of a config.json. It returns a *config.KeyError for the first key that is not known or
// whose value BuildText does not implement.
func ParseConfig(data []byte) (Config, error) {
	c := Defaults()
	if err := config.Decode(Class, data, &c, inert...); err != nil {
		return Config{}, err
	}
	if err := c.check(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// ReadConfig reads config.json in the folder dir of fsys.
func ReadConfig(fsys fs.FS, dir string) (Config, error) {
	return config.Read(fsys, dir, ParseConfig)
}

// HasProjection reports whether the model projects its pooled output (CLIPTextModelWithProjection).
func (c Config) HasProjection() bool {
	return len(c.Architectures) == 1 && c.Architectures[0] == ClassWithProjection
}

const (
	maxWidth  = 1 << 16
	maxVocab  = 1 << 22
	maxLayers = 256
)

// check refuses, by name, every value that BuildText does not implement.
func (c Config) check() error {
	k := &config.Checker{Class: Class}
	k.That(len(c.Architectures) == 1, "architectures", c.Architectures, "want one entry, %q or %q", Class, ClassWithProjection)
	if k.Err() == nil {
		k.OneOf("architectures", c.Architectures[0], Class, ClassWithProjection)
	}
	k.OneOf("model_type", c.ModelType, "clip_text_model")
	k.Range("vocab_size", c.VocabSize, 1, maxVocab)
	k.Range("hidden_size", c.HiddenSize, 1, maxWidth)
	k.Range("intermediate_size", c.IntermediateSize, 1, maxWidth)
	k.Range("num_hidden_layers", c.NumHiddenLayers, 1, maxLayers)
	k.Range("max_position_embeddings", c.MaxPositionEmbeddings, 1, maxWidth)
	k.That(c.NumAttentionHeads >= 1 && c.HiddenSize%max(c.NumAttentionHeads, 1) == 0, "num_attention_heads", c.NumAttentionHeads,
		"must divide hidden_size %d", c.HiddenSize)
	k.That(c.LayerNormEps > 0, "layer_norm_eps", c.LayerNormEps, "must be above 0")
	k.OneOf("hidden_act", c.HiddenAct, "quick_gelu", "gelu")
	if c.HasProjection() {
		k.That(c.ProjectionDim != nil && *c.ProjectionDim >= 1 && *c.ProjectionDim <= maxWidth, "projection_dim", c.ProjectionDim, "must be between 1 and %d", maxWidth)
	}
	return k.Err()
}
