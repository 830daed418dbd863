package palette

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
)

// Colour is one colour of a palette.
type Colour struct {
	Name  string  // For people.
	Lab   Lab     // Where it lies.
	Share float64 // The part of a picture it should fill at least, in (0, 1].
}

// Palette is a brand's colours.
type Palette struct {
	Name    string
	Colours []Colour
}

// Brand is the demo's palette: a teal product on a warm orange background.
var Brand = Palette{Name: "brand", Colours: []Colour{
	{Name: "teal", Lab: FromSRGB(0x0f, 0x8b, 0x8d), Share: 0.2},
	{Name: "orange", Lab: FromSRGB(0xf2, 0xa6, 0x5a), Share: 0.6},
}}

// maxBytes and maxColours bound what Read accepts.
const (
	maxBytes   = 1 << 16
	maxColours = 64
)

// FieldError reports a palette file that breaks a rule. The reader of the message corrects the file.
type FieldError struct {
	Field, Value, Rule string
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("palette: %s is %s; it must be %s", e.Field, e.Value, e.Rule)
}

// Read reads a palette from JSON; unknown fields are refused:
//
//	{"name": "acme", "colours": [{"name": "teal", "hex": "#0f8b8d", "share": 0.2}, …]}
//
// It returns a *FieldError when there are no colours or more than 64, a hex colour is not #rrggbb, a share is
// not in (0, 1], or the shares add up to more than 1.
func Read(r io.Reader) (Palette, error) {
	var file struct {
		Name    string `json:"name"`
		Colours []struct {
			Name  string  `json:"name"`
			Hex   string  `json:"hex"`
			Share float64 `json:"share"`
		} `json:"colours"`
	}
	limited := &io.LimitedReader{R: r, N: maxBytes + 1}
	d := json.NewDecoder(limited)
	d.DisallowUnknownFields()
	err := d.Decode(&file)
	if limited.N <= 0 {
		return Palette{}, &FieldError{"the file", "over 65536 bytes", "at most 65536 bytes: name a palette, not a picture"}
	}
	if err != nil {
		return Palette{}, fmt.Errorf("read palette: %w", err)
	}
	p := Palette{Name: file.Name}
	for i, c := range file.Colours {
		lab, err := parseHex(c.Hex)
		if err != nil {
			return Palette{}, &FieldError{fmt.Sprintf("colours[%d].hex", i), strconv.Quote(c.Hex), `"#rrggbb", as in "#0f8b8d"`}
		}
		p.Colours = append(p.Colours, Colour{Name: c.Name, Lab: lab, Share: c.Share})
	}
	return p, p.check()
}

// check holds the palette to the rules that Read documents.
func (p Palette) check() error {
	if len(p.Colours) == 0 || len(p.Colours) > maxColours {
		return &FieldError{"colours", fmt.Sprintf("a list of %d", len(p.Colours)), "a list of 1 to 64 colours"}
	}
	sum := 0.0
	for i, c := range p.Colours {
		if !(c.Share > 0 && c.Share <= 1) {
			return &FieldError{fmt.Sprintf("colours[%d].share", i), fmt.Sprint(c.Share), "above 0 and at most 1"}
		}
		sum += c.Share
	}
	if sum > 1+1e-9 {
		return &FieldError{"the sum of the shares", fmt.Sprint(sum), "at most 1: a share is the part of the picture a colour fills at least"}
	}
	return nil
}

func parseHex(s string) (Lab, error) {
	if len(s) != 7 || s[0] != '#' {
		return Lab{}, strconv.ErrSyntax
	}
	v, err := strconv.ParseUint(s[1:], 16, 32)
	if err != nil {
		return Lab{}, err
	}
	return FromSRGB(uint8(v>>16), uint8(v>>8), uint8(v)), nil
}
