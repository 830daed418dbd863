// Package rng gives counter-based random numbers: Philox4x32-10, keyed by what is drawn and never
// by who draws it. A Key names a seed, a domain, a step and an item; the same Key gives the same
// numbers on every worker, in every order and at every world size, so a run can be resumed or
// replayed in any grouping.
//
// Invariants: streams of different domains never overlap, nor do those of different (step, item);
// all arithmetic is pure Go with the multiply and add kept apart, so the bits do not depend on the
// processor.
//
// Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011); the known-answer
// vectors of its Random123 library are in the test.
package rng
