package tokenizer

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// normalize brings text into the form that is split into words.
func normalize(text string, mode Mode) string {
	switch mode {
	case Slow:
		return lower(strings.TrimFunc(fixText(text), unicode.IsSpace))
	case SlowBasic:
		return basic(text)
	}
	return strings.ToLower(dotted(norm.NFC.String(text)))
}

// dotted writes İ as its lower case of two characters, where strings.ToLower has one.
func dotted(text string) string { return strings.ReplaceAll(text, "İ", "i\u0307") }

// lower is Python's str.lower: İ gets two characters, and a Σ that ends a word becomes ς.
func lower(text string) string {
	if !strings.Contains(text, "Σ") {
		return strings.ToLower(dotted(text))
	}
	runes := []rune(text)
	for i, r := range runes {
		if r == 'Σ' && endsWord(runes, i) {
			runes[i] = 'ς'
		}
	}
	return strings.ToLower(dotted(string(runes)))
}

// endsWord is Unicode's Final_Sigma: a cased letter before, none after, with characters that case
// ignores skipped.
func endsWord(runes []rune, i int) bool {
	before := i - 1
	for before >= 0 && caseIgnorable(runes[before]) {
		before--
	}
	after := i + 1
	for after < len(runes) && caseIgnorable(runes[after]) {
		after++
	}
	return before >= 0 && cased(runes[before]) && (after == len(runes) || !cased(runes[after]))
}

func cased(r rune) bool {
	return unicode.In(r, unicode.Lu, unicode.Ll, unicode.Lt, unicode.Other_Lowercase, unicode.Other_Uppercase)
}

// caseIgnorable follows Unicode 3.13: marks, format characters, modifiers, and the signs that do
// not break words.
func caseIgnorable(r rune) bool {
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) ||
		strings.ContainsRune("'.:\u00b7\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a", r)
}

// basic is BERT's basic tokenizer without accents stripped or punctuation split off: control
// characters go, ideographs stand alone, words are lower case with single spaces between.
//
// Source: transformers tokenization_bert.py, BasicTokenizer.
func basic(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == 0 || r == unicode.ReplacementChar:
		case r == '\t' || r == '\n' || r == '\r' || unicode.Is(unicode.Zs, r):
			b.WriteByte(' ')
		case !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z): // Control or unassigned.
		case ideograph(r):
			b.WriteString(" " + string(r) + " ")
		default:
			b.WriteRune(r)
		}
	}
	words := strings.Fields(norm.NFC.String(b.String()))
	for i, w := range words {
		words[i] = lower(w)
	}
	return strings.Join(words, " ")
}

func ideograph(r rune) bool {
	for _, block := range [][2]rune{
		{0x4E00, 0x9FFF}, {0x3400, 0x4DBF}, {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F},
		{0x2B820, 0x2CEAF}, {0xF900, 0xFAFF}, {0x2F800, 0x2FA1F},
	} {
		if r >= block[0] && r <= block[1] {
			return true
		}
	}
	return false
}
