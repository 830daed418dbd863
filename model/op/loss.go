package op

import "fmt"

// MSEPerSample is the mean squared error of each sample, over all axes but the first:
//
//	m[b] = mean((pred[b] − target[b])²)
//
// Operands: pred [B,...], target [B,...]. Result: [B]. The gradient goes to pred.
type MSEPerSample struct{ firstOperand }

// Name is "mse.per.sample".
func (MSEPerSample) Name() string { return "mse.per.sample" }

// Operands is two.
func (MSEPerSample) Operands() (int, int) { return 2, 2 }

// Infer returns [B].
func (MSEPerSample) Infer(in []Shape) ([]Shape, error) {
	if len(in[0]) < 2 || !in[0].Eq(in[1]) {
		return nil, fmt.Errorf("wants pred and target of one shape [B,...]")
	}
	return []Shape{{in[0][0]}}, nil
}

// VJP uses MSEPerSampleBackward.
func (MSEPerSample) VJP(b *Builder, in []Node, _, dout Node) []Node {
	return []Node{b.Apply(MSEPerSampleBackward{}, in[0], in[1], dout), nil}
}

// MSEPerSampleBackward is dpred = 2/n·(pred − target)·dm from pred, target and dm [B].
type MSEPerSampleBackward struct{}

// Name is "mse.per.sample.backward".
func (MSEPerSampleBackward) Name() string { return "mse.per.sample.backward" }

// Infer returns pred's shape.
func (MSEPerSampleBackward) Infer(in []Shape) ([]Shape, error) { return []Shape{in[0]}, nil }
