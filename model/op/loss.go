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

// PairLoss is the training loss SUMMED over items; the step divides by its number of items once, after summing
// micro-batches. Operands: the denoising errors m [S·B], S = Objective.SamplesPerItem(), all winners, then all losers
// if they count; the items' terms [B,PairTerms] in the order of the Term constants; and, with LoserSafeguard, the
// products [B] of ErrorProduct. Results: the loss, a scalar; the items' figures [B,PairStats] in the order of the Stat
// constants. The gradient goes to m.
// Formula and source: objective.Config.Pair.
type PairLoss struct {
	firstOperand
	Objective objective.Config
}

// Columns of the items' terms, as in objective.Terms.
const (
	TermRefWinner = iota
	TermRefLoser
	TermWeight
	TermMargin
	PairTerms // The number of columns.
)

// Columns of the items' figures.
const (
	StatWinnerMSE = iota
	StatLoserMSE  // 0 where losers do not count.
	StatLogOdds
	StatRatio // The preference term.
	StatLoss
	PairStats // The number of columns.
)

// Name is "pair.loss<form>".
func (l PairLoss) Name() string { return fmt.Sprintf("pair.loss<%s>", l.Objective.Form) }

// Operands is two, or three with LoserSafeguard.
func (l PairLoss) Operands() (int, int) {
	if l.Objective.LoserSafeguard {
		return 3, 3
	}
	return 2, 2
}

// Infer is the rule above.
func (l PairLoss) Infer(in []Shape) ([]Shape, error) {
	if err := l.Objective.Validate(); err != nil {
		return nil, err
	}
	per := l.Objective.SamplesPerItem()
	if len(in[0]) != 1 || in[0][0]%per != 0 || !in[1].Eq(Shape{in[0][0] / per, PairTerms}) {
		return nil, fmt.Errorf("wants errors [%d·B], winners then losers, and terms [B,%d]", per, PairTerms)
	}
	if len(in) == 3 && !in[2].Eq(Shape{in[1][0]}) {
		return nil, fmt.Errorf("wants products [%d] of the errors", in[1][0])
	}
	return []Shape{{}, {in[1][0], PairStats}}, nil
}

// VJP uses PairLossBackward.
func (l PairLoss) VJP(b *Builder, in []Node, _, dout Node) []Node {
	return append([]Node{b.Apply(PairLossBackward{Objective: l.Objective}, append([]Node{dout}, in...)...)}, make([]Node, len(in)-1)...)
}

// PairLossBackward is dm of PairLoss from the loss' gradient, a scalar, and PairLoss' operands.
type PairLossBackward struct{ Objective objective.Config }

// Name is "pair.loss.backward".
func (PairLossBackward) Name() string { return "pair.loss.backward" }

// Infer returns m's shape.
func (PairLossBackward) Infer(in []Shape) ([]Shape, error) { return []Shape{in[1]}, nil }

// ErrorProduct is the mean product of winner's and loser's errors of each pair, over all axes but the first:
//
//	p[i] = mean((pred[i] − target[i])·(pred[B+i] − target[B+i]))
//
// Operands: pred [2B,...], target [2B,...]. Result: [B]. It has no gradient: losses take it as a constant.
type ErrorProduct struct{}

// Name is "error.product".
func (ErrorProduct) Name() string { return "error.product" }

// Operands is two.
func (ErrorProduct) Operands() (int, int) { return 2, 2 }

// Infer returns [B].
func (ErrorProduct) Infer(in []Shape) ([]Shape, error) {
	if len(in[0]) < 2 || !in[0].Eq(in[1]) || in[0][0]%2 != 0 {
		return nil, fmt.Errorf("wants pred and target of one shape [2B,...]")
	}
	return []Shape{{in[0][0] / 2}}, nil
}
