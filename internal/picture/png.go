package picture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"strings"
)

// pngHead is the signature and the IHDR chunk, which come first in a PNG file.
const pngHead = 8 + 8 + 13 + 4

// EncodePNG encodes m as a PNG file with a text under a keyword, in an iTXt chunk (UTF-8, not compressed). Keywords are
// 1 to 79 letters of ASCII; the text has no NUL byte. An empty text is left out.
//
// Source: PNG specification, third edition, 11.3.3.4.
func EncodePNG(m image.Image, keyword, text string) ([]byte, error) {
	var out bytes.Buffer
	if err := png.Encode(&out, m); err != nil {
		return nil, fmt.Errorf("encode PNG: %w", err)
	}
	if text == "" {
		return out.Bytes(), nil
	}
	if len(keyword) < 1 || len(keyword) > 79 || strings.Contains(keyword+text, "\x00") {
		return nil, fmt.Errorf("encode PNG: keyword %q must have 1 to 79 letters, and neither it nor the text a NUL byte", keyword)
	}
	data := out.Bytes()
	return bytes.Join([][]byte{data[:pngHead], textChunk(keyword, text), data[pngHead:]}, nil), nil
}

// textChunk is an iTXt chunk: length, type, keyword, five bytes for no compression, no language and no translation,
// the text, and the checksum.
func textChunk(keyword, text string) []byte {
	body := "iTXt" + keyword + "\x00\x00\x00\x00\x00" + text
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(body)-4))
	chunk = append(chunk, body...)
	return binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE([]byte(body)))
}
