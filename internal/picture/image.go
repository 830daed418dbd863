// Package picture reads pictures as PIL does and resizes them as Pillow does, byte for byte where it says so, so that
// preprocessing gives what models were trained on.
package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"

	"yohaku/internal/assert"

	"golang.org/x/image/webp"
)

// Bounds of what Decode accepts. They bound the memory that one picture of a hostile or broken
// data set can take.
const (
	MaxPixels      = 100_000_000
	MaxAspectRatio = 64
)

// Image is a decoded picture: 8-bit RGB, row by row, three bytes per pixel.
type Image struct {
	Width, Height int
	Pix           []uint8 // len = 3 · Width · Height.
}

// NewImage returns a black picture.
func NewImage(width, height int) *Image {
	return &Image{Width: width, Height: height, Pix: make([]uint8, 3*width*height)}
}

// RGBA is the picture as the standard library has it, opaque.
func (m *Image) RGBA() *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, m.Width, m.Height))
	for i := range m.Width * m.Height {
		copy(out.Pix[4*i:], m.Pix[3*i:3*i+3])
		out.Pix[4*i+3] = 255
	}
	return out
}

// Difference returns the greatest and the mean distance of the bytes of two pictures of one size. It panics when the
// sizes differ.
func Difference(a, b *Image) (greatest int, mean float64) {
	assert.That(a.Width == b.Width && a.Height == b.Height, "pictures of %d×%d and %d×%d compared", a.Width, a.Height, b.Width, b.Height)
	sum := 0
	for i, v := range b.Pix {
		d := max(int(a.Pix[i])-int(v), int(v)-int(a.Pix[i]))
		greatest = max(greatest, d)
		sum += d
	}
	return greatest, float64(sum) / float64(len(b.Pix))
}

// Format is the file format of an encoded picture.
type Format string

// The formats that Decode reads.
const (
	PNG  Format = "PNG"
	JPEG Format = "JPEG"
	WebP Format = "WebP"
)

// foreignFormats are recognised so that the error can name them.
var foreignFormats = []struct {
	name, magic string
	offset      int
}{
	{"GIF", "GIF8", 0}, {"BMP", "BM", 0}, {"TIFF", "II*\x00", 0}, {"TIFF", "MM\x00*", 0},
	{"AVIF", "ftypavif", 4}, {"HEIC", "ftyphei", 4}, {"JPEG XL", "\xff\x0a", 0}, {"JPEG XL", "JXL ", 4},
	{"SVG", "<svg", 0}, {"PDF", "%PDF", 0},
}

// SniffFormat returns the format that the first bytes of a file name.
func SniffFormat(data []byte) (Format, error) {
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return PNG, nil
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		return JPEG, nil
	case len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		return WebP, nil
	case len(data) == 0:
		return "", errors.New("the picture is empty (0 bytes)")
	}
	for _, f := range foreignFormats {
		if len(data) >= f.offset && bytes.HasPrefix(data[f.offset:], []byte(f.magic)) {
			return "", fmt.Errorf("the picture is a %s file; PNG, JPEG and WebP are read: convert it", f.name)
		}
	}
	return "", fmt.Errorf("the picture starts with % x, which is no PNG, JPEG or WebP file", data[:min(8, len(data))])
}

// Decode decodes a PNG, JPEG or WebP picture to RGB as PIL's Image.open(…).convert("RGB") does:
// alpha is dropped (not blended), palettes are looked up, 16-bit channels keep their high byte,
// CMYK is multiplied out; an EXIF orientation is not applied. Animations are refused, and so are
// pictures above MaxPixels or MaxAspectRatio, before their pixels are decoded.
//
// PNG and WebP give PIL's bytes. JPEG follows libjpeg's chroma upsampling and colour conversion;
// the inverse DCT rounds a little differently (0.04 on the mean, at most 3 seen). 16-bit grayscale
// is a deliberate difference: PIL clips it at 255, which leaves white; here it keeps its high byte.
func Decode(data []byte) (*Image, error) {
	format, err := SniffFormat(data)
	if err != nil {
		return nil, err
	}
	if err := checkBeforeDecoding(data, format); err != nil {
		return nil, err
	}
	m, err := decodePixels(data, format)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", format, err)
	}
	return toRGB(m, format)
}

// decodePixels calls the format's decoder. A panic there becomes an error: one broken picture must
// not end a run.
func decodePixels(data []byte, format Format) (m image.Image, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the decoder gave up: %v", p)
		}
	}()
	switch format {
	case JPEG:
		return jpeg.Decode(bytes.NewReader(data))
	case WebP:
		return webp.Decode(bytes.NewReader(data))
	}
	return png.Decode(bytes.NewReader(data))
}

// checkBeforeDecoding reads the header and applies the bounds.
func checkBeforeDecoding(data []byte, format Format) error {
	if animated(data, format) {
		return fmt.Errorf("the %s is animated; one still picture is needed: keep its best frame", format)
	}
	width, height, err := decodeSize(data, format)
	if err != nil {
		return fmt.Errorf("decode %s header: %w", format, err)
	}
	return CheckSize(width, height)
}

// decodeSize returns the size that the header states.
func decodeSize(data []byte, format Format) (width, height int, err error) {
	var c image.Config
	switch format {
	case PNG:
		c, err = png.DecodeConfig(bytes.NewReader(data))
	case JPEG:
		c, err = jpeg.DecodeConfig(bytes.NewReader(data))
	case WebP:
		c, err = webp.DecodeConfig(bytes.NewReader(data))
	}
	return c.Width, c.Height, err
}

// CheckSize returns an error when a picture of that size is not to be decoded.
func CheckSize(width, height int) error {
	if width < 1 || height < 1 {
		return fmt.Errorf("the picture has %d × %d pixels", width, height)
	}
	if int64(width)*int64(height) > MaxPixels {
		return fmt.Errorf("the picture has %d × %d pixels; at most %d million are read: make it smaller",
			width, height, MaxPixels/1_000_000)
	}
	if long, short := max(width, height), min(width, height); long > MaxAspectRatio*short {
		return fmt.Errorf("the picture has %d × %d pixels; its long side may be at most %d times the short one: crop it",
			width, height, MaxAspectRatio)
	}
	return nil
}

// animated says whether the file holds an animation: an acTL chunk before the pixels of a PNG, or
// the animation bit of an extended WebP.
func animated(data []byte, format Format) bool {
	switch format {
	case PNG:
		return pngHasChunk(data, "acTL")
	case WebP:
		const animationBit = 1 << 1
		return len(data) > 20 && string(data[12:16]) == "VP8X" && data[20]&animationBit != 0
	}
	return false
}

// pngHasChunk looks for a chunk before the first IDAT.
func pngHasChunk(data []byte, name string) bool {
	for rest := data[8:]; len(rest) >= 12; {
		size := uint64(binary.BigEndian.Uint32(rest))
		kind := string(rest[4:8])
		if kind == name {
			return true
		}
		if kind == "IDAT" || size+12 > uint64(len(rest)) {
			return false
		}
		rest = rest[12+size:]
	}
	return false
}
