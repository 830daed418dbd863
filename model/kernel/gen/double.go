package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A vector of float32 becomes two halves of float64; a pointer to float64 goes on twice as fast as one to float32.

// doubleMask makes the second mask of the 512-bit set: K1 is that of the lower half's float64, K2 that of the upper's.
func (s *vectors) doubleMask() {
	if s.bytes == 64 {
		KSHIFTRW(U8(8), reg.K1, reg.K2)
	}
}

var halfMasks = []Op{reg.K1, reg.K2}

// halfMask puts the mask of half a vector's float64 into v[d], for the 256-bit set.
func (p part) halfMask(half, d int) {
	mask := []reg.VecPhysical{reg.Y14, reg.Y15}[p.number]
	if half == 1 {
		VEXTRACTI128(U8(1), mask, p.v[d].AsX())
		mask = p.v[d]
	}
	VPMOVSXDQ(mask.AsX(), p.v[d])
}

// lower is the lower half of register r.
func (s *vectors) lower(r int) reg.Register {
	if s.bytes == 64 {
		return s.v[r].AsY()
	}
	return s.v[r].AsX()
}

// half puts half of v[r] into the lower half of v[d] and returns that.
func (s *vectors) half(r, half, d int) reg.Register {
	switch {
	case half == 0:
		return s.lower(r)
	case s.bytes == 64:
		VEXTRACTF64X4(U8(1), s.v[r], s.lower(d))
	default:
		VEXTRACTF128(U8(1), s.v[r], s.lower(d))
	}
	return s.lower(d)
}

// widen converts half of v[r] to float64 in v[d].
func (s *vectors) widen(r, half, d int) { VCVTPS2PD(s.half(r, half, d), s.v[d]) }

// loadWide reads half a vector of float32 as float64; elements that do not exist become 0.
func (p part) loadWide(name string, half, d int) {
	m := p.address(name).Offset(half * p.bytes / 2)
	switch {
	case !p.partial:
		VCVTPS2PD(m, p.v[d])
	case p.bytes == 64:
		VCVTPS2PD_Z(m, halfMasks[half], p.v[d])
	default:
		mask := []reg.VecPhysical{reg.Y14, reg.Y15}[p.number].AsX()
		if half == 1 {
			mask = p.v[d].AsX()
			VEXTRACTF128(U8(1), p.mask(), mask)
		}
		VMASKMOVPS(m, mask, p.v[d].AsX())
		VCVTPS2PD(p.v[d].AsX(), p.v[d])
	}
}

// double is the address of half a vector's float64.
func (p part) double(name string, half int) Mem {
	return Mem{Base: p.regs[name], Index: index, Scale: 2, Disp: (2*p.number + half) * p.bytes}
}

// loadDouble reads float64; elements that do not exist become 0.
func (p part) loadDouble(name string, half, d int) {
	switch {
	case !p.partial:
		VMOVUPD(p.double(name, half), p.v[d])
	case p.bytes == 64:
		VMOVUPD_Z(p.double(name, half), halfMasks[half], p.v[d])
	default:
		p.halfMask(half, d)
		VMASKMOVPD(p.double(name, half), p.v[d], p.v[d])
	}
}

// storeDouble writes float64; v[t] is lost.
func (p part) storeDouble(r int, name string, half, t int) {
	switch {
	case !p.partial:
		VMOVUPD(p.v[r], p.double(name, half))
	case p.bytes == 64:
		VMOVUPD(p.v[r], halfMasks[half], p.double(name, half))
	default:
		p.halfMask(half, t)
		VMASKMOVPD(p.v[r], p.v[t], p.double(name, half))
	}
}

// zeroAbsentDouble sets the elements that do not exist to 0; v[t] is lost.
func (p part) zeroAbsentDouble(r, half, t int) {
	switch {
	case !p.partial:
	case p.bytes == 64:
		VMOVAPD_Z(p.v[r], halfMasks[half], p.v[r])
	default:
		p.halfMask(half, t)
		VANDPD(p.v[t], p.v[r], p.v[r])
	}
}

// lane is the register of sum j, over eight lanes of float64, to which half a vector is added: one register of 512 bits,
// two of 256.
func (s *vectors) lane(j, half int) int {
	if s.bytes == 64 {
		return 6 + 2*j
	}
	return 6 + 2*j + half
}

// clearLanes sets n sums over lanes to 0.
func clearLanes(n int) func(s *vectors) {
	return func(s *vectors) {
		for r := range 2 * n {
			s.zero(6 + r)
		}
	}
}

// foldLanes puts the sums of n times eight lanes into registers 0 and up, as doubleLanes.total does.
func foldLanes(n int) func(s *vectors) {
	return func(s *vectors) {
		for j := range n {
			a, b, d := ys[6+2*j], ys[7+2*j], ys[j]
			if s.bytes == 64 {
				VEXTRACTF64X4(U8(1), s.v[6+2*j], b)
			}
			VADDPD(b, a, d)
			VHADDPD(d, d, d)
			VEXTRACTF128(U8(1), d, b.AsX())
			VADDPD(b.AsX(), d.AsX(), d.AsX())
		}
	}
}
