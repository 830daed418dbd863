package folder

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/dataset"
)

// picture returns a small PNG; n makes it distinct.
func picture(t testing.TB, n uint8) []byte {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, 2, 2))
	m.Pix[0] = n
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// makeFolder writes metadata and the pictures a.png, b.png and sub/c.png.
func makeFolder(t testing.TB, metadata string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		MetadataName: []byte(metadata), "a.png": picture(t, 1), "b.png": picture(t, 2), "sub/c.png": picture(t, 3),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func readAll(t testing.TB, path string) []dataset.Record {
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

func TestForms(t *testing.T) {
	a, b, c := picture(t, 1), picture(t, 2), picture(t, 3)
	pair := func(winner, loser []byte, loserFirst, tie bool) dataset.Pair {
		return dataset.Pair{File: MetadataName, Row: 1, Prompt: "p", Winner: winner, Loser: loser, LoserFirst: loserFirst, Tie: tie}
	}
	for line, want := range map[string]dataset.Pair{
		`{"prompt":"p","winner":"a.png","loser":"b.png","other":[1]}`:                      pair(a, b, false, false),
		`{"caption":"p","winner":"sub/c.png","loser":"b.png"}`:                             pair(c, b, false, false),
		`{"text":"p","winner_file_name":"sub\\c.png","loser_file_name":"./a.png"}`:         pair(c, a, false, false),
		`{"prompt":"p","image_0":"a.png","image_1":"b.png","label_0":1}`:                   pair(a, b, false, false),
		`{"prompt":"p","image_0":"a.png","image_1":"b.png","label_0":0.0,"label_1":1}`:     pair(b, a, true, false),
		`{"prompt":"p","jpg_0":"a.png","jpg_1":"b.png","label_0":0.5}`:                     pair(a, b, false, true),
		`{"caption":"p","image_0_file_name":"a.png","image_1":"sub/../b.png","label_0":1}`: pair(a, b, false, false),
		`{"prompt":null,"caption":"p","winner":"a.png","loser":"b.png"}`:                   pair(a, b, false, false),
		"\xef\xbb\xbf" + `{"prompt":"p","winner":"a.png","loser":"b.png"}` + "\r\n\r\n":    pair(a, b, false, false),
	} {
		got := readAll(t, makeFolder(t, line))
		if len(got) != 1 {
			t.Errorf("%s: %d records, want one", line, len(got))
			continue
		}
		if diff := cmp.Diff(got[0], dataset.Record{Pair: &want}); diff != "" {
			t.Errorf("%s (-got +want):\n%s", line, diff)
		}
	}
}

// TestBadLines: each bad line is set aside with its number, and the good ones around it stay.
func TestBadLines(t *testing.T) {
	good := `{"prompt":"p","winner":"a.png","loser":"b.png"}`
	for line, want := range map[string]string{
		`{"prompt":"p","winner":"a.png","loser":`: "the line is not JSON: unexpected end",
		`[1, 2]`: "the line is no JSON object: [1, 2]",
		`null`:   "the line is no JSON object",
		`{"prompt":"p","image_0":"a.png","image_1":"b.png","label_0":NaN}`:           "NaN and Infinity are not allowed",
		`{"prompt":"p","image_0":"a.png","image_1":"b.png","label_0":null}`:          "label_0 is missing",
		`{"prompt":"p","image_0":"a.png","image_1":"b.png","label_0":"1"}`:           `label_0 must be a number, got "1"`,
		`{"prompt":"p","image_0":"a.png","image_1":"b.png","label_0":2}`:             "label_0 is 2; it must be 0, 0.5 or 1",
		`{"prompt":"p","image_0":"a.png","image_1":"b.png","label_0":1,"label_1":1}`: "must add up to 1",
		`{"prompt":"p","image_0":"a.png","label_0":1}`:                               "image_1 is missing",
		`{"winner":"a.png","loser":"b.png"}`:                                         "the caption is missing",
		`{"prompt":3,"winner":"a.png","loser":"b.png"}`:                              "prompt must be a string, got 3",
		`{"prompt":"p","winner":"a.png"}`:                                            "loser is missing",
		`{"prompt":"p","winner":["a.png"],"loser":"b.png"}`:                          `winner must be a string, got ["a.png"]`,
		`{"prompt":"p","file_name":"a.png"}`:                                         "file_name names one picture; a pair needs winner and loser",
		`{"prompt":"p"}`:                                                             "neither winner and loser nor",
		`{"prompt":"p","winner":"x.png","loser":"b.png"}`:                            `the picture "x.png" is not there`,
		`{"prompt":"p","winner":"../a.png","loser":"b.png"}`:                         `the picture name "../a.png" must be a path within the folder`,
		`{"prompt":"p","winner":"sub/../../a.png","loser":"b.png"}`:                  "must be a path within the folder",
		`{"prompt":"p","winner":"..\\a.png","loser":"b.png"}`:                        "must be a path within the folder",
		`{"prompt":"p","winner":"/etc/passwd","loser":"b.png"}`:                      "must be a path within the folder",
		`{"prompt":"p","winner":"","loser":"b.png"}`:                                 "must be a path within the folder",
		`{"prompt":"p","winner":"sub","loser":"b.png"}`:                              `the picture "sub" is no regular file`,
		"{\"prompt\":\"\xff\"}":                                                      "the line is not UTF-8",
		`{"prompt":"` + strings.Repeat("x", maxLineBytes) + `"}`:                     "the line is longer than 1048576 bytes",
	} {
		got := readAll(t, makeFolder(t, good+"\n\n"+line+"\n"+good))
		name := short([]byte(line))
		if len(got) != 3 || got[0].Pair == nil || got[2].Pair == nil || got[2].Pair.Row != 4 {
			t.Errorf("%s: records %+v, want a pair, a reject and a pair of line 4", name, got)
			continue
		}
		r := got[1].Reject
		if r == nil || r.File != MetadataName || r.Row != 3 || !strings.Contains(r.Reason, want) {
			t.Errorf("%s: reject %+v, want line 3 with %q", name, r, want)
		}
	}
}

func TestLinksOutsideAreRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege on Windows")
	}
	outside := filepath.Join(t.TempDir(), "secret.png")
	if err := os.WriteFile(outside, picture(t, 9), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := makeFolder(t, `{"prompt":"p","winner":"link.png","loser":"b.png"}`+"\n"+`{"prompt":"p","winner":"inside.png","loser":"b.png"}`)
	for name, target := range map[string]string{"link.png": outside, "inside.png": "a.png"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	got := readAll(t, dir)
	if got[0].Reject == nil || !strings.Contains(got[0].Reject.Reason, "leaves the folder") {
		t.Errorf("a link that leaves the folder: %+v, want a reject", got[0])
	}
	if got[1].Pair == nil {
		t.Errorf("a link within the folder: %+v, want a pair", got[1].Reject)
	}
}

func TestOpen(t *testing.T) {
	line := `{"prompt":"p","winner":"a.png","loser":"b.png"}`
	dir := makeFolder(t, line)
	if n := len(readAll(t, filepath.Join(dir, MetadataName))); n != 1 {
		t.Errorf("the file itself: %d records, want 1", n)
	}
	parent := t.TempDir()
	if err := os.Rename(dir, filepath.Join(parent, "train")); err != nil {
		t.Fatal(err)
	}
	if n := len(readAll(t, parent)); n != 1 {
		t.Errorf("the train folder: %d records, want 1", n)
	}
	for name, tt := range map[string]struct{ path, want string }{
		"no metadata": {t.TempDir(), "has no metadata.jsonl: write one"},
		"absent":      {filepath.Join(parent, "absent"), "has no metadata.jsonl"},
		"array":       {makeFolder(t, " [\n"+line+"]"), "is a JSON array; one JSON object a line is needed"},
	} {
		if _, err := Open(tt.path); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, tt.want)
		}
	}
	if n := len(readAll(t, makeFolder(t, ""))); n != 0 {
		t.Errorf("empty metadata: %d records, want none", n)
	}
}

