package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// literals are the tokens that the splitting pattern itself knows.
var literals = []string{"<|startoftext|>", "<|endoftext|>"}

var contractions = []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}

// nextWord splits the first word off text; it is "" for white space. Words are the matches of
//
//	<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+
//
// in lower-case text. The slow pattern ignores case, so its s is also ſ.
func nextWord(text string, mode Mode) (word, rest string) {
	for _, s := range literals {
		if strings.HasPrefix(text, s) {
			return s, text[len(s):]
		}
	}
	for _, s := range contractions {
		if strings.HasPrefix(text, s) {
			return s, text[len(s):]
		}
	}
	if long := "'ſ"; mode != Fast && strings.HasPrefix(text, long) {
		return long, text[len(long):]
	}
	r, size := utf8.DecodeRuneInString(text)
	switch {
	case unicode.IsSpace(r):
		return "", text[size:]
	case unicode.IsNumber(r):
		return text[:size], text[size:]
	case unicode.IsLetter(r):
		return cut(text, unicode.IsLetter)
	}
	return cut(text, isOther)
}

func isOther(r rune) bool { return !unicode.IsSpace(r) && !unicode.IsLetter(r) && !unicode.IsNumber(r) }

// cut splits text after its longest beginning of such runes.
func cut(text string, is func(rune) bool) (head, tail string) {
	n := strings.IndexFunc(text, func(r rune) bool { return !is(r) })
	if n < 0 {
		n = len(text)
	}
	return text[:n], text[n:]
}

// splitLiteral splits a literal into its signs and letters, and leaves other words whole.
func splitLiteral(word string) []string {
	for _, s := range literals {
		if word == s {
			return []string{"<|", strings.Trim(s, "<|>"), "|>"}
		}
	}
	return []string{word}
}
