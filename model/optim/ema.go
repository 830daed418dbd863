package optim

// EMADecay is the decay of the moving average at update number step, counted from 1:
//
//	0 at the first, which copies the parameters; then min(decay, (1+k)/(10+k)) with k = step−1
//
// Source: diffusers 0.42, training_utils.py, EMAModel.get_decay with its defaults.
func EMADecay(step int, decay float64) float64 {
	k := float64(step - 1)
	if k <= 0 {
		return 0
	}
	return min(decay, (1+k)/(10+k))
}

// EMA moves the average of p towards it, as EMAModel.step does: average ← average − (1−decay)·(average − p), each
// operation rounded to float32. Both have one length.
func EMA(average, p []float32, decay float64) {
	w := float32(1 - decay)
	p = p[:len(average)]
	for i, a := range average {
		average[i] = a - float32(w*(a-p[i]))
	}
}
