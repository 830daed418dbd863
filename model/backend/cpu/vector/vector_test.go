package vector

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestExpIsAccurate(t *testing.T) {
	for x := -87.3; x <= 88.3; x += 0.00137 {
		got, want := float64(Exp(float32(x))), math.Exp(float64(float32(x)))
		if math.Abs(got-want) > 2.5e-7*want {
			t.Fatalf("Exp(%v) = %v, want %v", float32(x), got, want)
		}
	}
	for _, x := range []float32{-1000, float32(math.Inf(-1))} {
		if e := Exp(x); !(e >= 0 && e < 2e-38) {
			t.Errorf("Exp(%v) = %v, want nearly 0", x, e)
		}
	}
	if e := Exp(float32(math.NaN())); e == e {
		t.Errorf("Exp(NaN) = %v", e)
	}
}

func TestNormalIsAccurate(t *testing.T) {
	for x := -9.0; x <= 9; x += 0.00113 {
		v := float64(float32(x))
		if got, want := float64(Normal(float32(x))), 0.5*math.Erfc(-v/math.Sqrt2); math.Abs(got-want) > 3e-7 {
			t.Fatalf("Normal(%v) = %v, want %v", v, got, want)
		}
		if got, want := float64(Density(float32(x))), math.Exp(-v*v/2)/math.Sqrt(2*math.Pi); math.Abs(got-want) > 3e-7 {
			t.Fatalf("Density(%v) = %v, want %v", v, got, want)
		}
	}
}

// sample is n random values with some extreme ones, in a slice whose end is guarded.
func sample(r *rand.Rand, n int) []float32 {
	s := make([]float32, n+3)
	for i := range s {
		s[i] = float32(r.NormFloat64() * math.Pow(10, float64(r.IntN(3))))
	}
	if n > 20 {
		s[5], s[17] = float32(math.NaN()), 1e30
	}
	return s
}

// TestAssemblyEqualsTwin runs each function with and without assembly over odd lengths and offsets: all bits,
// those past the end included, are the same.
func TestAssemblyEqualsTwin(t *testing.T) {
	if !usesAssembly() {
		t.Skip("this build has no assembly")
	}
	const seed = 3
	functions := map[string]func(f [][]float32, d [][]float64, n int){
		"LineSiLUGradient": func(f [][]float32, _ [][]float64, n int) { LineSiLUGradient(f[0][:n], f[1], f[2], f[3], f[4]) },
		"GEGLU":            func(f [][]float32, _ [][]float64, n int) { GEGLU(f[0][:n], f[1], f[2]) },
		"GEGLUGradient":    func(f [][]float32, _ [][]float64, n int) { GEGLUGradient(f[0], f[1], f[0], f[1], f[2][:n]) },
		"ColumnSums":       func(f [][]float32, d [][]float64, n int) { ColumnSums(d[0][:n], f[0], 1, n) },
		"ColumnSquares": func(f [][]float32, d [][]float64, n int) {
			ColumnSquares(d[0][:n], d[1], append(f[0], f[1]...), 2, n+2)
		},
		"ColumnProducts": func(f [][]float32, d [][]float64, n int) {
			ColumnProducts(d[0][:n], d[1], append(f[0], f[1]...), append(f[2], f[3]...), 2, n+1)
		},
		"Moments": func(f [][]float32, d [][]float64, n int) { d[0][0], d[0][1] = Moments(f[0][:n]) },
		"LayerNormGradient": func(f [][]float32, d [][]float64, n int) {
			LayerNormGradient(f[0][:n], d[0], d[1], f[1], f[2], f[3], 0.3, 1.7)
		},
	}
	for name, f := range functions {
		t.Run(name, func(t *testing.T) {
			for n := 1; n < 70; n++ {
				fast, fastD := run(seed, n, true, f)
				slow, slowD := run(seed, n, false, f)
				for k := range fast {
					for i := range fast[k] {
						if a, b := math.Float32bits(fast[k][i]), math.Float32bits(slow[k][i]); a != b && !(fast[k][i] != fast[k][i] && slow[k][i] != slow[k][i]) {
							t.Fatalf("seed %d, n %d: operand %d[%d] is %v, twin %v", seed, n, k, i, fast[k][i], slow[k][i])
						}
					}
				}
				for k := range fastD {
					for i, v := range fastD[k] {
						if w := slowD[k][i]; math.Float64bits(v) != math.Float64bits(w) && !(v != v && w != w) {
							t.Fatalf("seed %d, n %d: sum %d[%d] is %v, twin %v", seed, n, k, i, v, w)
						}
					}
				}
			}
		})
	}
}

func run(seed uint64, n int, asm bool, f func([][]float32, [][]float64, int)) ([][]float32, [][]float64) {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	var fs [][]float32
	for range 5 {
		fs = append(fs, sample(r, n))
	}
	ds := [][]float64{make([]float64, n+3), make([]float64, n+3)}
	defer setAssembly(setAssembly(asm))
	f(fs, ds, n)
	return fs, ds
}
