package natsring

import (
	"encoding/binary"

	"yohaku/allreduce/fixedpoint"
)

// appendSums appends v as the format's little-endian integers. ok is false when one does not fit.
func appendSums(b []byte, v []int32, f fixedpoint.Format) (out []byte, ok bool) {
	at := len(b)
	b = b[:at+len(v)*f.Bytes()] // The caller's buffer holds a whole chunk.
	if f == fixedpoint.Int16 {
		return b, putInt16(b[at:], v)
	}
	putInt32(b[at:], v)
	return b, true
}

func putInt32(b []byte, v []int32) {
	for ; len(v) >= 4 && len(b) >= 16; v, b = v[4:], b[16:] {
		binary.LittleEndian.PutUint32(b[0:4], uint32(v[0]))
		binary.LittleEndian.PutUint32(b[4:8], uint32(v[1]))
		binary.LittleEndian.PutUint32(b[8:12], uint32(v[2]))
		binary.LittleEndian.PutUint32(b[12:16], uint32(v[3]))
	}
	for i, x := range v {
		binary.LittleEndian.PutUint32(b[4*i:], uint32(x))
	}
}

func putInt16(b []byte, v []int32) (ok bool) {
	var lost int32
	for i, x := range v {
		binary.LittleEndian.PutUint16(b[2*i:2*i+2], uint16(x))
		lost |= x - int32(int16(x))
	}
	return lost == 0
}

// addSums computes dst[i] = own[i] + received[i]; takeSums computes dst[i] = received[i].
// b holds len(dst) integers of the format.
func addSums(dst, own []int32, b []byte, f fixedpoint.Format) {
	if f == fixedpoint.Int16 {
		for i := range dst {
			dst[i] = own[i] + int32(int16(binary.LittleEndian.Uint16(b[2*i:])))
		}
		return
	}
	for ; len(dst) >= 4 && len(own) >= 4 && len(b) >= 16; dst, own, b = dst[4:], own[4:], b[16:] {
		dst[0] = own[0] + int32(binary.LittleEndian.Uint32(b[0:4]))
		dst[1] = own[1] + int32(binary.LittleEndian.Uint32(b[4:8]))
		dst[2] = own[2] + int32(binary.LittleEndian.Uint32(b[8:12]))
		dst[3] = own[3] + int32(binary.LittleEndian.Uint32(b[12:16]))
	}
	for i := range dst {
		dst[i] = own[i] + int32(binary.LittleEndian.Uint32(b[4*i:]))
	}
}

func takeSums(dst []int32, b []byte, f fixedpoint.Format) {
	if f == fixedpoint.Int16 {
		for i := range dst {
			dst[i] = int32(int16(binary.LittleEndian.Uint16(b[2*i:])))
		}
		return
	}
	for ; len(dst) >= 4 && len(b) >= 16; dst, b = dst[4:], b[16:] {
		dst[0] = int32(binary.LittleEndian.Uint32(b[0:4]))
		dst[1] = int32(binary.LittleEndian.Uint32(b[4:8]))
		dst[2] = int32(binary.LittleEndian.Uint32(b[8:12]))
		dst[3] = int32(binary.LittleEndian.Uint32(b[12:16]))
	}
	for i := range dst {
		dst[i] = int32(binary.LittleEndian.Uint32(b[4*i:]))
	}
}
