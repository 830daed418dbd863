package clip

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/model/config"
)

func TestParseConfigRefusesByName(t *testing.T) {
	for _, tt := range []struct{ json, key, want string }{
		{`{"new_key": 1}`, "new_key", "not known"},
		{`{"hidden_act": "relu"}`, "hidden_act", `supported: "quick_gelu", "gelu"`},
		{`{"num_attention_heads": 7}`, "num_attention_heads", "must divide hidden_size 512"},
		{`{"num_attention_heads": 0}`, "num_attention_heads", "must divide"},
		{`{"eos_token_id": [1, 2]}`, "eos_token_id", "single end token"},
		{`{"eos_token_id": null}`, "eos_token_id", "single end token"},
		{`{"architectures": ["BertModel"]}`, "architectures", "CLIPTextModel"},
		{`{"model_type": "clip"}`, "model_type", "clip_text_model"},
		{`{"architectures": ["CLIPTextModelWithProjection"], "projection_dim": null}`, "projection_dim", "between 1"},
		{`{"vocab_size": 0}`, "vocab_size", "between"},
	} {
		_, err := ParseConfig([]byte(tt.json))
		var key *config.KeyError
		if !errors.As(err, &key) || key.Key != tt.key || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want key %q and %q", tt.json, err, tt.key, tt.want)
		}
	}
}

func TestParseConfigAcceptsOldFiles(t *testing.T) {
	c, err := ParseConfig([]byte(`{"_name_or_path":"openai/clip-vit-large-patch14","architectures":["CLIPTextModel"],"attention_dropout":0.0,
		"bos_token_id":0,"dropout":0.0,"eos_token_id":2,"hidden_act":"quick_gelu","hidden_size":768,"initializer_factor":1.0,"initializer_range":0.02,
		"intermediate_size":3072,"layer_norm_eps":1e-05,"max_position_embeddings":77,"model_type":"clip_text_model","num_attention_heads":12,
		"num_hidden_layers":12,"pad_token_id":1,"projection_dim":768,"torch_dtype":"float32","transformers_version":"4.22.0.dev0","vocab_size":49408}`))
	if err != nil {
		t.Fatal(err)
	}
	if c.HiddenSize != 768 || c.EOSTokenID != 2 || c.HasProjection() {
		t.Errorf("got %+v", c)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"eos_token_id":2,"architectures":["CLIPTextModel"]}`))
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = ParseConfig(data) })
}

func TestPoolPositions(t *testing.T) {
	ids := [][]int{{0, 5, 9, 9, 9}, {0, 9, 2, 2, 2}, {0, 1, 3, 1, 1}}
	if diff := cmp.Diff(Config{EOSTokenID: 9}.PoolPositions(ids), []float32{2, 1, 0}); diff != "" {
		t.Errorf("end token 9 (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(Config{EOSTokenID: 2}.PoolPositions(ids), []float32{2, 1, 2}); diff != "" {
		t.Errorf("legacy rule (-got +want):\n%s", diff)
	}
}

func TestRename(t *testing.T) {
	for old, want := range map[string]string{
		"text_model.encoder.layers.0.mlp.fc1.bias": "encoder.layers.0.mlp.fc1.bias",
		"encoder.layers.0.mlp.fc1.bias":            "encoder.layers.0.mlp.fc1.bias",
		"text_projection.weight":                   "text_projection.weight",
		"text_model.embeddings.position_ids":       "",
		"embeddings.position_ids":                  "",
	} {
		if got := Rename(old); got != want {
			t.Errorf("Rename(%q) = %q, want %q", old, got, want)
		}
	}
}
