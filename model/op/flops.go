package op

// FLOPs counts the floating-point operations of the matrix products in d, a multiply and an add as
// two; elementwise work counts as none, as is usual for comparing with a machine's peak.
func FLOPs(d Def, in, out []Shape) int64 {
	switch d := d.(type) {
	case Conv2D:
		return 2 * size(out[0]) * size(in[1]) / int64(last(in[1]))
	case Conv2DBackwardInput:
		return 2 * size(in[1]) * size(in[0]) / int64(last(in[0]))
	case Conv2DBackwardWeight:
		return 2 * size(in[1]) * size(d.Weight) / int64(last(d.Weight))
	case Linear:
		return 2 * size(out[0]) * int64(last(in[0]))
	case LinearBackwardInput, LinearBackwardWeight:
		return 2 * size(in[1]) * int64(last(out[0]))
	case Attention:
		return 4 * size(in[0]) * int64(in[1][1])
	case AttentionBackward:
		return 10 * size(in[0]) * int64(in[1][1])
	}
	return 0
}

func size(s Shape) int64 { return int64(s.TotalSize()) }
