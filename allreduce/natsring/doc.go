// Package natsring runs collective operations of one generation over NATS: AllReduce sums vectors of
// int32, at once or bucket by bucket while the last ones are still computed (Begin), AllGather hands everyone's small byte string to everyone.
//
// Rank r publishes chunks to its next rank and takes chunks from its previous one:
//
//	yohaku.<run>.ring.<epoch>.<generation>.<rank>.data   to rank, from its previous rank: data, beat, abort
//	yohaku.<run>.ring.<epoch>.<generation>.<rank>.ack    to rank, from its next rank: ack, abort
//
// Every frame starts with a binary header (frame.go), all of it checked. NATS delivers at most once
// and in order for one subject and connection. So
//
//   - a chunk is published only with credit: at most Window chunks of an operation are ahead of the
//     next rank's cumulative acknowledgement, which comes every half window. The next rank's queue
//     holds all that can be in flight, so a slow reader is never dropped;
//   - nothing is sent before an ack has said that a beat got through, so that a rank which starts
//     late misses nothing. What arrives before one's own call is kept, at most 4 windows;
//   - beats say how much was sent: one that is ahead of what arrived means that NATS lost a chunk.
//
// Beats and acks repeat a few times per silence limit, whether or not an operation runs, so a neighbour
// that computes is told from one that is dead. A rank that fails tells both neighbours, they tell
// theirs, and the operation fails everywhere within the silence limit.
//
// A reduction's chunks also carry their bucket and the micro-batches in them: overlapping or missing ones void the attempt.
//
// All ranks call the same operations in the same order. After an error the step's operations are void
// at all ranks: call them again, from the first, with a higher Operation.Attempt. The inputs are
// never written, so nothing is lost. An operation can end well at one rank and fail at another: a rank
// that tries again what the others have completed gets a SupersededError once they go on, and takes
// the result from one of them. While they call nothing, only its context ends the attempt, so a run's last
// result needs a word after it, such as an AllGather that may fail.
//
// Structure: machine is the pure core (no clock, no I/O); Ring is its shell and owns it in one goroutine.
package natsring
