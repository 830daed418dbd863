package picture

import (
	"fmt"
	"image"
	"image/color"
)

// toRGB copies a decoded picture to 8-bit RGB.
func toRGB(m image.Image, format Format) (*Image, error) {
	b := m.Bounds()
	dst := NewImage(b.Dx(), b.Dy())
	switch m := m.(type) {
	case *image.YCbCr:
		if format == WebP {
			fromVP8(dst, m)
		} else {
			fromJPEG(dst, m)
		}
	case *image.NYCbCrA: // Only WebP; the alpha is dropped.
		fromVP8(dst, &m.YCbCr)
	case *image.Gray:
		copyRows(dst, m.Pix, m.Stride, 1, gray)
	case *image.Gray16:
		copyRows(dst, m.Pix, m.Stride, 2, gray)
	case *image.RGBA:
		copyRows(dst, m.Pix, m.Stride, 4, rgb8)
	case *image.NRGBA:
		copyRows(dst, m.Pix, m.Stride, 4, rgb8)
	case *image.RGBA64:
		copyRows(dst, m.Pix, m.Stride, 8, rgb16)
	case *image.NRGBA64:
		copyRows(dst, m.Pix, m.Stride, 8, rgb16)
	case *image.CMYK:
		copyRows(dst, m.Pix, m.Stride, 4, cmyk)
	case *image.Paletted:
		copyRows(dst, m.Pix, m.Stride, 1, paletted(m.Palette))
	default:
		return nil, fmt.Errorf("decode %s: the colour layout %T is not read", format, m)
	}
	return dst, nil
}

// copyRows converts pixel by pixel; from sets the three bytes of dst from one source pixel of
// pixelBytes bytes.
func copyRows(dst *Image, pix []uint8, stride, pixelBytes int, from func(dst, src []uint8)) {
	for y := range dst.Height {
		row := pix[y*stride : y*stride+dst.Width*pixelBytes]
		out := dst.Pix[y*dst.Width*3 : (y+1)*dst.Width*3]
		for x := range dst.Width {
			from(out[3*x:3*x+3], row[x*pixelBytes:(x+1)*pixelBytes])
		}
	}
}

// gray takes the (high) byte of a gray pixel.
func gray(dst, src []uint8) { dst[0], dst[1], dst[2] = src[0], src[0], src[0] }

// rgb8 drops the alpha. Opaque RGBA and NRGBA are the same; with an alpha the decoders give NRGBA.
func rgb8(dst, src []uint8) { dst[0], dst[1], dst[2] = src[0], src[1], src[2] }

// rgb16 keeps the high bytes.
func rgb16(dst, src []uint8) { dst[0], dst[1], dst[2] = src[0], src[2], src[4] }

// cmyk multiplies the black out: channel = (255 − k) − round(ink·(255 − k)/255).
//
// Source: Pillow, Convert.c, cmyk2rgb.
func cmyk(dst, src []uint8) {
	white := 255 - uint32(src[3])
	for i := range 3 {
		dst[i] = uint8(white - mulDiv255(uint32(src[i]), white))
	}
}

// mulDiv255 returns a·b/255, rounded.
func mulDiv255(a, b uint32) uint32 {
	t := a*b + 128
	return (t>>8 + t) >> 8
}

// paletted looks the colour up. An index past the palette is black.
func paletted(p color.Palette) func(dst, src []uint8) {
	var table [256][3]uint8
	for i, c := range p {
		switch c := c.(type) {
		case color.RGBA: // Opaque.
			table[i] = [3]uint8{c.R, c.G, c.B}
		default:
			n := color.NRGBAModel.Convert(c).(color.NRGBA)
			table[i] = [3]uint8{n.R, n.G, n.B}
		}
	}
	return func(dst, src []uint8) { copy(dst, table[src[0]][:]) }
}
