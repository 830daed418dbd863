package wire

import (
	"reflect"
	"testing"
)

// FuzzMessages decodes bytes as each message that travels. What is accepted and valid survives
// encoding, and is within the bounds that receivers rely on.
func FuzzMessages(f *testing.F) {
	for _, m := range []any{
		Hello{Protocol: Version, Node: "w", KernelSet: "avx2"},
		Order{Job: &Job{ID: "j", Kind: JobTrain, Train: &TrainJob{Nodes: []string{"a", "b"}, First: [][]int{{0}, {1}}, Shares: [][]int{{0}, {1}}, Until: 3}}},
		Order{Trust: &Trust{GossipKeys: [][]byte{make([]byte, 32)}, Revoked: []string{"w"}}}, Order{Chaos: &Chaos{Kind: ChaosKill}},
		Report{Node: "w", Done: &Done{Holding: &Holding{Partial: []int{1}}}}, Report{Steps: []StepReport{{Step: 1}}},
		WelcomeExtra{NATSURL: "nats://h"}, Meta{Route: "h:1"}, Reply{Error: "e"},
	} {
		f.Add(Encode(m))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range []any{&Hello{}, &Order{}, &Report{}, &WelcomeExtra{}, &Meta{}, &Reply{}} {
			if Decode(data, kind) != nil {
				continue
			}
			again := reflect.New(reflect.TypeOf(kind).Elem()).Interface()
			if err := Decode(Encode(kind), again); err != nil {
				t.Errorf("%T does not survive encoding: %v", kind, err)
			}
			if o, ok := kind.(*Order); ok {
				checkOrder(t, *o)
			}
		}
	})
}

func checkOrder(t *testing.T, o Order) {
	if o.Job != nil && o.Job.Validate() == nil && o.Job.Kind == JobTrain {
		if j := o.Job.Train; j.Rank >= len(j.Nodes) || len(j.Shares) != len(j.Nodes) || len(j.First) != len(j.Nodes) {
			t.Errorf("valid train job of rank %d with %d nodes, %d and %d shares", j.Rank, len(j.Nodes), len(j.First), len(j.Shares))
		}
	}
	if o.Chaos != nil && o.Chaos.Validate() == nil && o.Chaos.Duration() > maxChaos {
		t.Errorf("valid fault of %v", o.Chaos.Duration())
	}
}

// FuzzBatch decodes bytes as a batch of pairs.
func FuzzBatch(f *testing.F) {
	good, err := Batch{{ID: "a", Prompt: "p", Winner: []byte{1}, Loser: []byte{2, 3}}}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := DecodeBatch(data)
		if err != nil {
			return
		}
		total := 0
		for _, p := range b {
			total += len(p.Winner) + len(p.Loser)
		}
		if len(b) > MaxBatchPairs || total > 2*len(b)*len(data) {
			t.Errorf("%d pairs of %d bytes from %d bytes", len(b), total, len(data))
		}
	})
}
