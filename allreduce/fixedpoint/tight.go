package fixedpoint

// A sum uses the bits that are kept for growth only when its block has grown since the step before. So most chunks travel
// without loss in fewer bits than their format has: 24 for 32, 12 for 16. Integers of either width lie one after the other,
// lowest bits first, the last byte filled up with zeros.

// TightBits returns the bits of an element in which a format's sums travel where all of a chunk fit.
func (f Format) TightBits() int { return []int{Int32: 24, Int16: 12}[f] }

// TightBytes returns the bytes of n elements in that width.
func (f Format) TightBytes(n int) int { return (n*f.TightBits() + 7) / 8 }

// Pack writes v to b, which holds TightBytes, in the tight width, and reports whether all fit; otherwise b is undefined.
func (f Format) Pack(b []byte, v []int32) (fit bool) {
	width := f.TightBits()
	n, at := whole(len(v)), whole(len(v))*width/8
	if n > 0 {
		pack := active.pack24
		if f == Int16 {
			pack = active.pack12
		}
		_ = b[at-1]
		if pack(&b[0], &v[0], n) != 0 {
			return false
		}
	}
	return packGeneric(b[at:f.TightBytes(len(v))], v[n:], width)
}

// Add computes dst[i] = own[i] + b[i], where b holds what Pack wrote. dst may be own.
func (f Format) Add(dst, own []int32, b []byte) {
	own, b = own[:len(dst)], b[:f.TightBytes(len(dst))]
	n := whole(len(dst))
	if n > 0 {
		add := active.add24
		if f == Int16 {
			add = active.add12
		}
		add(&dst[0], &own[0], &b[0], n)
	}
	openGeneric(dst[n:], own[n:], b[n*f.TightBits()/8:], f.TightBits())
}

// Open computes dst[i] = b[i], where b holds what Pack wrote.
func (f Format) Open(dst []int32, b []byte) {
	b = b[:f.TightBytes(len(dst))]
	n := whole(len(dst))
	if n > 0 {
		open := active.open24
		if f == Int16 {
			open = active.open12
		}
		open(&dst[0], &b[0], n)
	}
	openGeneric(dst[n:], nil, b[n*f.TightBits()/8:], f.TightBits())
}

func packGeneric(b []byte, v []int32, width int) (fit bool) {
	var lost int32
	var held uint64 // Bits that do not fill a byte yet.
	have, at := 0, 0
	for _, x := range v {
		lost |= x ^ x<<(32-width)>>(32-width)
		held |= uint64(uint32(x)&(1<<width-1)) << have
		for have += width; have >= 8; have -= 8 {
			b[at] = byte(held)
			held >>= 8
			at++
		}
	}
	if have > 0 {
		b[at] = byte(held)
	}
	return lost == 0
}

// openGeneric adds own unless it is nil.
func openGeneric(dst, own []int32, b []byte, width int) {
	var held uint64
	have, at := 0, 0
	for i := range dst {
		for ; have < width; have += 8 {
			held |= uint64(b[at]) << have
			at++
		}
		x := int32(uint32(held)<<(32-width)) >> (32 - width)
		held >>= width
		have -= width
		if own != nil {
			x += own[i]
		}
		dst[i] = x
	}
}
