package diffusion

import "testing"

func TestMinSNRWeight(t *testing.T) {
	s := &Schedule{AlphasCumprod: []float32{0.9375, 0.5, 0}, PredictionType: Epsilon} // SNR 15, 1, 0.
	for _, test := range []struct {
		prediction string
		t          int
		gamma      float64
		want       float32
	}{
		{Epsilon, 0, 0, 1}, {Epsilon, 0, 5, 1. / 3}, {Epsilon, 1, 5, 1}, {Epsilon, 2, 5, 1},
		{VPrediction, 0, 5, 5. / 16}, {VPrediction, 1, 5, 0.5}, {VPrediction, 2, 5, 0},
		{SampleType, 0, 5, 5}, {SampleType, 1, 5, 1},
	} {
		s.PredictionType = test.prediction
		if got := s.MinSNRWeight(test.t, test.gamma); got != test.want {
			t.Errorf("%s, timestep %d, gamma %g: weight %g, want %g", test.prediction, test.t, test.gamma, got, test.want)
		}
	}
}
