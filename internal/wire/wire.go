// Package wire defines what coordinator and workers say to each other: subjects, jobs, results
// and reports, all JSON, all bounded and checked on arrival. Bulk data never travels here: it is
// named by content (bus blobs) or goes around the ring (allreduce/natsring).
//
// The two sides meet only in this package, so neither imports the other.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Version is the protocol's version. A worker and a coordinator of different versions refuse
// each other at the first message.
const Version = 3

// MaxMessageBytes bounds one control message.
const MaxMessageBytes = 1 << 20

// ErrMessage reports a message that is too large or malformed. The receiver drops it.
var ErrMessage = errors.New("malformed message")

// Subjects names the subjects of one run. Those of a coordinator carry its node name, so that two
// coordinators never answer for each other.
type Subjects struct{ RunID, Coordinator string }

// Hello is where a worker introduces itself to the coordinator.
func (s Subjects) Hello() string { return s.coordinator() + ".hello" }

// Report is where workers send step reports, checkpoints and results.
func (s Subjects) Report() string { return s.coordinator() + ".report" }

// Blobs is the prefix of the coordinator's blob service.
func (s Subjects) Blobs() string { return "yohaku." + s.RunID + ".blob." + s.Coordinator }

func (s Subjects) coordinator() string { return "yohaku." + s.RunID + ".coordinator." + s.Coordinator }

// Node is where the coordinator gives orders to one worker.
func (s Subjects) Node(node string) string { return "yohaku." + s.RunID + ".node." + node }

// Claims is where a rank of a generation is asked for micro-batches that it has not begun.
func (s Subjects) Claims(epoch, generation uint64, rank int) string {
	return fmt.Sprintf("yohaku.%s.ring.%d.%d.%d.claim", s.RunID, epoch, generation, rank)
}

// Feeder is where a rank is asked to stream its state to a worker that joins.
func (s Subjects) Feeder(node string) string {
	return "yohaku." + s.RunID + ".ring." + node + ".feeder"
}

// Follower is where a worker that joins hears that stream.
func (s Subjects) Follower(node string) string {
	return "yohaku." + s.RunID + ".ring." + node + ".follower"
}

// Worker lists what the worker called node may publish and subscribe to, beside answers: its words
// to the coordinator, the coordinator's blobs, and the ring. Orders are not among what it publishes,
// nor other workers' orders and words among what it hears.
func (s Subjects) Worker(node string) (publish, subscribe []string) {
	run := "yohaku." + s.RunID
	return []string{run + ".coordinator.>", run + ".blob.>", run + ".ring.>"}, []string{s.Node(node), run + ".ring.>"}
}

// ValidToken reports whether s may stand in a subject: letters, digits, '-' and '_', 1 to 64 of them.
func ValidToken(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	}) < 0
}

// Encode writes a message. It panics on a value that JSON cannot hold, which is a bug here.
func Encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return data
}

// Decode reads a message of at most MaxMessageBytes, refusing unknown fields and trailing data.
func Decode(data []byte, v any) error {
	if len(data) > MaxMessageBytes {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrMessage, len(data), MaxMessageBytes)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if d.More() {
		return fmt.Errorf("%w: data after the message", ErrMessage)
	}
	return nil
}

// Reply answers a request: accepted, or refused with a reason for the operator.
type Reply struct {
	Error string `json:"error,omitempty"`
}

// Err is the refusal as an error, or nil.
func (r Reply) Err() error {
	if r.Error == "" {
		return nil
	}
	return errors.New(r.Error)
}
