package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"yohaku/dataset/folder"
	"yohaku/dataset/pickapic"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	parquet, err := os.ReadFile(filepath.Join("..", "pickapic", "testdata", "plain.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"pairs.parquet": parquet, "lines/metadata.jsonl": nil, "parquets/a.parquet": parquet,
		"both/a.parquet": parquet, "both/metadata.jsonl": nil, "none/x.txt": nil, "pairs.csv": nil, "pairs.jsonl": nil,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"pairs.parquet": "pickapic", "parquets": "pickapic", "lines": "folder", "both": "folder", "pairs.jsonl": "folder",
		"none": "has neither metadata.jsonl nor *.parquet files", "pairs.csv": "neither .parquet nor .jsonl",
		"absent": "give a parquet file, or a folder",
	} {
		got, err := Open(filepath.Join(dir, name))
		kind := ""
		switch got.(type) {
		case *pickapic.Source:
			kind = "pickapic"
		case *folder.Source:
			kind = "folder"
		}
		if kind != want && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("Open(%s) = %T, %v, want %s", name, got, err, want)
		}
		if err != nil && got != nil {
			t.Errorf("Open(%s) returns %T beside an error", name, got)
		}
	}
}
