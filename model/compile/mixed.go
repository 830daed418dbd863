package compile

import (
	"yohaku/model/backend"
	"yohaku/model/op"
)

// mix has products take their factors in bf16, as PyTorch's autocast does: convolutions, linears and attention. What they
// give, what is added, norms, activations and losses are float32, and so are the parameters that are trained.
func mix(p *program) {
	for _, c := range p.code {
		switch d := c.def.(type) {
		case backend.Accumulate:
			c.def = backend.Accumulate{Product: backend.BF16{Product: d.Product}}
		case op.Conv2D, op.Conv2DBackwardInput, op.Conv2DBackwardWeight, op.Linear, op.LinearBackwardInput, op.LinearBackwardWeight,
			op.Attention, op.AttentionBackward:
			c.def = backend.BF16{Product: d}
		}
	}
}
