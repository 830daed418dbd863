package natsring

import (
	"errors"
	"fmt"
	"time"
)

// ErrClosed is returned by operations on a Ring that is closed, or is closed while they run.
var ErrClosed = errors.New("ring is closed")

// PeerLostError reports that a rank fell silent. The operation is void at every rank; the caller
// keeps its own sums and waits for the next generation.
type PeerLostError struct {
	Generation uint64
	Rank       int
	Silence    time.Duration // Since its last frame; since the operation began when it never sent one.
	Err        error         // The transport's own error, when there is one.
}

func (e *PeerLostError) Error() string {
	s := fmt.Sprintf("rank %d of generation %d has been silent for %v", e.Rank, e.Generation, e.Silence.Round(time.Millisecond))
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *PeerLostError) Unwrap() error { return e.Err }

// AbortedError reports that another rank gave the attempt up, for instance because its context
// ended. Call the step's operations again with a higher Attempt, or wait for the next generation.
type AbortedError struct {
	Generation uint64
	Rank       int // Who gave up.
	Operation  Operation
	Reason     string
}

func (e *AbortedError) Error() string {
	return fmt.Sprintf("rank %d of generation %d gave up step %d attempt %d: %s", e.Rank, e.Generation, e.Operation.Step, e.Operation.Attempt, e.Reason)
}

// SupersededError reports that the previous rank has left this operation for another one, so that it
// cannot end. Call the step's operations again with at least the attempt that Seen has; when Seen has
// a later step, the other ranks have this step's sums already.
type SupersededError struct {
	Generation      uint64
	Rank            int // Who is ahead.
	Operation, Seen Operation
}

func (e *SupersededError) Error() string {
	return fmt.Sprintf("rank %d of generation %d left step %d attempt %d bucket %d for step %d attempt %d bucket %d", e.Rank, e.Generation,
		e.Operation.Step, e.Operation.Attempt, e.Operation.Bucket, e.Seen.Step, e.Seen.Attempt, e.Seen.Bucket)
}

// ChunkLostError reports that NATS lost a chunk, as it does when a connection breaks. Call the
// step's operations again with a higher Attempt.
type ChunkLostError struct {
	Generation uint64
	Rank       int // Who sent it.
	Operation  Operation
	Chunk      int
}

func (e *ChunkLostError) Error() string {
	return fmt.Sprintf("chunk %d of step %d attempt %d bucket %d from rank %d of generation %d was lost on the way", e.Chunk,
		e.Operation.Step, e.Operation.Attempt, e.Operation.Bucket, e.Rank, e.Generation)
}

// reason is why a rank gives an attempt up, as it travels.
type reason uint32

const (
	reasonLost reason = 1 + iota // Another rank fell silent.
	reasonCancelled
	reasonChunkLost
	reasonSuperseded
	reasonInvalid
	reasonTransport
	reasonTally
)

var reasonTexts = map[reason]string{
	reasonCancelled:  "its caller stopped waiting",
	reasonChunkLost:  "a chunk was lost on the way",
	reasonSuperseded: "another rank started over",
	reasonInvalid:    "the ranks disagree about the operation",
	reasonTransport:  "it could not publish",
	reasonTally:      "micro-batches were in the sums twice or not at all",
}

func (r reason) String() string {
	if s, ok := reasonTexts[r]; ok {
		return s
	}
	return fmt.Sprintf("reason %d", uint32(r))
}

// TallyError reports that some micro-batches were in the ranks' sums twice, or in none. The attempt is void at every
// rank, for all buckets: the others get an AbortedError. Agree again on who has which micro-batches, and call the step's
// operations with a higher Attempt.
type TallyError struct {
	Generation     uint64
	Operation      Operation
	Twice, Missing int // Micro-batches. Missing is below 0 when there are more than the step has.
}

func (e *TallyError) Error() string {
	return fmt.Sprintf("of step %d attempt %d, %d micro-batches were in the sums twice and %d in none", e.Operation.Step, e.Operation.Attempt, e.Twice, e.Missing)
}
