package demo

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// names are the folder's files, as diffusers and transformers look for them.
var names = []string{
	"model_index.json", "scheduler/scheduler_config.json",
	"text_encoder/config.json", "text_encoder/model.safetensors",
	"tokenizer/merges.txt", "tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json", "tokenizer/vocab.json",
	"unet/config.json", "unet/diffusion_pytorch_model.safetensors",
	"vae/config.json", "vae/diffusion_pytorch_model.safetensors",
}

// maxBytes is what the model may add to a clone and to the binary.
const maxBytes = 12 << 20

func TestBaseIsComplete(t *testing.T) {
	if err := fstest.TestFS(Base(), names...); err != nil {
		t.Error(err)
	}
	var got []string
	size := int64(0)
	err := fs.WalkDir(Base(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		got, size = append(got, name), size+info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, names); diff != "" {
		t.Errorf("files (-got +want):\n%s", diff)
	}
	if size > maxBytes {
		t.Errorf("%d bytes, want at most %d", size, maxBytes)
	}
}

func TestConfigsParse(t *testing.T) {
	for _, name := range names {
		if !strings.HasSuffix(name, ".json") {
			continue
		}
		data, err := fs.ReadFile(Base(), name)
		if err != nil {
			t.Error(err)
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal(data, &fields); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if path, ok := fields["_name_or_path"].(string); ok && path != "" {
			t.Errorf("%s: _name_or_path is %q, want none: it tells of the machine that trained it", name, path)
		}
	}
}

func TestExtract(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "model")
	for range 2 { // The second finds it there.
		if err := Extract(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		want, err := fs.ReadFile(Base(), name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if string(got) != string(want) {
			t.Errorf("%s differs", name)
		}
	}
	left, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(left) != 1 {
		t.Errorf("%d entries beside the model (%v), want itself alone", len(left), err)
	}
}

func TestExtractRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine.txt"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Extract(dir); err == nil || !strings.Contains(err.Error(), "new or empty") {
		t.Errorf("error %v, want one that says what to name", err)
	}
	file := filepath.Join(dir, "mine.txt", "model")
	if err := Extract(file); err == nil {
		t.Error("Extract under a file gave no error")
	}
	if got, err := os.ReadFile(filepath.Join(dir, "mine.txt")); err != nil || string(got) != "x" {
		t.Errorf("the folder's own file is %q, %v", got, err)
	}
}
