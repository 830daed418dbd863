package pickapic

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/dataset"
)

// expected is what testdata/make_parquet.py wrote into the files.
type expected struct {
	Labels   []float64   `json:"labels"`
	Captions []string    `json:"captions"`
	SHA256   [2][]string `json:"sha256"`
}

func readExpected(t *testing.T) expected {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var e expected
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

func readAll(t *testing.T, path string) []dataset.Record {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []dataset.Record
	if err := s.Each(t.Context(), func(r dataset.Record) error {
		all = append(all, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func hashOf(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

// TestReadsWhatPyarrowWrote: the layouts give the same pairs, in order, with the right winners.
func TestReadsWhatPyarrowWrote(t *testing.T) {
	want := readExpected(t)
	for file, ties := range map[string]bool{"plain.parquet": true, "types.parquet": true, "hf.parquet": false} {
		t.Run(file, func(t *testing.T) {
			records := readAll(t, filepath.Join("testdata", file))
			row := 0
			for i, label := range want.Labels {
				if label == 0.5 && !ties {
					continue
				}
				if row == len(records) {
					t.Fatalf("%d rows, want more", row)
				}
				winner, loser := 0, 1
				if label == 0 {
					winner, loser = 1, 0
				}
				p := records[row].Pair
				if p == nil {
					t.Fatalf("row %d is rejected: %+v", row, records[row].Reject)
				}
				got := []any{p.File, p.Row, p.Prompt, p.Tie, p.LoserFirst, hashOf(p.Winner), hashOf(p.Loser)}
				if diff := cmp.Diff(got, []any{file, row, want.Captions[i], label == 0.5, label == 0, want.SHA256[winner][i], want.SHA256[loser][i]}); diff != "" {
					t.Errorf("row %d (-got +want):\n%s", row, diff)
				}
				row++
			}
			if row != len(records) {
				t.Errorf("%d rows, want %d", len(records), row)
			}
		})
	}
}

func TestBadRowsAreSetAside(t *testing.T) {
	got := map[int]string{}
	records := readAll(t, filepath.Join("testdata", "bad.parquet"))
	for i, r := range records {
		if r.Reject == nil {
			continue
		}
		if r.Reject.Row != i || r.Reject.File != "bad.parquet" {
			t.Errorf("reject %+v, want row %d of bad.parquet", r.Reject, i)
		}
		got[i] = r.Reject.Reason
	}
	want := map[int]string{
		1: "label_0 is NaN",
		2: "label_0 is missing", 3: "label_0 is 0.7; it must be 0, 0.5 or 1", 4: "label_0 is 1 and label_1 is 1; they must add up to 1",
		5: "the caption is missing", 6: "jpg_1 holds no bytes", 9: "the row has no label (has_label is false)",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("rejects (-got +want):\n%s", diff)
	}
	if len(records) != 10 {
		t.Errorf("%d rows, want 10", len(records))
	}
}

func TestFolder(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "plain.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ files, want []string }{
		"names":  {[]string{"b.parquet", "a.parquet", "c.txt", ".d.parquet"}, []string{"a.parquet", "b.parquet"}},
		"data":   {[]string{"data/x.parquet", "README.md"}, []string{"data/x.parquet"}},
		"splits": {[]string{"test-00000-of-00001.parquet", "train-00001-of-00002-ab.parquet", "train-00000-of-00002-cd.parquet"}, []string{"train-00000-of-00002-cd.parquet", "train-00001-of-00002-ab.parquet"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range tt.files {
				write(t, filepath.Join(dir, f), data)
			}
			var got []string
			for _, r := range readAll(t, dir) {
				if !slices.Contains(got, r.Pair.File) {
					got = append(got, r.Pair.File)
				}
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("files (-got +want):\n%s", diff)
			}
		})
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	data, err := os.ReadFile(filepath.Join("testdata", "plain.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "cut.parquet"), data[:len(data)/2])
	write(t, filepath.Join(dir, "text.parquet"), []byte("hello, this is no parquet file"))
	write(t, filepath.Join(dir, "none", "x.txt"), nil)
	for name, tt := range map[string]struct{ path, want string }{
		"missing column": {"testdata/no_jpg_1.parquet", "testdata/no_jpg_1.parquet has no column jpg_1; it has jpg_0, label_0, label_1, caption: rename"},
		"no bytes":       {"testdata/no_bytes.parquet", "column jpg_0 has the type struct{path}, but binary or a struct with bytes is needed"},
		"text label":     {"testdata/text_label.parquet", "column label_0 has the type string, but a number is needed"},
		"list":           {"testdata/list_caption.parquet", "column caption has the type struct{list}, but a string is needed"},
		"truncated":      {filepath.Join(dir, "cut.parquet"), "it is not a whole parquet file"},
		"text":           {filepath.Join(dir, "text.parquet"), "it is not a whole parquet file"},
		"no files":       {filepath.Join(dir, "none"), "the folder has no *.parquet file"},
		"nothing there":  {filepath.Join(dir, "absent"), "open pairs: "},
	} {
		if _, err := Open(tt.path); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line with %q", name, err, tt.want)
		}
	}
}

func TestEmptyFile(t *testing.T) {
	if n := len(readAll(t, filepath.Join("testdata", "empty.parquet"))); n != 0 {
		t.Errorf("%d rows, want none", n)
	}
}

// TestDamageIsAnError: a file whose pages are damaged gives an error or rejects, never a panic.
func TestDamageIsAnError(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "plain.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.parquet")
	failed := 0
	for at := 0; at < len(data); at += 97 {
		damaged := slices.Clone(data)
		for i := at; i < min(at+8, len(data)); i++ {
			damaged[i] ^= 0x5a
		}
		write(t, path, damaged)
		s, err := Open(path)
		if err == nil {
			err = s.Each(t.Context(), func(dataset.Record) error { return nil })
		}
		if err != nil {
			failed++
		}
	}
	t.Logf("%d damaged files refused", failed)
	if failed == 0 {
		t.Error("no damaged file was refused")
	}
}

func TestEachStops(t *testing.T) {
	s, err := Open(filepath.Join("testdata", "plain.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	if err := s.Each(t.Context(), func(dataset.Record) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("Each = %v, want yield's own error", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Each(ctx, func(dataset.Record) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Each = %v, want %v", err, context.Canceled)
	}
}

func TestCollect(t *testing.T) {
	s, err := Open(filepath.Join("testdata", "plain.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	set, err := dataset.Collect(t.Context(), s, dataset.Options{RemoveTies: true})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := [3]int{len(set.Pairs), set.Ties, len(set.Rejects)}, [3]int{8, 2, 0}; got != want {
		t.Errorf("pairs, ties, rejects = %v, want %v", got, want)
	}
}
