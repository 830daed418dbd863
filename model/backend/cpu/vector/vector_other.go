//go:build !amd64 || noasm

package vector

// whole is how many of n elements the assembly takes: there is none.
func whole(int) int { return 0 }

// The functions below are never called.

func lineSiLUGradientAsm(grad *float32, dy *float32, x *float32, a *float32, b *float32, n int) {
	panic("vector: no assembly")
}
func gegluAsm(y *float32, v *float32, gate *float32, n int) { panic("vector: no assembly") }
func gegluGradientAsm(dv *float32, dg *float32, v *float32, gate *float32, dy *float32, n int) {
	panic("vector: no assembly")
}
func columnSumsAsm(sum *float64, x *float32, rows int, stride int) { panic("vector: no assembly") }
func columnSquaresAsm(sum *float64, square *float64, x *float32, rows int, stride int) {
	panic("vector: no assembly")
}
func columnProductsAsm(sum *float64, product *float64, grad *float32, x *float32, rows int, stride int) {
	panic("vector: no assembly")
}
func laneSumsAsm(lanes *float64, x *float32, n int)                  { panic("vector: no assembly") }
func laneSquaresAsm(lanes *float64, x *float32, n int, mean float64) { panic("vector: no assembly") }
func layerNormSumsAsm(lanes *float64, db *float64, dg *float64, x *float32, dy *float32, gamma *float32, n int, mean float32, inverse float32) {
	panic("vector: no assembly")
}
func layerNormGradientAsm(dx *float32, x *float32, dy *float32, gamma *float32, n int, mean float32, inverse float32, sum float32, product float32) {
	panic("vector: no assembly")
}
