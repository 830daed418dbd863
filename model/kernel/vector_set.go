package kernel

// vectorSet is the elementwise kernels of one instruction set. Pointers are to n elements (rows·n where rows are given),
// n and rows are at least 1. The twins in vector_generic.go are the specification.
type vectorSet struct {
	add            func(dst, a, b *float32, n int)
	scale          func(dst, x *float32, n int, alpha float32)
	silu, gelu     func(dst, x *float32, n int)
	siluGrad       func(dx, x, dy *float32, n int)
	geluGrad       func(dx, x, dy *float32, n int)
	normRow        func(dst, x, gamma, beta *float32, n int, mean, rstd float32)
	affine         func(dst, x, scale, shift *float32, rows, n int)
	affineSiLU     func(dst, x, scale, shift *float32, rows, n int)
	affineGrad     func(dx, x, dy, a, b, c *float32, rows, n int)
	affineSiLUGrad func(dh, x, dy, scale, shift *float32, rows, n int)
	quickGELU      func(dst, x *float32, n int)
	quickGELUGrad  func(dx, x, dy *float32, n int)
	geglu          func(dst, x, gate *float32, n int)
	gegluGrad      func(dx, dgate, x, gate, dy *float32, n int)
	laneSum        func(x *float32, n int) float64
	laneSquares    func(x *float32, n int, mean float64) float64
	layerNormSums  func(dbeta, dgamma *float64, x, dy, gamma *float32, n int, mean, rstd float32) (sum, product float64)
	layerNormGrad  func(dx, x, dy, gamma *float32, n int, mean, rstd, sum, product float32)
	columnSums     func(x *float32, sum *float64, rows, n, stride int)
	columnSquares  func(x *float32, sum, square *float64, rows, n, stride int)
	columnProducts func(dy, x *float32, sum, product *float64, rows, n, stride int)
	columnDots     func(a, b, dot *float32, rows, n, stride int)
	adamW          func(p, grad, m, v, factors *float32, n int)
	scaleColumns   func(x, factor *float32, rows, n int)
	attentionGrad  func(s, dp, p, ds, shift, dot *float32, rows, n, stride int)
	columnMax      func(x, first *float32, rows, n, stride int)
	columnExp      func(x, shift, total *float32, rows, n, stride int)
	tileInput      func(dst *float32, src **float32, n, step int)
	tileGradient   func(dst *float32, src **float32, n, step int)
	tileOutput     func(dst, old **float32, src, bias *float32, n, step int)
	weightPoints   func(dst, src *float32, rows, n, dstRow, srcRow, dstPoint, srcTap int)
	weightTaps     func(dst, old, src *float32, n, dstTap, oldTap, step int)
}

var genericVectors = vectorSet{
	add: addGeneric, scale: scaleGeneric,
	silu: silusGeneric, gelu: gelusGeneric, siluGrad: siluGradsGeneric, geluGrad: geluGradsGeneric,
	normRow: normRowGeneric,
	affine:  affineGeneric, affineSiLU: affineSiLUGeneric, affineGrad: affineGradGeneric, affineSiLUGrad: affineSiLUGradGeneric,
	quickGELU: quickGELUsGeneric, quickGELUGrad: quickGELUGradsGeneric, geglu: gegluGeneric, gegluGrad: gegluGradGeneric,
	laneSum: laneSumGeneric, laneSquares: laneSquaresGeneric, layerNormSums: layerNormSumsGeneric, layerNormGrad: layerNormGradGeneric,
	columnSums: columnSumsGeneric, columnSquares: columnSquaresGeneric, columnProducts: columnProductsGeneric, columnDots: columnDotsGeneric,
	adamW: adamWGeneric, scaleColumns: scaleColumnsGeneric, attentionGrad: attentionGradGeneric,
	columnMax: columnMaxGeneric, columnExp: columnExpGeneric,
	tileInput: tileInputGeneric, tileGradient: tileGradientGeneric, tileOutput: tileOutputGeneric,
	weightPoints: weightPointsGeneric, weightTaps: weightTapsGeneric,
}
