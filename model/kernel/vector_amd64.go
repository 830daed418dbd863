//go:build !noasm

package kernel

var avx512Vectors = vectorSet{
	add: add512, scale: scale512, silu: silu512, gelu: gelu512,
	siluGrad: siluGrad512, geluGrad: geluGrad512, normRow: normRow512,
	affine: affine512, affineSiLU: affineSiLU512, affineGrad: affineGrad512, affineSiLUGrad: affineSiLUGrad512, adamW: adamW512,
	quickGELU: quickGELU512, quickGELUGrad: quickGELUGrad512, geglu: geglu512, gegluGrad: gegluGrad512,
	laneSum: laneSum512, laneSquares: laneSquares512, layerNormSums: layerNormSums512, layerNormGrad: layerNormGrad512,
	columnSums: columnSums512, columnSquares: columnSquares512, columnProducts: columnProducts512, columnDots: columnDots512,
	scaleColumns: scaleColumns512, attentionGrad: attentionGrad512, columnMax: columnMax512, columnExp: columnExp512,
	tileInput: tileInput512, tileGradient: tileGradient512, tileOutput: tileOutput512, weightPoints: weightPoints512, weightTaps: weightTaps512,
}

var avx2Vectors = vectorSet{
	add: add256, scale: scale256, silu: silu256, gelu: gelu256,
	siluGrad: siluGrad256, geluGrad: geluGrad256, normRow: normRow256,
	affine: affine256, affineSiLU: affineSiLU256, affineGrad: affineGrad256, affineSiLUGrad: affineSiLUGrad256, adamW: adamW256,
	quickGELU: quickGELU256, quickGELUGrad: quickGELUGrad256, geglu: geglu256, gegluGrad: gegluGrad256,
	laneSum: laneSum256, laneSquares: laneSquares256, layerNormSums: layerNormSums256, layerNormGrad: layerNormGrad256,
	columnSums: columnSums256, columnSquares: columnSquares256, columnProducts: columnProducts256, columnDots: columnDots256,
	scaleColumns: scaleColumns256, attentionGrad: attentionGrad256, columnMax: columnMax256, columnExp: columnExp256,
	tileInput: tileInput256, tileGradient: tileGradient256, tileOutput: tileOutput256, weightPoints: weightPoints256, weightTaps: weightTaps256,
}
