package tokenizer

import (
	"html"
	"regexp"
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

// maxRepairs bounds the repetitions of a line's repairs. Each undoes one layer of escapes, and
// ftfy repeats until nothing changes.
const maxRepairs = 100

// fixText repairs text as ftfy.fix_text does, but for its guess at a wrong encoding. A line with
// "<" turns the decoding of entities off, there and afterwards: it may be meant as HTML.
//
// Source: rspeer/python-ftfy 6.3, fix_text and fix_and_explain.
func fixText(text string) string {
	var b strings.Builder
	entities := true
	for line := range strings.Lines(text) {
		entities = entities && !strings.Contains(line, "<")
		for range maxRepairs {
			fixed := repair(line, entities)
			if fixed == line {
				break
			}
			line = fixed
		}
		b.WriteString(line)
	}
	return b.String()
}

func repair(line string, entities bool) string {
	if entities {
		line = entity.ReplaceAllStringFunc(line, unescape)
	}
	line = replaceRunes.Replace(line)
	line = strings.Map(narrowQuote, line)
	line = lineBreaks.Replace(line)
	line = terminalEscape.ReplaceAllString(line, "")
	line = strings.Map(dropControl, line)
	return norm.NFC.String(line)
}

var (
	entity         = regexp.MustCompile(`&#?[0-9A-Za-z]{1,24};`)
	terminalEscape = regexp.MustCompile("\x1b\\[[\\d;]*[a-zA-Z]")
	lineBreaks     = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n", "\u0085", "\n")
	replaceRunes   = strings.NewReplacer(append(append(windowsControls(), ligatures...), widths()...)...)
)

// unescape decodes one HTML entity that ends in a semicolon, also when a Latin letter's name was
// upper-cased as a whole; others stay.
func unescape(match string) string {
	if strings.HasPrefix(match, "&#") {
		if plain := html.UnescapeString(match); !strings.Contains(plain, ";") {
			return plain
		}
		return match
	}
	if plain, ok := named(match); ok {
		return plain
	}
	name := strings.ToLower(match)
	if match != strings.ToUpper(match) || html.UnescapeString(match) != match {
		return match
	}
	if plain, ok := named(name); ok {
		return cases.Upper(language.Und).String(plain)
	}
	return match
}

// named decodes &name;, and not a shorter name that it begins with.
func named(match string) (string, bool) {
	plain := html.UnescapeString(match)
	prefix := html.UnescapeString(strings.TrimSuffix(match, ";")) + ";"
	return plain, plain != match && plain != prefix
}

// windowsControls maps the control characters U+0080 to U+009F to what Windows-1252 has there.
func windowsControls() []string {
	var pairs []string
	for b := 0x80; b < 0xa0; b++ {
		if r := charmap.Windows1252.DecodeByte(byte(b)); r != '\uFFFD' {
			pairs = append(pairs, string(rune(b)), string(r))
		}
	}
	return pairs
}

// ligatures are Latin letters that are better apart.
var ligatures = []string{
	"Ĳ", "IJ", "ĳ", "ij", "ŉ", "ʼn", "Ǳ", "DZ", "ǲ", "Dz", "ǳ", "dz", "Ǆ", "DŽ", "ǅ", "Dž", "ǆ", "dž", "Ǉ", "LJ", "ǈ", "Lj",
	"ǉ", "lj", "Ǌ", "NJ", "ǋ", "Nj", "ǌ", "nj", "ﬀ", "ff", "ﬁ", "fi", "ﬂ", "fl", "ﬃ", "ffi", "ﬄ", "ffl", "ﬅ", "ſt", "ﬆ", "st",
}

// widths maps half-width and full-width forms to the usual ones.
func widths() []string {
	pairs := []string{"\u3000", " "}
	for r := rune(0xFF01); r < 0xFFF0; r++ {
		if wide, usual := string(r), norm.NFKC.String(string(r)); usual != wide {
			pairs = append(pairs, wide, usual)
		}
	}
	return pairs
}

func narrowQuote(r rune) rune {
	switch {
	case r == 0x2bc || r >= 0x2018 && r <= 0x201b:
		return '\''
	case r >= 0x201c && r <= 0x201f:
		return '"'
	}
	return r
}

// dropControl drops control characters that show nothing.
func dropControl(r rune) rune {
	switch {
	case r < 0x09, r == 0x0b, r >= 0x0e && r < 0x20, r == 0x7f, r >= 0x206a && r < 0x2070, r == 0xfeff, r >= 0xfff9 && r < 0xfffd:
		return -1
	}
	return r
}