func TestEachStops(t *testing.T) {
	line := `{"prompt":"p","winner":"a.png","loser":"b.png"}` + "\n"
	s, err := Open(makeFolder(t, line+line))
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

// FuzzEachLine: lines come back whole and numbered, whatever the bytes.
func FuzzEachLine(f *testing.F) {
	f.Add([]byte("a\nb\r\n\n\xef\xbb\xbfc"))
	f.Add(bytes.Repeat([]byte("x"), 70_000))
	f.Fuzz(func(t *testing.T, data []byte) {
		var lines [][]byte
		err := eachLine(bytes.NewReader(data), func(row int, line []byte, lineErr error) error {
			if row != len(lines)+1 {
				t.Fatalf("line %d comes after %d lines", row, len(lines))
			}
			if (lineErr != nil) != (line == nil && lineErr != nil) {
				t.Fatalf("line %d has both content and error %v", row, lineErr)
			}
			lines = append(lines, bytes.Clone(line))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Split(data, []byte("\n"))
		if len(want[len(want)-1]) == 0 {
			want = want[:len(want)-1]
		}
		if len(lines) != len(want) {
			t.Fatalf("%d lines, want %d", len(lines), len(want))
		}
		for i := range want {
			w := want[i]
			if i == 0 {
				w = trimBOM(w)
			}
			if w = bytes.TrimRight(w, "\r\n"); len(w) < maxLineBytes-1 && !bytes.Equal(lines[i], w) {
				t.Fatalf("line %d is %q, want %q", i+1, lines[i], w)
			}
		}
	})
}

// FuzzParseLine: an entry names two pictures within the folder, or there is an error.
func FuzzParseLine(f *testing.F) {
	f.Add([]byte(`{"prompt":"p","winner":"a.png","loser":"b.png"}`))
	f.Add([]byte(`{"caption":"p","image_0":"a.png","image_1":"..\\b.png","label_0":0.5,"label_1":0.5}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := parseLine(line)
		if err != nil {
			if strings.ContainsRune(err.Error(), '\n') && !bytes.ContainsRune(line, '\n') {
				t.Fatalf("the reason has several lines: %q", err)
			}
			return
		}
		if !json.Valid(line) {
			t.Fatalf("accepted a line that is not JSON: %q", line)
		}
		for _, name := range []string{e.first, e.second} {
			if local, err := localName(name); err == nil && !filepath.IsLocal(local) {
				t.Fatalf("%q becomes %q, which leaves the folder", name, local)
			}
		}
	})
}
