package tokenizer

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// only returns a folder with just these files of dir.
func only(t *testing.T, dir string, names ...string) fs.FS {
	t.Helper()
	m := fstest.MapFS{}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		m[name] = &fstest.MapFile{Data: data}
	}
	return m
}

// small is a tokenizer folder of single bytes and a few merges.
func small(merges ...string) fstest.MapFS {
	vocab := map[string]int{}
	for _, end := range []string{"", endOfWord} {
		for _, r := range byteRunes() {
			vocab[string(r)+end] = len(vocab)
		}
	}
	for _, m := range merges {
		joined := strings.ReplaceAll(m, " ", "")
		if _, ok := vocab[joined]; !ok {
			vocab[joined] = len(vocab)
		}
	}
	for _, s := range literals {
		vocab[s] = len(vocab)
	}
	data, err := json.Marshal(vocab)
	if err != nil {
		panic(err)
	}
	return fstest.MapFS{
		"vocab.json": {Data: data},
		"merges.txt": {Data: []byte("#version: 0.2\n" + strings.Join(merges, "\n") + "\n")},
	}
}

// words turns ids back into vocabulary entries.
func words(t *Tokenizer, ids []int) []string {
	back := map[int]string{}
	for token, id := range t.vocab {
		back[id] = token
	}
	var out []string
	for _, id := range ids[1 : len(ids)-1] {
		out = append(out, back[id])
	}
	return out
}

