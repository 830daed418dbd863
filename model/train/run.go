package train

import "yohaku/model/op"

// ItemStats are one item's figures, dimensionless.
type ItemStats struct {
	WinnerMSE float64 // Mean over C·h·w.
	LoserMSE  float64
	LogOdds   float64 // f(WinnerMSE) − f(LoserMSE).
	Ratio     float64 // The margin term, β·log σ(T·LogOdds).
	Loss      float64
}

// Result is what a micro-batch gave.
type Result struct {
	Loss  float64     // The sum over the items.
	Items []ItemStats // In the order filled.
}

// Run computes the micro-batch that Fill wrote at the present parameters. It calls onGrad, if not nil, with each
// gradient of the summed loss as soon as it is final, in GradOrder; the slice is valid within the call only.
func (s *Step) Run(onGrad func(i int, grad []float32)) (Result, error) {
	if err := s.exe.Run(onGrad); err != nil {
		return Result{}, err
	}
	r := Result{Items: make([]ItemStats, s.config.Items)}
	stats := s.exe.Output(1)
	for i := range r.Items {
		row := stats[i*op.MaPOStats : (i+1)*op.MaPOStats]
		r.Items[i] = ItemStats{
			WinnerMSE: float64(row[op.StatWinnerMSE]), LoserMSE: float64(row[op.StatLoserMSE]),
			LogOdds: float64(row[op.StatLogOdds]), Ratio: float64(row[op.StatRatio]), Loss: float64(row[op.StatLoss]),
		}
		r.Loss += r.Items[i].Loss
	}
	return r, nil
}
