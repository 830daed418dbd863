package worker

import "yohaku/model/train"

// memory is the bound of what training takes. Beside the parameters there are two moments and the sums for each trained
// value, the moving average if one is kept, and in a ring the sums over all ranks.
func (w *Worker) memory(world int, ema bool) train.Memory {
	m := train.Memory{Limit: w.o.Memory, PerTrained: train.MomentBytes + train.SumBytes}
	if ema {
		m.PerTrained += train.ValueBytes
	}
	if world > 1 {
		m.PerTrained += train.SumBytes
	}
	return m
}

// share gives the complete sums memory of their own, in a ring. A rank that is alone has them in its partial sums.
func (r *resident) share(ring bool) {
	mine, _ := r.trainer.Sums()
	switch {
	case !ring:
		r.sums.sums = mine
	case r.alone() || r.sums.sums == nil:
		r.sums.sums = make([]int32, len(mine))
	}
}

// alone tells that the complete sums are the partial ones, which the next step overwrites.
func (r *resident) alone() bool {
	if !r.built || len(r.sums.sums) == 0 {
		return false
	}
	mine, _ := r.trainer.Sums()
	return &r.sums.sums[0] == &mine[0]
}
