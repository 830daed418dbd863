package natsring

import (
	"encoding/binary"

	"yohaku/allreduce/fixedpoint"
	"yohaku/internal/rawbytes"
)

// littleEndian tells that integers lie in memory as they do on the wire.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// appendSums appends v in the format's tight width, or, where one does not fit that, as the format's little-endian integers. ok is
// false when one does not fit these either.
func appendSums(b []byte, v []int32, f fixedpoint.Format) (out []byte, tight, ok bool) {
	at := len(b)
	if b = b[:at+f.TightBytes(len(v))]; f.Pack(b[at:], v) {
		return b, true, true
	}
	b = b[:at+len(v)*f.Bytes()] // The caller's buffer holds a whole chunk.
	if f == fixedpoint.Int16 {
		return b, false, fixedpoint.Narrow(b[at:], v)
	}
	putInt32(b[at:], v)
	return b, false, true
}

// sumBytes is what appendSums takes for n elements.
func sumBytes(n int, f fixedpoint.Format, tight bool) int {
	if tight {
		return f.TightBytes(n)
	}
	return n * f.Bytes()
}

func putInt32(b []byte, v []int32) {
	if littleEndian {
		copy(b, rawbytes.Of(v))
		return
	}
	for i, x := range v {
		binary.LittleEndian.PutUint32(b[4*i:], uint32(x))
	}
}

// addSums computes dst[i] = own[i] + received[i]; takeSums computes dst[i] = received[i].
// b holds what appendSums made of len(dst) integers.
func addSums(dst, own []int32, b []byte, f fixedpoint.Format, tight bool) {
	switch {
	case tight:
		f.Add(dst, own, b)
	case f == fixedpoint.Int16:
		fixedpoint.AddInt16(dst, own, b)
	default:
		fixedpoint.AddInt32(dst, own, b)
	}
}

func takeSums(dst []int32, b []byte, f fixedpoint.Format, tight bool) {
	switch {
	case tight:
		f.Open(dst, b)
	case f == fixedpoint.Int16:
		fixedpoint.Widen(dst, b)
	case littleEndian:
		copy(rawbytes.Of(dst), b)
	default:
		for i := range dst {
			dst[i] = int32(binary.LittleEndian.Uint32(b[4*i:]))
		}
	}
}
