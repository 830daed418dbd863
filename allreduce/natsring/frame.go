package natsring

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A frame is a header of headerBytes, little endian, and length bytes:
//
//	 0 magic "YR"    2 version 4   3 kind
//	 4 from          the sender's rank
//	 8 generation   16 step   24 attempt   28 bucket
//	32 job           what the operation is, 0 = none was started yet
//	36 chunk         data: number in the operation; beat: chunks sent; ack: chunks taken; allChunks = it is over
//	40 aux           beat: 1 = please acknowledge; ack: your beats arrive and frames are to come 1 = through routes,
//	                 2 = on the connection for bulk, 0 = wait; abort: a reason
//	44 length        of the bytes that follow; those of a beat are an offer of a connection
const (
	headerBytes  = 48
	frameVersion = 4

	// maxChunkBytes, with its prefix, header and PUB line, keeps a publish within one 64 KiB read of the server.
	maxChunkBytes   = 61_440
	maxPayloadBytes = maxChunkBytes + reducePrefix
	maxFrameBytes   = headerBytes + maxPayloadBytes

	allChunks = math.MaxUint32
)

type kind uint8

const (
	kindData kind = 1 + iota
	kindBeat
	kindAck
	kindAbort
)

// key names an operation on the wire. Job 0 is no operation.
type key struct {
	position
	bucket, job uint32
}

// position orders attempts: a later step, or a later attempt at the same step, voids what is before it.
type position struct {
	step    uint64
	attempt uint32
}

func (p position) before(q position) bool {
	return p.step < q.step || p.step == q.step && p.attempt < q.attempt
}

func (k key) operation() Operation {
	return Operation{Step: int(k.step), Attempt: int(k.attempt), Bucket: int(k.bucket)}
}

type header struct {
	kind       kind
	from       uint32
	generation uint64
	key        key
	chunk, aux uint32
}

// appendHeader appends the header; withLength completes it once the payload follows.
func appendHeader(b []byte, h header) []byte {
	b = append(b, 'Y', 'R', frameVersion, byte(h.kind))
	le := binary.LittleEndian
	b = le.AppendUint32(b, h.from)
	b = le.AppendUint64(b, h.generation)
	b = le.AppendUint64(b, h.key.step)
	for _, v := range [...]uint32{h.key.attempt, h.key.bucket, h.key.job, h.chunk, h.aux, 0} {
		b = le.AppendUint32(b, v)
	}
	return b
}

// withLength writes the length of what follows the header of the frame b, and returns b.
func withLength(b []byte) []byte {
	binary.LittleEndian.PutUint32(b[headerBytes-4:], uint32(len(b)-headerBytes))
	return b
}

// decodeFrame splits a frame. The payload is a part of b. It allocates nothing, whatever b holds.
func decodeFrame(b []byte) (header, []byte, error) {
	if len(b) < headerBytes || len(b) > maxFrameBytes {
		return header{}, nil, fmt.Errorf("frame of %d bytes, must be from %d to %d", len(b), headerBytes, maxFrameBytes)
	}
	if b[0] != 'Y' || b[1] != 'R' || b[2] != frameVersion {
		return header{}, nil, fmt.Errorf("frame starts with % x, must be 59 52 %02x", b[:3], frameVersion)
	}
	le := binary.LittleEndian
	u32 := func(at int) uint32 { return le.Uint32(b[at:]) }
	h := header{kind: kind(b[3]), from: u32(4), generation: le.Uint64(b[8:]), chunk: u32(36), aux: u32(40),
		key: key{position: position{step: le.Uint64(b[16:]), attempt: u32(24)}, bucket: u32(28), job: u32(32)}}
	if h.kind < kindData || h.kind > kindAbort {
		return header{}, nil, fmt.Errorf("frame kind %d, must be from %d to %d", h.kind, kindData, kindAbort)
	}
	if n := u32(44); int(n) != len(b)-headerBytes {
		return header{}, nil, fmt.Errorf("frame says %d bytes follow, got %d", n, len(b)-headerBytes)
	}
	if h.key.step > math.MaxInt64 || h.kind == kindData && h.key.job == 0 {
		return header{}, nil, fmt.Errorf("frame of step %d job %d, must be a step below 2^63 and a job above 0", h.key.step, h.key.job)
	}
	return h, b[headerBytes:], nil
}
