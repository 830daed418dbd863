package kernel

import (
	"fmt"
	"math"
	"testing"
)

// doubleCases call every function with float64 results on three rows of n elements and n sums, and return further results.
var doubleCases = map[string]func(x [][]float32, sums [][]float64, n int) []float64{
	"ColumnSums": func(x [][]float32, sums [][]float64, n int) []float64 { ColumnSums(sums[0], x[0]); return nil },
	"ColumnSquares": func(x [][]float32, sums [][]float64, n int) []float64 {
		ColumnSquares(sums[0], sums[1], x[0])
		return nil
	},
	"ColumnProducts": func(x [][]float32, sums [][]float64, n int) []float64 {
		ColumnProducts(sums[0], sums[1], x[0], x[1])
		return nil
	},
	"Moments": func(x [][]float32, sums [][]float64, n int) []float64 {
		mean, variance := Moments(x[0][:n])
		return []float64{mean, variance}
	},
	"LayerNormGrad": func(x [][]float32, sums [][]float64, n int) []float64 {
		LayerNormGrad(x[0][:n], sums[0], sums[1], x[0][:n], x[1][:n], x[2][:n], 0.3, 1.7)
		return nil
	},
	"LayerNormGrad of huge numbers": func(x [][]float32, sums [][]float64, n int) []float64 {
		for i := range n {
			x[0][i] = 3e38 // x̂ of a missing 0 is infinite.
		}
		LayerNormGrad(x[0][:n], sums[0], sums[1], x[0][:n], x[1][:n], x[2][:n], 3e38, 10)
		return nil
	},
}

// TestDoublesEqualTwins: every set gives the bits of the Go twins, and leaves the elements past the end alone.
func TestDoublesEqualTwins(t *testing.T) {
	const seed = 13
	first := map[string][]float32{}
	before := active
	defer func() { active = before }()
	for _, set := range append([]*kernelSet{genericSet}, available()...) {
		active = set
		for name, f := range doubleCases {
			for _, n := range append([]int{3, 4, 5, 11, 12, 13, 20, 24, 28}, lengths...) {
				key := fmt.Sprintf("%s, n=%d", name, n)
				sameBits(t, fmt.Sprintf("seed %d, %s %s", seed, set.name, key), runDoubles(f, seed, n), first, key)
			}
		}
	}
}

// runDoubles returns the bits of all that f may write, with two elements past the end of each.
func runDoubles(f func(x [][]float32, sums [][]float64, n int) []float64, seed uint64, n int) []float32 {
	x := operands(seed, 3, 3*n)
	var whole, sums [][]float64
	for range 2 {
		s := make([]float64, n+2)
		for i := range s {
			s[i] = float64(i) / 3
		}
		whole, sums = append(whole, s), append(sums, s[:n])
	}
	results := append(f(x, sums, n), append(whole[0], whole[1]...)...)
	var bits []float32
	for _, v := range results {
		b := math.Float64bits(v)
		bits = append(bits, math.Float32frombits(uint32(b>>32)), math.Float32frombits(uint32(b)))
	}
	for _, s := range x {
		bits = append(bits, s[:len(s)+2]...)
	}
	return bits
}

func TestColumnSumsOfNoRows(t *testing.T) {
	a, b := []float64{1, 2}, []float64{3, 4}
	ColumnProducts(a, b, nil, nil)
	if got := [4]float64{a[0], a[1], b[0], b[1]}; got != [4]float64{} {
		t.Errorf("the sums over no rows are %v", got)
	}
	ColumnSums(nil, nil)
}

// TestColumnSumsInBlocks: columns long enough for one group at a time, against plain sums.
func TestColumnSumsInBlocks(t *testing.T) {
	onEverySet(t, func(t *testing.T) {
		const rows, n = 3000, 37
		x := operands(17, 2, rows*n)
		sum, square, product := make([]float64, n), make([]float64, n), make([]float64, n)
		ColumnSquares(sum, square, x[0])
		ColumnProducts(sum, product, x[0], x[1])
		for c := range n {
			var want [3]float64
			for r := range rows {
				v := float64(x[0][r*n+c])
				want[0] += v
				want[1] += v * v
				want[2] += v * float64(x[1][r*n+c])
			}
			if got := [3]float64{sum[c], square[c], product[c]}; got != want {
				t.Fatalf("column %d: sums %v, want %v", c, got, want)
			}
		}
		if got := testing.AllocsPerRun(5, func() { ColumnProducts(sum, product, x[0], x[1]) }); got != 0 {
			t.Errorf("%v allocations, want 0", got)
		}
	})
}

// TestLayerNormGrad: against float64, from the moments of the row.
func TestLayerNormGrad(t *testing.T) {
	onEverySet(t, func(t *testing.T) {
		const n = 45
		x := operands(19, 4, n)
		mean, variance := Moments(x[0])
		rstd := 1 / math.Sqrt(variance+1e-5)
		var a, b float64
		hat := func(i int) float64 { return (float64(x[0][i]) - mean) * rstd }
		for i := range n {
			g := float64(x[1][i]) * float64(x[2][i])
			a += g / n
			b += g * hat(i) / n
		}
		dbeta, dgamma := make([]float64, n), make([]float64, n)
		LayerNormGrad(x[3], dbeta, dgamma, x[0], x[1], x[2], float32(mean), float32(rstd))
		for i := range n {
			want := rstd * (float64(x[1][i])*float64(x[2][i]) - a - hat(i)*b)
			if math.Abs(float64(x[3][i])-want) > 1e-5*(math.Abs(a)+math.Abs(want)) {
				t.Errorf("dx[%d] is %v, want %v", i, x[3][i], want)
			}
			if dbeta[i] != float64(x[1][i]) || math.Abs(dgamma[i]-float64(x[1][i])*hat(i)) > 1e-5*math.Abs(float64(x[1][i])) {
				t.Errorf("dbeta[%d], dgamma[%d] are %v, %v", i, i, dbeta[i], dgamma[i])
			}
		}
	})
}
