package worker

import (
	"encoding/binary"
	"fmt"
	"slices"

	"yohaku/internal/rawbytes"
	"yohaku/internal/wire"
	"yohaku/worker/trainstep"
)

// chunkBytes is how much of a state goes in one message.
const chunkBytes = 1 << 20

// chunkKind says what a chunk of a donor's stream is.
type chunkKind uint8

// The kinds. What the stream says, and when: see follower.
const (
	chunkOpen   chunkKind = iota + 1 // The stream begins anew.
	chunkSums                        // Of the complete sums of a step, int32.
	chunkExps                        // Of the exponents that they were rounded with, int8.
	chunkNeeded                      // Of the exponents that they needed, int8.
	chunkApply                       // The sums are complete: a mark.
	chunkParams                      // Of the parameters, float32.
	chunkM                           // Of the first moments, float32.
	chunkV                           // Of the second moments, float32.
	chunkGrid                        // Of the exponents of the next step, int8.
	chunkWhole                       // The state is complete: a mark.
	chunkEMA                         // Of the moving average, float32.
	lastKind    = chunkEMA
)

// chunk is a message of the stream. Its numbers are little-endian, its data as they lie in memory:
// ranks of one kernel set share their byte order.
type chunk struct {
	kind   chunkKind
	stream uint64 // Names the stream.
	step   int    // Steps in the state, or that the sums lead to.
	offset int    // Of data, in bytes.
	data   []byte
}

// mark is the data of chunkApply and chunkWhole.
type mark struct {
	Updates int    `json:"updates"` // Made before this step, or in the state.
	Replica string `json:"replica"` // Digest of the state after the step.
}

// chunkHead is the length of what stands before the data.
const chunkHead = 1 + 8 + 8 + 8

func (c chunk) encode() []byte {
	b := make([]byte, chunkHead, chunkHead+len(c.data))
	b[0] = byte(c.kind)
	binary.LittleEndian.PutUint64(b[1:], c.stream)
	binary.LittleEndian.PutUint64(b[9:], uint64(c.step))
	binary.LittleEndian.PutUint64(b[17:], uint64(c.offset))
	return append(b, c.data...)
}

// decodeChunk reads what encode wrote; the data stay in b.
func decodeChunk(b []byte) (chunk, error) {
	if len(b) < chunkHead || len(b) > chunkHead+chunkBytes {
		return chunk{}, fmt.Errorf("%w: chunk of %d bytes", wire.ErrMessage, len(b))
	}
	c := chunk{kind: chunkKind(b[0]), stream: binary.LittleEndian.Uint64(b[1:]), data: b[chunkHead:]}
	step, offset := binary.LittleEndian.Uint64(b[9:]), binary.LittleEndian.Uint64(b[17:])
	const most = 1 << 48
	if c.kind < chunkOpen || c.kind > lastKind || step > most || offset > most {
		return chunk{}, fmt.Errorf("%w: chunk of kind %d, step %d, offset %d", wire.ErrMessage, c.kind, step, offset)
	}
	c.step, c.offset = int(step), int(offset)
	return c, nil
}

// write puts the data of a chunk into the vector that they are part of.
func (c chunk) write(into []byte) error {
	if c.offset > len(into) || len(c.data) > len(into)-c.offset {
		return fmt.Errorf("%w: chunk of %d bytes at %d of %d: it belongs to another model", wire.ErrMessage, len(c.data), c.offset, len(into))
	}
	copy(into[c.offset:], c.data)
	return nil
}

// span is a piece of one tensor, in bytes: offset counts in gradient order over all tensors, lo
// within the tensor.
type span struct{ tensor, offset, lo, len int }

// spansOf cut the state into pieces of at most a chunk.
func spansOf(params []trainstep.Param) []span {
	var all []span
	offset := 0
	for i, p := range params {
		bytes := 4 * len(p.Data)
		for lo := 0; lo < bytes; lo += chunkBytes {
			all = append(all, span{i, offset + lo, lo, min(chunkBytes, bytes-lo)})
		}
		offset += bytes
	}
	return all
}

// at are the parameters, moments and moving average of a span, where they lie.
func (r *resident) at(s span) map[chunkKind][]byte {
	state := r.trainer.State()
	parts := map[chunkKind][]byte{
		chunkParams: rawbytes.Of(r.trainer.Params()[s.tensor].Data)[s.lo : s.lo+s.len],
		chunkM:      rawbytes.Of(state.M)[s.offset : s.offset+s.len],
		chunkV:      rawbytes.Of(state.V)[s.offset : s.offset+s.len],
	}
	if state.EMA != nil {
		parts[chunkEMA] = rawbytes.Of(state.EMA)[s.offset : s.offset+s.len]
	}
	return parts
}

// put writes a chunk of the state where it belongs.
func (r *resident) put(c chunk) error {
	i, ok := slices.BinarySearchFunc(r.spans, c.offset, func(s span, offset int) int { return s.offset - offset })
	if !ok || r.spans[i].len != len(c.data) {
		return fmt.Errorf("%w: chunk of %d bytes at %d of the state: it belongs to another model", wire.ErrMessage, len(c.data), c.offset)
	}
	copy(r.at(r.spans[i])[c.kind], c.data)
	return nil
}
