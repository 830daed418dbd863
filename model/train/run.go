package train

import (
	"fmt"

	"yohaku/model/op"
)

// ItemStats are one item's figures, dimensionless.
type ItemStats struct {
	WinnerMSE float64 // Mean over C·h·w.
	LoserMSE  float64 // 0 where losers do not count.
	LogOdds   float64 // LogOdds, Ratio and Loss as in objective.Pair.
	Ratio     float64
	Loss      float64
}

// Result is what a micro-batch gave.
type Result struct {
	Loss  float64     // The sum over the items.
	Items []ItemStats // In the order filled; valid until the next Run.
}

// Run computes the micro-batch that Fill wrote at the present parameters. It calls onGrad, if not nil, with each
// gradient of the summed loss as soon as it is final, in GradOrder; the slice is valid within the call only.
func (s *Step) Run(onGrad func(i int, grad []float32)) (Result, error) {
	if err := s.refer(); err != nil {
		return Result{}, err
	}
	if err := s.exe.Run(onGrad); err != nil {
		return Result{}, err
	}
	r := Result{Items: s.stats}
	stats := s.exe.Output(1)
	for i := range r.Items {
		row := stats[i*op.PairStats : (i+1)*op.PairStats]
		r.Items[i] = ItemStats{
			WinnerMSE: float64(row[op.StatWinnerMSE]), LoserMSE: float64(row[op.StatLoserMSE]),
			LogOdds: float64(row[op.StatLogOdds]), Ratio: float64(row[op.StatRatio]), Loss: float64(row[op.StatLoss]),
		}
		r.Loss += r.Items[i].Loss
	}
	return r, nil
}

// refer runs the reference model on the same samples, and hands its errors to the loss.
func (s *Step) refer() error {
	if s.reference == nil {
		return nil
	}
	for _, in := range s.reference.Inputs() {
		copy(s.reference.Input(in.Name), s.exe.Input(in.Name))
	}
	if err := s.reference.Run(nil); err != nil {
		return fmt.Errorf("run the reference model: %w", err)
	}
	errors, terms := s.reference.Output(0), s.exe.Input(inputTerms)
	for i := range s.config.Items {
		row := terms[i*op.PairTerms:]
		row[op.TermRefWinner], row[op.TermRefLoser] = errors[i], errors[s.config.Items+i]
	}
	return nil
}
