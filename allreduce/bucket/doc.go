// Package bucket cuts the gradients of a layout into buckets of bounded size, the unit that goes
// round the ring at a time.
//
// The layout's tensors stand in the order in which the backward pass makes their gradients, so the
// first bucket is complete, and can travel, while the last tensors are still being computed.
//
// Invariants: buckets cover all elements and blocks in order, begin and end on block borders, and
// are not above the bound unless one block alone is.
package bucket
