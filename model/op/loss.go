package op

import (
	"fmt"

	"yohaku/model/objective"
)

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

// MaPO is the margin-aware preference loss SUMMED over pairs; the step divides by its number of items once, after
// summing micro-batches. Operand: the denoising errors m [2B], all winners, then all losers. Results:
// the loss, a scalar; the pairs' figures [B,MaPOStats] in the order of the Stat constants.
// Formula and source: objective.Config.Pair.
type MaPO struct {
	everyOperand
	Objective objective.Config
}

// Columns of MaPO's figures.
const (
	StatWinnerMSE = iota
	StatLoserMSE
	StatLogOdds
	StatRatio // The margin term, β·log σ(…).
	StatLoss
	MaPOStats // The number of columns.
)

// Name is "mapo<form>".
func (m MaPO) Name() string { return fmt.Sprintf("mapo<%s>", m.Objective.Form) }

// Operands is one.
func (MaPO) Operands() (int, int) { return 1, 1 }

// Infer is the rule above.
func (m MaPO) Infer(in []Shape) ([]Shape, error) {
	if err := m.Objective.Validate(); err != nil {
		return nil, err
	}
	if len(in[0]) != 1 || in[0][0]%2 != 0 {
		return nil, fmt.Errorf("wants errors [2B], winners then losers")
	}
	return []Shape{{}, {in[0][0] / 2, MaPOStats}}, nil
}

// VJP uses MaPOBackward.
func (m MaPO) VJP(b *Builder, in []Node, _, dout Node) []Node {
	return []Node{b.Apply(MaPOBackward{Objective: m.Objective}, in[0], dout)}
}

// MaPOBackward is dm of MaPO from m [2B] and the loss' gradient, a scalar.
type MaPOBackward struct{ Objective objective.Config }

// Name is "mapo.backward".
func (MaPOBackward) Name() string { return "mapo.backward" }

// Infer returns m's shape.
func (MaPOBackward) Infer(in []Shape) ([]Shape, error) { return []Shape{in[0]}, nil }
