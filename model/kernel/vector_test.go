package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// lengths cover whole groups of 16, every rest, and several chunks.
var lengths = []int{1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, chunkElements + 5}

// operands returns k slices of n numbers of several magnitudes, each within a larger array at an odd offset.
func operands(seed uint64, k, n int) [][]float32 {
	r := rand.New(rand.NewPCG(seed, 5))
	out := make([][]float32, k)
	for i := range out {
		x := random(r, n+5)
		for j := range x {
			x[j] *= []float32{1, 8, 30, 120}[r.IntN(4)]
		}
		out[i] = x[3 : 3+n : 3+n+2]
	}
	return out
}

// vectorCases call every elementwise function on slices of n elements and return what it wrote.
var vectorCases = map[string]func(x [][]float32, n int) []float32{
	"Add":        func(x [][]float32, n int) []float32 { Add(x[0], x[1], x[2]); return x[0] },
	"Scale":      func(x [][]float32, n int) []float32 { Scale(x[0], x[1], 0.3); return x[0] },
	"SiLU":       func(x [][]float32, n int) []float32 { SiLU(x[0], x[1]); return x[0] },
	"SiLUGrad":   func(x [][]float32, n int) []float32 { SiLUGrad(x[0], x[1], x[2]); return x[0] },
	"GELU":       func(x [][]float32, n int) []float32 { GELU(x[0], x[1]); return x[0] },
	"GELUGrad":   func(x [][]float32, n int) []float32 { GELUGrad(x[0], x[1], x[2]); return x[0] },
	"NormRow":    func(x [][]float32, n int) []float32 { NormRow(x[0], x[1], x[2], x[3], 0.1, 1.7); return x[0] },
	"Affine":     func(x [][]float32, n int) []float32 { Affine(x[0], x[1], x[2][:n], x[3][:n]); return x[0] },
	"AffineSiLU": func(x [][]float32, n int) []float32 { AffineSiLU(x[0], x[1], x[2][:n], x[3][:n]); return x[0] },
	"AffineGrad": func(x [][]float32, n int) []float32 {
		AffineGrad(x[0], x[1], x[2], x[3][:n], x[4][:n], x[5][:n])
		return x[0]
	},
	"AffineSiLUGrad": func(x [][]float32, n int) []float32 {
		AffineSiLUGrad(x[0], x[1], x[2], x[3][:n], x[4][:n])
		return x[0]
	},
	"QuickGELU":     func(x [][]float32, n int) []float32 { QuickGELU(x[0], x[1]); return x[0] },
	"QuickGELUGrad": func(x [][]float32, n int) []float32 { QuickGELUGrad(x[0], x[1], x[2]); return x[0] },
	"GEGLU":         func(x [][]float32, n int) []float32 { GEGLU(x[0], x[1], x[2]); return x[0] },
	"GEGLUGrad": func(x [][]float32, n int) []float32 {
		GEGLUGrad(x[0], x[1], x[0], x[1], x[2])
		return append(append([]float32{}, x[0]...), x[1]...)
	},
	"AdamW": func(x [][]float32, n int) []float32 {
		for i, v := range x[3] {
			x[3][i] = v * v // The second moment is not negative.
		}
		f := AdamWFactors{Scale: 0.7, Toward: 0.1, Beta2: 0.999, Rest: 0.001, Inverse: 20, Eps: 1e-8, Rate: 3e-3, Keep: 0.99999}
		AdamWUpdate(x[0], x[1], x[2], x[3], &f)
		return append(append(append([]float32{}, x[0]...), x[2]...), x[3]...)
	},
}

// rowCases are those of vectorCases that take rows; they run on three rows.
var rowCases = map[string]bool{"Affine": true, "AffineSiLU": true, "AffineGrad": true, "AffineSiLUGrad": true}

// TestVectorsEqualTwins: every set gives the bits of the Go twins and leaves the elements after the end alone.
func TestVectorsEqualTwins(t *testing.T) {
	first := map[string][]float32{}
	before := active
	defer func() { active = before }()
	for _, set := range append([]*kernelSet{genericSet}, available()...) {
		active = set
		for name, f := range vectorCases {
			for _, n := range lengths {
				rows := 1
				if rowCases[name] {
					rows = 3
				}
				x := operands(11, 8, n*rows)
				past := make([][2]float32, len(x))
				for i := range x {
					past[i] = [2]float32(x[i][:len(x[i])+2][len(x[i]):])
				}
				key := fmt.Sprintf("%s, n=%d", name, n)
				sameBits(t, set.name+" "+key, f(x, n), first, key)
				for i := range x {
					if got := [2]float32(x[i][:len(x[i])+2][len(x[i]):]); got != past[i] {
						t.Fatalf("%s %s wrote past the end of operand %d", set.name, key, i)
					}
				}
			}
		}
	}
}

func TestExp2Accuracy(t *testing.T) {
	worst := 0.0
	for x := float32(-126); x < 127; x += 0.00037 {
		want := math.Exp2(float64(x))
		worst = max(worst, math.Abs(float64(exp2Generic(x))-want)/want)
	}
	if worst > 3e-7 {
		t.Errorf("exp2 is off by up to %.3g of its value, want at most 3e-7", worst)
	}
	for x, want := range map[float32]float32{0: 1, float32(math.Inf(-1)): 0, -1000: 0, 1000: 0x1p127} {
		if got := exp2Generic(x); got != want {
			t.Errorf("2^%v = %v, want %v", x, got, want)
		}
	}
	if got := exp2Generic(float32(math.NaN())); got == got {
		t.Errorf("2^NaN = %v", got)
	}
}

// derivative is the central difference of f at x.
func derivative(f func(float64) float64, x float64) float64 { return (f(x+1e-5) - f(x-1e-5)) / 2e-5 }

// one is f of one number.
func one(f func(dst, x []float32), x float32) float64 {
	dst := []float32{0}
	f(dst, []float32{x})
	return float64(dst[0])
}

func TestActivationAccuracy(t *testing.T) {
	silu := func(x float64) float64 { return x / (1 + math.Exp(-x)) }
	gelu := func(x float64) float64 { return x * 0.5 * (1 + math.Erf(x/math.Sqrt2)) }
	quick := func(x float64) float64 { return x / (1 + math.Exp(-1.702*x)) }
	for x := -12.0; x < 12; x += 0.0101 {
		f := float32(x)
		x := float64(f)
		for _, c := range []struct {
			name      string
			got, want float64
		}{
			{"silu", float64(siluGeneric(f)), silu(x)},
			{"silu′", float64(siluGradGeneric(f)), derivative(silu, x)},
			{"gelu", float64(f * normalCDF(f)), gelu(x)},
			{"gelu′", float64(geluGradGeneric(f)), derivative(gelu, x)},
			{"quick gelu", one(QuickGELU, f), quick(x)},
			{"quick gelu′", one(func(dx, x []float32) { QuickGELUGrad(dx, x, []float32{1}) }, f), derivative(quick, x)},
		} {
			if math.Abs(c.got-c.want) > 4e-7*max(1, math.Abs(x)) {
				t.Fatalf("%s(%v) = %v, want %v", c.name, x, c.got, c.want)
			}
		}
	}
}
