package trainstep

import (
	"cmp"
	"slices"
)

// Stats are figures of one micro-batch, each a sum over its items.
type Stats struct {
	MicroBatch int
	Items      int
	Loss       float64
	LossRatio  float64
	WinnerMSE  float64
	LoserMSE   float64
	LogOdds    float64
	Gradient   string `json:"gradient,omitempty"` // Digest of the float gradient, where it is audited.
}

// Mean combines the micro-batches of a step in the order of the plan, whoever computed them, and
// returns the means over items; MicroBatch is their number.
func Mean(all []Stats) Stats {
	slices.SortFunc(all, func(a, b Stats) int { return cmp.Compare(a.MicroBatch, b.MicroBatch) })
	sum := Stats{MicroBatch: len(all)}
	for _, s := range all {
		sum.Items += s.Items
		sum.Loss += s.Loss
		sum.LossRatio += s.LossRatio
		sum.WinnerMSE += s.WinnerMSE
		sum.LoserMSE += s.LoserMSE
		sum.LogOdds += s.LogOdds
	}
	n := float64(sum.Items)
	if n == 0 {
		return sum
	}
	for _, f := range []*float64{&sum.Loss, &sum.LossRatio, &sum.WinnerMSE, &sum.LoserMSE, &sum.LogOdds} {
		*f /= n
	}
	return sum
}
