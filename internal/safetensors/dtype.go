package safetensors

import "math"

// DType is a tensor's element type under the format's own name.
type DType string

// The element types that this package knows.
const (
	F64  DType = "F64"
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
	I64  DType = "I64"
	I32  DType = "I32"
	I16  DType = "I16"
	I8   DType = "I8"
	U64  DType = "U64"
	U32  DType = "U32"
	U16  DType = "U16"
	U8   DType = "U8"
	Bool DType = "BOOL"
)

// Size returns the bytes of one element, 0 for a type that is not known.
func (d DType) Size() int {
	switch d {
	case F64, I64, U64:
		return 8
	case F32, I32, U32:
		return 4
	case F16, BF16, I16, U16:
		return 2
	case I8, U8, Bool:
		return 1
	}
	return 0
}

// IsFloat tells whether File.Float32 converts from d.
func (d DType) IsFloat() bool { return d == F64 || d == F32 || d == F16 || d == BF16 }

// Float16ToFloat32 widens an IEEE 754 binary16 exactly.
func Float16ToFloat32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent, fraction := uint32(h>>10)&0x1f, uint32(h&0x3ff)
	switch exponent {
	case 0x1f: // Infinity or NaN.
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	case 0: // Zero or subnormal: fraction × 2⁻²⁴ is exact in float32.
		v := float32(fraction) * 0x1p-24
		return math.Float32frombits(math.Float32bits(v) | sign)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}

// Float32ToFloat16 rounds to the nearest IEEE 754 binary16, ties to even, as PyTorch does.
func Float32ToFloat16(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits>>16) & 0x8000
	abs := bits & 0x7fffffff
	switch {
	case abs > 0x7f800000:
		return sign | 0x7e00
	case abs >= 0x47800000: // 65536 and above, infinity too.
		return sign | 0x7c00
	case abs < 0x38800000: // Below 2⁻¹⁴: subnormal; adding 0.5 leaves fraction × 2⁻²⁴ in the low bits, rounded to even.
		return sign | uint16(math.Float32bits(math.Float32frombits(abs)+0.5)-math.Float32bits(0.5))
	}
	odd := abs >> 13 & 1
	return sign | uint16((abs+0xfff+odd-112<<23)>>13)
}

// BFloat16ToFloat32 widens a bfloat16 exactly.
func BFloat16ToFloat32(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// Float32ToBFloat16 rounds to the nearest bfloat16, ties to even, as PyTorch does.
func Float32ToBFloat16(f float32) uint16 {
	bits := math.Float32bits(f)
	if bits&0x7fffffff > 0x7f800000 {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
