package tokenizer

import (
	"fmt"
	"maps"
	"slices"
)

// build checks the parts against each other and makes the Tokenizer.
func (f *files) build() (*Tokenizer, error) {
	t := &Tokenizer{vocab: f.vocab, merges: make(map[[2]int]merge, len(f.merges)), maxLength: DefaultMaxLength}
	if f.maximum >= 2 && f.maximum <= maxLengthMax { // transformers writes 1e30 for "none".
		t.maxLength = int(f.maximum)
	}
	if len(f.vocab) == 0 || len(f.vocab)+len(f.added) > maxTokens {
		return nil, fmt.Errorf("the vocabulary has %d tokens, it must have 1 to %d", len(f.vocab)+len(f.added), maxTokens)
	}
	if err := f.checkIDs(); err != nil {
		return nil, err
	}
	for rank, pair := range f.merges {
		left, okLeft := f.vocab[pair[0]]
		right, okRight := f.vocab[pair[1]]
		joined, okJoined := f.vocab[pair[0]+pair[1]]
		if !okLeft || !okRight || !okJoined {
			return nil, fmt.Errorf("merge %d joins %q and %q, but one of them or the result is not in the vocabulary", rank+1, pair[0], pair[1])
		}
		key := [2]int{left, right}
		if _, ok := t.merges[key]; !ok {
			t.merges[key] = merge{rank, joined}
		}
	}
	for b, r := range byteRunes() {
		t.inner[b], t.last[b] = f.id(string(r)), f.id(string(r)+endOfWord)
	}
	return t, f.nameTokens(t)
}

// id returns a vocabulary entry's id, −1 when there is none.
func (f *files) id(token string) int {
	if id, ok := f.vocab[token]; ok {
		return id
	}
	return -1
}

// checkIDs refuses ids that are out of range or used twice.
func (f *files) checkIDs() error {
	seen := make(map[int]string, len(f.vocab))
	for token, id := range f.vocab {
		if id < 0 || id >= maxTokens {
			return fmt.Errorf("token %q has id %d, it must be between 0 and %d", token, id, maxTokens-1)
		}
		if other, ok := seen[id]; ok {
			return fmt.Errorf("tokens %q and %q both have id %d", min(token, other), max(token, other), id)
		}
		seen[id] = token
	}
	for token, id := range f.added {
		if id < 0 || id >= maxTokens {
			return fmt.Errorf("added token %q has id %d, it must be between 0 and %d", token, id, maxTokens-1)
		}
	}
	return nil
}

// nameTokens finds the named tokens' ids, and what is to be found in raw text.
func (f *files) nameTokens(t *Tokenizer) error {
	if f.names["pad_token"] == "" {
		f.names["pad_token"] = f.names["eos_token"]
	}
	whole := maps.Clone(f.added)
	for name, target := range map[string]*int{"bos_token": &t.bos, "eos_token": &t.eos, "unk_token": &t.unk, "pad_token": &t.pad} {
		text := f.names[name]
		id, ok := f.added[text]
		if !ok {
			id, ok = f.vocab[text]
		}
		if !ok {
			return fmt.Errorf("%s %q is not in the vocabulary", name, text)
		}
		*target, whole[text] = id, id
	}
	for _, text := range slices.Sorted(maps.Keys(whole)) {
		if text != "" {
			t.special = append(t.special, special{text, whole[text]})
		}
	}
	return nil
}

// endOfWord marks the last token of a word.
const endOfWord = "</w>"

// byteRunes returns GPT-2's printable stand-in for each byte: itself where it shows, otherwise
// the next free character from U+0100.
func byteRunes() (runes [256]rune) {
	next := rune(256)
	for b := range 256 {
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			runes[b] = rune(b)
			continue
		}
		runes[b] = next
		next++
	}
	return runes
}
