// Package rawbytes sees numbers as the bytes that they are in memory, to digest them or to send them
// between machines of one byte order.
package rawbytes

import "unsafe"

// Of are the bytes of v as they lie in memory. They are v: a change of one is a change of the other.
func Of[T int8 | int32 | float32](v []T) []byte {
	var one T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(one)))
}
