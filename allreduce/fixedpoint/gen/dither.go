package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The constants of splitMix, see stochastic.go.
const (
	golden = 0x9e3779b97f4a7c15
	mix1   = 0xbf58476d1ce4e5b9
	mix2   = 0x94d049bb133111eb
)

// addDithered follows addDitheredGeneric. A turn is 32 elements: 8 draws of 64 bits, whose 16-bit parts are those of the
// elements in order. They go over the stack, to be widened from there.
func addDithered(s set) {
	function("addDithered"+s.suffix, "func(dst *int32, x *float32, n int, inverse float64, state uint64)",
		"computes dst += ⌊x·inverse + (u + ½)/2^16⌋, u drawn from the state. n is a multiple of 32 and not 0.")
	draws := AllocLocal(64)
	begin("dst", "x")
	counter, step, m1, m2, half, unit, shift, whole, inverse := s.v[15], s.v[14], s.v[13], s.v[12], s.v[11], s.v[10], s.v[9], s.half[8], s.v[7]
	VBROADCASTSD(NewParamAddr("inverse", 24), inverse)
	perVector := s.bytes / 8
	turns := 8 / perVector
	seedCounter(s, counter, draws)
	broadcast64(stepOf(perVector), step, xs[14])
	broadcast64(mix1, m1, xs[13])
	broadcast64(mix2, m2, xs[12])
	broadcast64(math.Float64bits(0.5), half, xs[11])
	broadcast64(math.Float64bits(1./(1<<16)), unit, xs[10])
	broadcast64(math.Float64bits(1<<16), shift, xs[9])
	broadcast32(1<<16, whole, xs[8])
	loop(group, map[reg.GPPhysical]int{first: 4, second: 4}, func() {
		for i := range turns {
			z := s.v[0]
			s.load0(counter, z)
			VPADDQ(step, counter, counter)
			for _, round := range []struct {
				shift uint8
				by    reg.VecPhysical
			}{{30, m1}, {27, m2}, {31, nil}} {
				VPSRLQ(U8(round.shift), z, s.v[1])
				s.xor(s.v[1], z, z)
				if round.by != nil {
					s.multiply(round.by, z)
				}
			}
			s.store(z, draws.Offset(i*s.bytes))
		}
		for i := range group / perVector {
			u, scaled, sum := s.v[0], s.v[1], s.half[2]
			VPMOVZXWD(draws.Offset(i*perVector*2), s.half[0])
			VCVTDQ2PD(s.half[0], u)
			VADDPD(half, u, u)
			VMULPD(unit, u, u)
			VCVTPS2PD(at(second, i*perVector*4), scaled)
			VMULPD(inverse, scaled, scaled)
			VADDPD(u, scaled, scaled)
			VADDPD(shift, scaled, scaled)
			s.truncate(scaled, sum)
			VPSUBD(whole, sum, sum)
			VPADDD(at(first, i*perVector*4), sum, sum)
			storeHalf(s, sum, at(first, i*perVector*4))
		}
	})
	end()
}

func stepOf(draws int) uint64 {
	var sum uint64
	for range draws {
		sum += golden
	}
	return sum
}

// seedCounter fills the counter with state + (i+1)·golden.
func seedCounter(s set, counter reg.VecPhysical, room Mem) {
	Load(Param("state"), reg.RAX)
	MOVQ(U64(golden), reg.RDX)
	for i := range s.bytes / 8 {
		ADDQ(reg.RDX, reg.RAX)
		MOVQ(reg.RAX, room.Offset(8*i))
	}
	s.load(room, counter)
}

func (s set) load0(from, to reg.VecPhysical) {
	if s.bytes == 64 {
		VMOVDQA64(from, to)
	} else {
		VMOVDQA(from, to)
	}
}

// multiply computes z *= by in lanes of 64 bits; v[1] to v[3] are lost.
func (s set) multiply(by, z reg.VecPhysical) {
	if s.bytes == 64 {
		VPMULLQ(by, z, z)
		return
	}
	VPSHUFD(U8(0xb1), by, s.v[1])
	VPMULLD(s.v[1], z, s.v[1]) // Low by high, and high by low.
	VPSRLQ(U8(32), s.v[1], s.v[2])
	VPADDD(s.v[2], s.v[1], s.v[1])
	VPSLLQ(U8(32), s.v[1], s.v[1])
	VPMULUDQ(by, z, z)
	VPADDQ(s.v[1], z, z)
}

// truncate converts doubles to integers of half the width.
func (s set) truncate(from, to reg.VecPhysical) {
	if s.bytes == 64 {
		VCVTTPD2DQ(from, to)
	} else {
		VCVTTPD2DQY(from, to)
	}
}
