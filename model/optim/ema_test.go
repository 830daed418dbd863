package optim

import (
	"math"
	"testing"
)

// TestEMA holds the average to diffusers' formula, in float64.
func TestEMA(t *testing.T) {
	average, want := []float32{1, -2, 3}, []float64{1, -2, 3}
	for step := 1; step <= 40; step++ {
		decay := EMADecay(step, 0.7)
		expect := 0.0
		if step > 1 {
			expect = math.Min(0.7, float64(step)/float64(9+step))
		}
		if decay != expect {
			t.Fatalf("step %d: decay %v, want %v", step, decay, expect)
		}
		p := []float32{float32(step), float32(step * step), -1 / float32(step)}
		EMA(average, p, decay)
		for i := range want {
			want[i] = decay*want[i] + (1-decay)*float64(p[i])
			if d := math.Abs(float64(average[i])-want[i]) / (1 + math.Abs(want[i])); d > 1e-5 {
				t.Fatalf("step %d: average %v, want %v", step, average[i], want[i])
			}
		}
	}
}
