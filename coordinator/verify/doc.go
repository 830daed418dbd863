// Package verify checks what a run folder says of itself, by reading alone: that the ledger's
// chain is whole, that every micro-batch of every step counts exactly once, and that metrics and
// checkpoints agree with the ledger. It also finds what a step is computed again from.
//
// The chain shows changes by whoever does not rewrite all that follows: nothing outside the run
// folder vouches for its last line. Computing a step again does.
package verify
