package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Bounds on what is read: CLIP has 49,408 tokens in files of a few megabytes.
const (
	maxFileBytes = 64 << 20
	maxTokens    = 1 << 20
	maxLengthMax = 1 << 16
)

// files is what a tokenizer folder says, in whichever of its files.
type files struct {
	vocab   map[string]int
	merges  [][2]string
	added   map[string]int    // Added tokens by text.
	names   map[string]string // bos_token, eos_token, unk_token, pad_token.
	maximum float64           // model_max_length
}

// LoadDir reads the tokenizer folder at path, see Load.
func LoadDir(path string) (*Tokenizer, error) {
	t, err := Load(os.DirFS(path))
	if err != nil {
		return nil, fmt.Errorf("tokenizer folder %s: %w", path, err)
	}
	return t, nil
}

// Load reads a tokenizer folder: vocab.json and merges.txt or, where they are missing,
// tokenizer.json; and tokenizer_config.json, special_tokens_map.json and added_tokens.json if
// they are there. An error names the file and what is wrong with it.
func Load(fsys fs.FS) (*Tokenizer, error) {
	f := files{added: map[string]int{}, names: map[string]string{
		"bos_token": literals[0], "eos_token": literals[1], "unk_token": literals[1], "pad_token": "",
	}}
	for _, step := range []struct {
		file string
		read func(*files, []byte) error
	}{
		{"tokenizer_config.json", (*files).readConfig},
		{"special_tokens_map.json", (*files).readSpecial},
		{"added_tokens.json", (*files).readAdded},
	} {
		data, err := readFile(fsys, step.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = step.read(&f, data)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", step.file, err)
		}
	}
	if err := f.readVocabulary(fsys); err != nil {
		return nil, err
	}
	return f.build()
}

func readFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // Only read from.
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(data) > maxFileBytes {
		err = fmt.Errorf("it is larger than %d bytes", maxFileBytes)
	}
	return data, err
}

// tokenText is a token in a configuration: a string, an object with its content, or null.
type tokenText string

// UnmarshalJSON implements json.Unmarshaler.
func (s *tokenText) UnmarshalJSON(data []byte) error {
	var object addedToken
	if err := json.Unmarshal(data, (*string)(s)); err == nil {
		return nil
	}
	if err := json.Unmarshal(data, &object); err != nil {
		return fmt.Errorf("a token must be a string or an object with content, got %.60s", data)
	}
	*s = tokenText(object.Content)
	return object.check()
}

// addedToken is an entry of added_tokens or added_tokens_decoder.
type addedToken struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	SingleWord bool   `json:"single_word"`
}

func (a addedToken) check() error {
	if a.LStrip || a.RStrip || a.SingleWord {
		return fmt.Errorf("added token %q: lstrip, rstrip and single_word are not supported; supported: false", a.Content)
	}
	return nil
}

func (f *files) readConfig(data []byte) error {
	var c struct {
		Class     string                `json:"tokenizer_class"`
		MaxLength *float64              `json:"model_max_length"`
		Added     map[string]addedToken `json:"added_tokens_decoder"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return err
	}
	if c.Class != "" && c.Class != "CLIPTokenizer" && c.Class != "CLIPTokenizerFast" {
		return fmt.Errorf("tokenizer_class %q is not supported; supported: CLIPTokenizer", c.Class)
	}
	if c.MaxLength != nil {
		if *c.MaxLength < 2 {
			return fmt.Errorf("model_max_length must be at least 2, got %v", *c.MaxLength)
		}
		f.maximum = *c.MaxLength
	}
	for id, token := range c.Added {
		n, err := strconv.Atoi(id)
		if err != nil {
			return fmt.Errorf("added_tokens_decoder: id %q must be a whole number", id)
		}
		if err := token.check(); err != nil {
			return err
		}
		f.added[token.Content] = n
	}
	return f.readSpecial(data)
}

// readSpecial takes the named tokens that data has.
func (f *files) readSpecial(data []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	for name := range f.names {
		if _, ok := raw[name]; !ok {
			continue
		}
		var text tokenText
		if err := json.Unmarshal(raw[name], &text); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if text != "" {
			f.names[name] = string(text)
		}
	}
	return nil
}

func (f *files) readAdded(data []byte) error { return json.Unmarshal(data, &f.added) }

// readVocabulary fills vocab and merges.
func (f *files) readVocabulary(fsys fs.FS) error {
	vocab, errVocab := readFile(fsys, "vocab.json")
	merges, errMerges := readFile(fsys, "merges.txt")
	if errVocab == nil && errMerges == nil {
		if err := json.Unmarshal(vocab, &f.vocab); err != nil {
			return fmt.Errorf("read vocab.json: %w", err)
		}
		if err := f.readMerges(string(merges)); err != nil {
			return fmt.Errorf("read merges.txt: %w", err)
		}
		return nil
	}
	whole, err := readFile(fsys, "tokenizer.json")
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("a tokenizer needs vocab.json and merges.txt, or tokenizer.json: %w", errors.Join(errVocab, errMerges))
	}
	if err == nil {
		err = f.readWhole(whole)
	}
	if err != nil {
		return fmt.Errorf("read tokenizer.json: %w", err)
	}
	return nil
}

func (f *files) readMerges(text string) error {
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if n == 1 && strings.HasPrefix(line, "#version") || line == "" {
			continue
		}
		left, right, ok := strings.Cut(line, " ")
		if !ok || left == "" || right == "" || strings.Contains(right, " ") {
			return fmt.Errorf("line %d is %.60q, it must be two tokens with a space between", n, line)
		}
		f.merges = append(f.merges, [2]string{left, right})
	}
	return nil
}

// readWhole reads a tokenizer.json, the file of the tokenizers library.
func (f *files) readWhole(data []byte) error {
	var w struct {
		Added []addedToken `json:"added_tokens"`
		Model struct {
			Type   string            `json:"type"`
			Vocab  map[string]int    `json:"vocab"`
			Merges []json.RawMessage `json:"merges"`
			Suffix *string           `json:"end_of_word_suffix"`
		} `json:"model"`
	}
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	if w.Model.Type != "BPE" || w.Model.Suffix == nil || *w.Model.Suffix != endOfWord {
		return fmt.Errorf("model type %q is not supported; supported: BPE with end_of_word_suffix %q", w.Model.Type, endOfWord)
	}
	f.vocab = w.Model.Vocab
	for _, token := range w.Added {
		if err := token.check(); err != nil {
			return err
		}
		f.added[token.Content] = token.ID
	}
	for i, raw := range w.Model.Merges {
		var pair []string
		var line string
		if json.Unmarshal(raw, &line) == nil {
			pair = strings.Split(line, " ")
		} else if err := json.Unmarshal(raw, &pair); err != nil {
			return fmt.Errorf("merge %d: %w", i, err)
		}
		if len(pair) != 2 || pair[0] == "" || pair[1] == "" {
			return fmt.Errorf("merge %d is %.60s, it must be two tokens", i, raw)
		}
		f.merges = append(f.merges, [2]string{pair[0], pair[1]})
	}
	return nil
}
