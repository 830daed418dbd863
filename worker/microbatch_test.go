package worker

import (
	"testing"

	"yohaku/internal/wire"
)

// TestEmptyPrompt: the share of items is the one asked for, keyed by seed, step and item, and 0 and 1 are exact.
func TestEmptyPrompt(t *testing.T) {
	const items = 4000
	count := func(seed uint64, step int, share float64) (n int) {
		for i := range uint64(items) {
			if emptyPrompt(wire.Hyper{Seed: seed, ProportionEmptyPrompts: share}, step, i) {
				n++
			}
		}
		return n
	}
	if a, b := count(1, 1, 0), count(1, 1, 1); a != 0 || b != items {
		t.Errorf("shares 0 and 1 drop %d and %d of %d", a, b, items)
	}
	if n := count(1, 1, 0.1); n < 320 || n > 480 { // Four deviations of 19.
		t.Errorf("share 0.1 drops %d of %d", n, items)
	}
	same := 0
	for i := range uint64(items) {
		h := wire.Hyper{Seed: 1, ProportionEmptyPrompts: 0.5}
		if emptyPrompt(h, 1, i) == emptyPrompt(h, 2, i) {
			same++
		}
	}
	if same < 1870 || same > 2130 {
		t.Errorf("steps 1 and 2 agree on %d of %d draws of one half", same, items)
	}
}
