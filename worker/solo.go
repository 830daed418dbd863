package worker

import (
	"context"

	"yohaku/allreduce/natsring"
)

// ring is what a rank needs of the other ranks: natsring's, or none at all.
type ring interface {
	AllReduce(ctx context.Context, op natsring.Operation, sums []int32, needed []int8, outSums []int32, outNeeded []int8) error
	AllGather(ctx context.Context, op natsring.Operation, name string, mine []byte) ([][]byte, error)
}

// solo is the ring of a rank that computes alone, without a network: what it has is the total.
type solo struct{}

// AllReduce implements ring.
func (solo) AllReduce(ctx context.Context, _ natsring.Operation, sums []int32, needed []int8, outSums []int32, outNeeded []int8) error {
	copy(outSums, sums)
	copy(outNeeded, needed)
	return context.Cause(ctx)
}

// AllGather implements ring.
func (solo) AllGather(ctx context.Context, _ natsring.Operation, _ string, mine []byte) ([][]byte, error) {
	return [][]byte{mine}, context.Cause(ctx)
}
