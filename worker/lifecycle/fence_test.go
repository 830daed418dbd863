package lifecycle_test

import (
	"errors"
	"strings"
	"testing"

	"yohaku/worker/lifecycle"
)

// TestFence plays words of coordinators to one worker, in order.
func TestFence(t *testing.T) {
	f := lifecycle.NewFence("a", 1)
	for i, tc := range []struct {
		from   string
		epoch  uint64
		begin  uint64 // A generation's number that the order then names; 0 for none.
		taken  bool
		fenced bool
		begun  bool
	}{
		{from: "a", epoch: 1, begin: 1, begun: true},
		{from: "a", epoch: 1, begin: 3, begun: true},
		{from: "a", epoch: 1, begin: 2},
		{from: "a", epoch: 1, begin: 3},
		{from: "b", epoch: 1, fenced: true},           // Another one of the same epoch: the first holds it.
		{from: "b", epoch: 2, taken: true},            // Taken over.
		{from: "a", epoch: 1, begin: 4, fenced: true}, // The old one goes on, and is not heard.
		{from: "b", epoch: 2, begin: 2, begun: true},  // The epoch counts first: b need not know that a came to 3.
		{from: "b", epoch: 2, begin: 2},
		{from: "b", epoch: 2, begin: 4, begun: true},
		{from: "c", epoch: 2, fenced: true},
		{from: "a", epoch: 5, taken: true},
		{from: "b", epoch: 2, fenced: true},
	} {
		taken, err := f.Hear(tc.from, tc.epoch)
		var fenced *lifecycle.FencedError
		if taken != tc.taken || errors.As(err, &fenced) != tc.fenced {
			t.Errorf("word %d of %s with epoch %d: taken %v, error %v; want taken %v, fenced %v", i, tc.from, tc.epoch, taken, err, tc.taken, tc.fenced)
		}
		if err != nil && !strings.Contains(err.Error(), "held by "+f.Coordinator()) {
			t.Errorf("word %d: %v does not say who holds the worker", i, err)
		}
		if err == nil && tc.begin > 0 {
			if begun := f.Begin(lifecycle.Generation{Epoch: tc.epoch, Number: tc.begin}); begun != tc.begun {
				t.Errorf("word %d: generation %d.%d begun %v, want %v", i, tc.epoch, tc.begin, begun, tc.begun)
			}
		}
	}
	if got, want := f.Highest(), (lifecycle.Generation{Epoch: 5}); got != want || f.Coordinator() != "a" {
		t.Errorf("highest %v of %s, want %v of a", got, f.Coordinator(), want)
	}
}

func TestGenerationsAreOrderedByEpochFirst(t *testing.T) {
	all := []lifecycle.Generation{{1, 1}, {1, 2}, {2, 2}, {2, 3}, {3, 1}}
	for i, g := range all {
		for j, h := range all {
			if got := g.Before(h); got != (i < j) {
				t.Errorf("%v before %v: %v, want %v", g, h, got, i < j)
			}
		}
	}
}
