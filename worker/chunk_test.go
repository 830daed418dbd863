package worker

import (
	"bytes"
	"testing"
)

// FuzzChunk: what another rank streams is checked before it is used.
func FuzzChunk(f *testing.F) {
	f.Add(chunk{kind: chunkM, stream: 7, step: 3, offset: 8, data: []byte{1, 2, 3, 4}}.encode())
	f.Add(chunk{kind: chunkOpen}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeChunk(data)
		if err != nil {
			return
		}
		if again := c.encode(); !bytes.Equal(again, data) {
			t.Errorf("%x decodes to %+v, which is %x", data, c, again)
		}
		into := make([]byte, 16)
		if err := c.write(into); (err == nil) != (c.offset <= 16 && c.offset+len(c.data) <= 16) {
			t.Errorf("%d bytes at %d of 16: %v", len(c.data), c.offset, err)
		}
	})
}