func TestWords(t *testing.T) {
	tok, err := Load(small("a b", "ab c</w>", "b c</w>", "a bc</w>", "l l</w>"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		mode Mode
		want []string
	}{
		{"abc", Fast, []string{"abc</w>"}}, // "a b" outranks "b c</w>".
		{"bc ab", Fast, []string{"bc</w>", "a", "b</w>"}},
		{"ABC\n\tBC", Fast, []string{"abc</w>", "bc</w>"}},
		{"a'll", Fast, []string{"a</w>", "'", "ll</w>"}},
		{"x'ſ", Fast, []string{"x</w>", "'</w>", "Å", "¿</w>"}},
		{"x'ſy", Slow, []string{"x</w>", "'", "Å", "¿</w>", "y</w>"}},
		{"12", Fast, []string{"1</w>", "2</w>"}},
		{"<|EndOfText|>", Fast, []string{"<", "|</w>", "e", "n", "d", "o", "f", "t", "e", "x", "t</w>", "|", "></w>"}},
		{"<|EndOfText|>", Slow, []string{"<|endoftext|>"}},
		{"a<|endoftext|>b", Fast, []string{"a</w>", "<|endoftext|>", "b</w>"}},
		{"&AMP;&amp;amp; &EACUTE; &nosuch; &notit; &#65;", Slow, []string{
			"&", "&</w>", "Ã", "©</w>", "&</w>", "n", "o", "s", "u", "c", "h</w>", ";</w>", "&</w>", "n", "o", "t", "i", "t</w>", ";</w>", "a</w>"}},
		{"&amp;<", Slow, []string{"&</w>", "a", "m", "p</w>", ";", "<</w>"}},
		{"\x1b[31mred\x1b[0m", Slow, []string{"r", "e", "d</w>"}},
		{"a\u0085b\u0092s", Slow, []string{"a</w>", "â", "Ģ", "¦</w>", "b</w>", "'", "s</w>"}},
		{"\xff", Fast, []string{"ï", "¿", "½</w>"}},
		{"\xff", SlowBasic, nil},
	} {
		if diff := cmp.Diff(words(tok, tok.IDs(c.text, c.mode)), c.want); diff != "" {
			t.Errorf("%q, mode %d: got, want: %s", c.text, c.mode, diff)
		}
	}
}

func TestLowerIsPythons(t *testing.T) {
	for in, want := range map[string]string{
		"ΣΊΣΥΦΟΣ": "σίσυφος", "ΟΔΟΣ ΟΔΟΣ.": "οδος οδος.", "Σ": "σ", "ΑΣ'": "ας'", "ΑΣ'Α": "ασ'α", "ΑΣ\u0301": "ας\u0301", "İI": "i̇i", "ẞ": "ß",
	} {
		if got := lower(in); got != want {
			t.Errorf("lower(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestEncodeCutsAndPads(t *testing.T) {
	folder := small()
	folder["special_tokens_map.json"] = &fstest.MapFile{Data: []byte(`{"pad_token":{"content":"!","lstrip":false}}`)}
	folder["tokenizer_config.json"] = &fstest.MapFile{Data: []byte(`{"model_max_length":5,"tokenizer_class":"CLIPTokenizer"}`)}
	tok, err := Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	if tok.Pad() != tok.vocab["!"] {
		t.Errorf("pad is %d, want %d", tok.Pad(), tok.vocab["!"])
	}
	a := tok.vocab["a</w>"]
	for text, want := range map[string][]int{
		"a":         {tok.bos, a, tok.eos, tok.pad, tok.pad},
		"a a a a a": {tok.bos, a, a, a, tok.eos},
		"a! a":      {tok.bos, a, tok.pad, a, tok.eos}, // The pad token is found in raw text, as in the libraries.
	} {
		if ids, _ := tok.Encode(text, 0, Fast); cmp.Diff(ids, want) != "" {
			t.Errorf("%q: got %v, want %v", text, ids, want)
		}
	}
	if ids, mask := tok.Encode("a", 3, Fast); len(ids) != 3 || mask[2] != 1 {
		t.Errorf("length 3: %v, %v", ids, mask)
	}
}

// TestLongWord: the time for one long word does not explode.
func TestLongWord(t *testing.T) {
	tok, err := Load(small("a a", "aa aa", "aaaa aaaa", "a a</w>"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(tok.IDs(strings.Repeat("a", 1<<17), Fast)); n < 1<<14 || n > 1<<14+8 {
		t.Errorf("%d ids", n)
	}
}

func TestRefuses(t *testing.T) {
	set := func(name, data string) func(fstest.MapFS) {
		return func(m fstest.MapFS) { m[name] = &fstest.MapFile{Data: []byte(data)} }
	}
	remove := func(name string) func(fstest.MapFS) { return func(m fstest.MapFS) { delete(m, name) } }
	for want, change := range map[string]func(fstest.MapFS){
		"needs vocab.json and merges.txt, or tokenizer.json": remove("vocab.json"),
		"read vocab.json":                   set("vocab.json", "{"),
		`token "a" has id -1`:               set("vocab.json", `{"a":-1}`),
		`token "a" has id 99999999`:         set("vocab.json", `{"a":99999999}`),
		`tokens "a" and "b" both have id 1`: set("vocab.json", `{"a":1,"b":1}`),
		"vocabulary has 0 tokens":           set("vocab.json", `{}`),
		`bos_token "<|startoftext|>" is not in the vocabulary`: func(m fstest.MapFS) {
			set("vocab.json", `{"<|endoftext|>":1}`)(m)
			set("merges.txt", "")(m)
		},
		`read merges.txt: line 2 is "nospace"`:             set("merges.txt", "#version: 0.2\nnospace\n"),
		`read merges.txt: line 1 is "a b c"`:               set("merges.txt", "a b c\n"),
		`merge 1 joins "zz" and "a"`:                       set("merges.txt", "zz a\n"),
		`tokenizer_class "T5Tokenizer" is not supported`:   set("tokenizer_config.json", `{"tokenizer_class":"T5Tokenizer"}`),
		"model_max_length must be at least 2, got 1":       set("tokenizer_config.json", `{"model_max_length":1}`),
		"read tokenizer_config.json":                       set("tokenizer_config.json", `[]`),
		`pad_token "<pad>" is not in the vocabulary`:       set("special_tokens_map.json", `{"pad_token":"<pad>"}`),
		"pad_token: a token must be a string":              set("special_tokens_map.json", `{"pad_token":7}`),
		"lstrip, rstrip and single_word are not supported": set("special_tokens_map.json", `{"pad_token":{"content":"a","lstrip":true}}`),
		`added token "<cat>" has id -5`:                    set("added_tokens.json", `{"<cat>":-5}`),
		`model type "Unigram" is not supported`: func(m fstest.MapFS) {
			remove("vocab.json")(m)
			set("tokenizer.json", `{"model":{"type":"Unigram"}}`)(m)
		},
		"merge 0 is \"a\", it must be two tokens": func(m fstest.MapFS) {
			remove("vocab.json")(m)
			set("tokenizer.json", `{"model":{"type":"BPE","end_of_word_suffix":"</w>","vocab":{"a":1},"merges":["a"]}}`)(m)
		},
	} {
		folder := small("a b")
		change(folder)
		if _, err := Load(folder); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestAddedTokens(t *testing.T) {
	folder := small()
	size := 514
	folder["added_tokens.json"] = &fstest.MapFile{Data: fmt.Appendf(nil, `{"<cat-toy>":%d,"<cat-toy>2":%d}`, size, size+1)}
	tok, err := Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	got := tok.IDs("a<cat-toy>2<cat-toy>", Fast)
	if diff := cmp.Diff(got, []int{tok.bos, tok.vocab["a</w>"], size + 1, size, tok.eos}); diff != "" {
		t.Error("got, want:", diff)
	}
	if tok.VocabSize() != size+2 {
		t.Errorf("vocabulary size %d, want %d", tok.VocabSize(), size+2)
	}
}

func FuzzLoad(f *testing.F) {
	s := small("a b")
	f.Add(s["vocab.json"].Data, s["merges.txt"].Data, []byte(`{"pad_token":"!"}`), []byte(`{}`), "a b!")
	f.Add([]byte(`{"<|startoftext|>":0,"<|endoftext|>":1}`), []byte("a b"), []byte(`{"model_max_length":1e30}`), []byte(`{"added_tokens":[]}`), "\xffİΣ&amp;")
	f.Fuzz(func(t *testing.T, vocab, merges, config, whole []byte, text string) {
		for _, folder := range []fstest.MapFS{
			{"vocab.json": {Data: vocab}, "merges.txt": {Data: merges}, "tokenizer_config.json": {Data: config}},
			{"tokenizer.json": {Data: whole}, "special_tokens_map.json": {Data: config}},
		} {
			tok, err := Load(folder)
			if err != nil {
				continue
			}
			for _, mode := range []Mode{Fast, Slow, SlowBasic} {
				ids, mask := tok.Encode(text, 0, mode)
				if len(ids) != tok.MaxLength() || len(mask) != len(ids) || ids[0] != tok.BOS() {
					t.Fatalf("mode %d: %d ids, length %d", mode, len(ids), tok.MaxLength())
				}
				for _, id := range ids {
					if id < 0 || id >= tok.VocabSize() {
						t.Fatalf("id %d of a vocabulary of %d", id, tok.VocabSize())
					}
				}
			}
		}
	})
}
