// Package coordinator is the shell that owns a run: it finds the workers, hands out jobs, keeps
// the run folder, and ends with evidence. What needs deciding is decided by pure machines
// (rendezvous) and pure functions (gate); here are the effects.
//
// A run passes through phases, each of which waits for events in one loop: workers join, pairs
// are encoded, the ring trains, base and tuned are sampled and compared. One goroutine owns all
// state; handlers of messages only put events into its inbox.
//
// The coordinator links no tensors: it moves files by content and JSON messages.
package coordinator
