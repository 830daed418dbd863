package wire

import (
	"fmt"
	"time"
)

// ChaosKind is a fault that a worker can do to itself.
type ChaosKind string

// The kinds of faults.
const (
	ChaosKill      ChaosKind = "kill"      // End at once, without a word.
	ChaosFreeze    ChaosKind = "freeze"    // Stand still for a while.
	ChaosPartition ChaosKind = "partition" // Hear nothing from the network for a while.
)

// maxChaos bounds how long a fault lasts.
const maxChaos = 10 * time.Minute

// Chaos is the order to a worker that allows it to hurt itself, to see how the cluster recovers.
type Chaos struct {
	Kind       ChaosKind `json:"kind"`
	DurationMS int       `json:"duration_ms,omitempty"`
}

// Duration is how long the fault lasts.
func (c Chaos) Duration() time.Duration { return time.Duration(c.DurationMS) * time.Millisecond }

// Validate checks kind and duration.
func (c Chaos) Validate() error {
	switch {
	case c.Kind != ChaosKill && c.Kind != ChaosFreeze && c.Kind != ChaosPartition:
		return fmt.Errorf("%w: fault %q must be kill, freeze or partition", ErrMessage, c.Kind)
	case c.DurationMS < 0 || c.DurationMS > int(maxChaos/time.Millisecond) || c.Kind != ChaosKill && c.DurationMS == 0:
		return fmt.Errorf("%w: fault %q of %d ms must last 1 ms to %v", ErrMessage, c.Kind, c.DurationMS, maxChaos)
	}
	return nil
}
