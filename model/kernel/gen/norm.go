package main

import . "github.com/mmcloughlin/avo/build"

// affine puts x·scale + shift into register r and x into register keep.
func (p part) affine(r, keep, t int) {
	p.load("x", keep)
	p.load("scale", t)
	p.do(VMULPS, t, keep, r)
	p.load("shift", t)
	p.do(VADDPS, t, r, r)
}

func normalisation() []kernel {
	return []kernel{
		{name: "affine", doc: "computes dst = x·scale + shift, scale and shift by column.", rows: true,
			streams: []string{"dst", "x"}, channels: []string{"scale", "shift"}, body: func(p part) {
				p.affine(0, 1, 2)
				p.store(0, "dst")
			}},
		{name: "affineSiLU", doc: "computes dst = silu(x·scale + shift), scale and shift by column.", rows: true,
			streams: []string{"dst", "x"}, channels: []string{"scale", "shift"}, constants: expConstants, registers: 4, body: func(p part) {
				p.affine(0, 1, 2)
				p.silu(0, 1, 2, 3)
				p.store(1, "dst")
			}},
		{name: "affineGrad", doc: "computes dx = dy·a + x·b + c, by column.", rows: true,
			streams: []string{"dx", "x", "dy"}, channels: []string{"a", "b", "c"}, body: func(p part) {
				p.load("dy", 4)
				p.load("x", 5)
				p.normGrad(4, 5, 6)
			}},
		{name: "affineSiLUGrad", doc: "computes dh = dy·silu′(x·scale + shift), scale and shift by column.", rows: true,
			streams: []string{"dh", "x", "dy"}, channels: []string{"scale", "shift"}, constants: expConstants, registers: 5, body: func(p part) {
				p.affine(0, 3, 2)
				p.load("dy", 4)
				p.siluGrad(0, 4, 1, 2, 3)
				p.store(4, "dh")
			}},
	}
}

// normGrad stores dh·a + x·b + c.
func (p part) normGrad(dh, x, t int) {
	p.load("a", t)
	VMULPS(p.v[t], p.v[dh], p.v[dh])
	p.load("b", t)
	VMULPS(p.v[t], p.v[x], p.v[x])
	VADDPS(p.v[x], p.v[dh], p.v[dh])
	p.load("c", t)
	VADDPS(p.v[t], p.v[dh], p.v[dh])
	p.store(dh, "dx")
}

// normed puts (x − mean)·rstd into register r; mean and rstd are the first two scalars.
func (p part) normed(r int) {
	p.load("x", r)
	VSUBPS(p.v[scalarBase], p.v[r], p.v[r])
	VMULPS(p.v[scalarBase+1], p.v[r], p.v[r])
}

// layerNorm are the passes over one row. Sums are in float64, element i in lane i mod 8.
func layerNorm() []kernel {
	return []kernel{
		{name: "normRow", doc: "computes dst = (x − mean)·rstd·gamma + beta.", streams: []string{"dst", "x", "gamma", "beta"}, scalars: []string{"mean", "rstd"}, body: func(p part) {
			p.normed(0)
			p.load("gamma", 1)
			VMULPS(p.v[1], p.v[0], p.v[0])
			p.load("beta", 1)
			VADDPS(p.v[1], p.v[0], p.v[0])
			p.store(0, "dst")
		}},
		{name: "laneSum", doc: "sums x in 8 lanes.", streams: []string{"x"}, results: []string{"float64"}, setup: clearLanes(1), finish: foldLanes(1), body: func(p part) {
			for half := range 2 {
				p.loadWide("x", half, 0)
				VADDPD(p.v[0], p.v[p.lane(0, half)], p.v[p.lane(0, half)])
			}
		}},
		{name: "laneSquares", doc: "sums (x − mean)² in 8 lanes.", streams: []string{"x"}, scalars: []string{"mean"}, doubles: []string{"mean"},
			results: []string{"float64"}, setup: clearLanes(1), finish: foldLanes(1), body: func(p part) {
				for half := range 2 {
					p.loadWide("x", half, 0)
					VSUBPD(p.v[scalarBase], p.v[0], p.v[0])
					p.zeroAbsentDouble(0, half, 1)
					VMULPD(p.v[0], p.v[0], p.v[0])
					VADDPD(p.v[0], p.v[p.lane(0, half)], p.v[p.lane(0, half)])
				}
			}},
		{name: "layerNormSums", doc: "adds dy to dbeta and dy·x̂ to dgamma, and sums gamma·dy and gamma·dy·x̂ in 8 lanes.",
			streams: []string{"dbeta", "dgamma", "x", "dy", "gamma"}, scalars: []string{"mean", "rstd"}, doubles: []string{"dbeta", "dgamma"},
			results: []string{"float64", "float64"}, setup: clearLanes(2), finish: foldLanes(2), body: func(p part) {
				p.normed(0)
				p.zeroAbsent(0) // x̂ could be infinite there, and 0·∞ is no 0.
				p.layerNormHalf(0)
				p.layerNormHalf(1)
			}},
		{name: "layerNormGrad", doc: "computes dx = rstd·(gamma·dy − sum − x̂·product).",
			streams: []string{"dx", "x", "dy", "gamma"}, scalars: []string{"mean", "rstd", "sum", "product"}, body: func(p part) {
				p.normed(0)
				VMULPS(p.v[scalarBase+3], p.v[0], p.v[0])
				p.load("dy", 1)
				p.load("gamma", 2)
				VMULPS(p.v[2], p.v[1], p.v[1])
				VSUBPS(p.v[scalarBase+2], p.v[1], p.v[1])
				VSUBPS(p.v[0], p.v[1], p.v[1])
				VMULPS(p.v[scalarBase+1], p.v[1], p.v[1])
				p.store(1, "dx")
			}},
	}
}

// layerNormHalf adds half a vector to the sums of layerNormSums; x̂ is in register 0.
func (p part) layerNormHalf(half int) {
	v := p.v
	p.widen(0, half, 1)
	p.loadWide("dy", half, 2)
	p.loadDouble("dbeta", half, 3)
	VADDPD(v[2], v[3], v[3])
	p.storeDouble(3, "dbeta", half, 4)
	p.loadDouble("dgamma", half, 3)
	VFMADD231PD(v[1], v[2], v[3]) // The product of two float32 is exact.
	p.storeDouble(3, "dgamma", half, 4)
	p.loadWide("gamma", half, 3)
	VMULPD(v[2], v[3], v[3])
	VADDPD(v[3], v[p.lane(0, half)], v[p.lane(0, half)])
	VMULPD(v[1], v[3], v[3])
	VADDPD(v[3], v[p.lane(1, half)], v[p.lane(1, half)])
}
