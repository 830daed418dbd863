package objective

import (
	"math"
	"testing"

	"yohaku/internal/golden"
)

// goldenFloor is the loss from which the float32 reference is compared: below, its exp(x)−1 has
// lost too many digits.
const goldenFloor = 0.05

func TestGoldenMaPO(t *testing.T) {
	golden.Run(t, "07c_mapo_loss_function", func(t *testing.T, c *golden.Case) {
		var args struct {
			Beta  float64 `json:"beta_mapo"`
			SNR   float64 `json:"snr_value"`
			Scale float64 `json:"T"`
		}
		c.Args(t, &args)
		inputs, outputs := c.Inputs(t), c.Outputs(t)
		read := func(f interface {
			Float64s(string) ([]float64, error)
		}, name string) []float64 {
			x, err := f.Float64s(name)
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		w, l := read(inputs, "model_losses_w"), read(inputs, "model_losses_l")
		r, err := MaPO(w, l, Config{Form: ReferenceCode, Beta: args.Beta, SNR: args.SNR, Scale: args.Scale})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]func(i int) float64{
			"log_odds":     func(i int) float64 { return r.Pairs[i].LogOdds },
			"ratio_losses": func(i int) float64 { return r.Pairs[i].Ratio },
			"grad_w":       func(i int) float64 { return r.GradW[i] / float64(len(w)) },
			"grad_l":       func(i int) float64 { return r.GradL[i] / float64(len(w)) },
		}
		for name, value := range got {
			float32s, float64s := read(outputs, name), read(outputs, name+".f64")
			limit := c.MaxAbs(t, name+" (losses >= 0.05)")
			for i := range w {
				if w[i] < goldenFloor {
					continue
				}
				if d := math.Abs(value(i) - float32s[i]); !(d <= limit) {
					t.Errorf("%s[%d] = %v, float32 reference %v, difference %.2g above %.2g", name, i, value(i), float32s[i], d, limit)
				}
				// Against the float64 run of the same formula only its own cancellation is left.
				if d := math.Abs(value(i) - float64s[i]); !(d <= 1e-11) {
					t.Errorf("%s[%d] = %v, float64 reference %v", name, i, value(i), float64s[i])
				}
			}
		}
		for name, limit := range map[string]float64{"log_odds": 2e-15, "ratio_losses": 1e-12} {
			for i, want := range read(outputs, name+".expm1_f64") {
				if d := math.Abs(got[name](i) - want); !(d <= limit) {
					t.Errorf("%s[%d] = %v, expm1 reference %v, at every size of loss", name, i, got[name](i), want)
				}
			}
		}
		// The reference's exp(x)−1 is off by 1e-9 of it at losses of 1e-7, and T multiplies that.
		if want := read(outputs, "loss.f64")[0]; math.Abs(r.Mean-want) > 1e-6 {
			t.Errorf("loss %v, want %v", r.Mean, want)
		}
	})
}
