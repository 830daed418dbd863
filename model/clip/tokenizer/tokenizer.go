package tokenizer

import (
	"strings"

	"yohaku/internal/assert"
)

// Mode names the program whose ids are wanted.
type Mode int

// The modes, see the package comment.
const (
	Fast Mode = iota
	Slow
	SlowBasic
)

// DefaultMaxLength is the length of CLIP's text encoders, used when a folder names none.
const DefaultMaxLength = 77

// Tokenizer is read by Load and immutable.
type Tokenizer struct {
	bos, eos, unk, pad int
	maxLength          int
	vocab              map[string]int
	merges             map[[2]int]merge
	inner, last        [256]int // Each byte's id within a word and at its end, −1 for none.
	special            []special
}

// special is a token that is found in raw text as it stands.
type special struct {
	text string
	id   int
}

// BOS returns the id that every sequence begins with.
func (t *Tokenizer) BOS() int { return t.bos }

// EOS returns the id that every sequence ends with.
func (t *Tokenizer) EOS() int { return t.eos }

// Pad returns the id that fills up short sequences.
func (t *Tokenizer) Pad() int { return t.pad }

// MaxLength returns model_max_length, DefaultMaxLength when the folder names none.
func (t *Tokenizer) MaxLength() int { return t.maxLength }

// VocabSize returns one more than the highest id.
func (t *Tokenizer) VocabSize() int {
	size := 0
	for _, id := range t.vocab {
		size = max(size, id+1)
	}
	for _, s := range t.special {
		size = max(size, s.id+1)
	}
	return size
}

// IDs returns the ids of text between BOS and EOS, however many there are. Bytes that are not
// UTF-8 count as U+FFFD.
func (t *Tokenizer) IDs(text string, mode Mode) []int {
	text = strings.ToValidUTF8(text, "\uFFFD")
	ids := []int{t.bos}
	for text != "" {
		at, s := t.nextSpecial(text)
		ids = t.appendPlain(ids, text[:at], mode)
		text = text[at:]
		if s != nil {
			ids = append(ids, s.id)
			text = text[len(s.text):]
		}
	}
	return append(ids, t.eos)
}

// Encode returns exactly length ids and their mask, for length ≥ 2; 0 is MaxLength. Long texts
// are cut so that EOS stays last; short ones are filled with Pad, where the mask is 0.
func (t *Tokenizer) Encode(text string, length int, mode Mode) (ids, mask []int) {
	if length == 0 {
		length = t.maxLength
	}
	assert.That(length >= 2, "a sequence of length %d cannot hold BOS and EOS", length)
	ids = t.IDs(text, mode)
	if len(ids) > length {
		ids = append(ids[:length-1], t.eos)
	}
	mask = make([]int, length)
	for i := range ids {
		mask[i] = 1
	}
	for len(ids) < length {
		ids = append(ids, t.pad)
	}
	return ids, mask
}

// nextSpecial returns the first, and there the longest, special token of text; at is len(text)
// when there is none.
func (t *Tokenizer) nextSpecial(text string) (at int, found *special) {
	at = len(text)
	for i := range t.special {
		s := &t.special[i]
		switch j := strings.Index(text, s.text); {
		case j < 0 || j > at:
		case j < at || found == nil || len(s.text) > len(found.text):
			at, found = j, s
		}
	}
	return at, found
}

// appendPlain adds the ids of text that holds no special token.
func (t *Tokenizer) appendPlain(ids []int, text string, mode Mode) []int {
	text = normalize(text, mode)
	for text != "" {
		var word string
		word, text = nextWord(text, mode)
		if word == "" {
			continue
		}
		if mode != Fast {
			if id, ok := t.literal(word); ok {
				ids = append(ids, id)
				continue
			}
			ids = t.appendWord(ids, word)
			continue
		}
		// The fast program splits a start or end token that only lowercasing brought about.
		for _, part := range splitLiteral(word) {
			ids = t.appendWord(ids, part)
		}
	}
	return ids
}

// literal returns the id of a word that is a start or end token, which lowercasing may bring about.
func (t *Tokenizer) literal(word string) (int, bool) {
	for _, s := range literals {
		if word == s {
			id, ok := t.vocab[s]
			return id, ok
		}
	}
	return 0, false
}
