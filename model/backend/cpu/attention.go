package cpu

import (
	"yohaku/model/backend"
	"yohaku/model/kernel"
	"yohaku/model/op"
)

func attentionArgs(d op.Attention, in []op.Shape) kernel.AttentionArgs {
	q, k := in[0], in[1]
	return kernel.AttentionArgs{Batch: q[0], Heads: d.Heads, Queries: q[1], Keys: k[1], Dim: q[2] / d.Heads,
		Causal: d.Causal, Scale: float32(d.Factor(q[2]))}
}

// attention never holds the probabilities of more than a block of keys.
func (be *Backend) attention(d op.Attention, in []op.Shape) backend.Kernel {
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		args := attentionArgs(d, in)
		args.Q, args.K, args.V, args.O, args.LogSums = a.In[0], a.In[1], a.In[2], a.Out[0], statsOf(a)
		return func() error {
			be.pool.AttentionForward(&args)
			return nil
		}
	}}
}

// attentionBackward recomputes the probabilities from the logarithms of the sums.
func (be *Backend) attentionBackward(d op.Attention, in []op.Shape) backend.Kernel {
	return backend.Kernel{Bind: func(a backend.Args) func() error {
		args := attentionArgs(d, in)
		args.Q, args.K, args.V, args.O, args.LogSums, args.DO = a.In[0], a.In[1], a.In[2], a.In[3], a.In[4], a.In[5]
		args.DQ, args.DK, args.DV = a.Out[0], a.Out[1], a.Out[2]
		return func() error {
			be.pool.AttentionBackward(&args)
			return nil
		}
	}}
}
