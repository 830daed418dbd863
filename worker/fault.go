package worker

import "yohaku/worker/trainstep"

// Fault lets a test spoil what a rank has in memory; each part may be nil. A real worker has none.
type Fault struct {
	Compute  func(step int, t *trainstep.Trainer)       // Before a micro-batch is computed.
	Update   func(step int, t *trainstep.Trainer)       // Within the update of the step.
	Gradient func(step, mb, tensor int, grad []float32) // As the backward pass makes it.
}

func (f Fault) compute(step int, t *trainstep.Trainer) {
	if f.Compute != nil {
		f.Compute(step, t)
	}
}

func (f Fault) update(step int, t *trainstep.Trainer) {
	if f.Update != nil {
		f.Update(step, t)
	}
}

func (f Fault) gradient(step, mb, tensor int, grad []float32) {
	if f.Gradient != nil {
		f.Gradient(step, mb, tensor, grad)
	}
}
