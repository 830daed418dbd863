package assignment

import (
	"encoding/json"
	"testing"
)

// FuzzWords takes shares and times as another rank may have sent them: what is accepted covers
// each micro-batch once, and new shares made with any times do too.
func FuzzWords(f *testing.F) {
	f.Add([]byte(`[[0,1],[2,3,4]]`), []byte(`[0.1,0.2]`))
	f.Add([]byte(`[[0,1,2,3,4],[]]`), []byte(`[1e308,-5]`))
	f.Fuzz(func(t *testing.T, shares, seconds []byte) {
		const m, world = 5, 2
		var held [][]int
		var times []float64
		if json.Unmarshal(shares, &held) != nil || json.Unmarshal(seconds, &times) != nil || len(held) != world || len(times) != world {
			return
		}
		if err := Check(m, Rebalance(Equal(m, world), times)); err != nil {
			t.Errorf("times %v: %v", times, err)
		}
		if err := Check(m, Fill(m, held, times)); err != nil {
			t.Errorf("shares %v, times %v: %v", held, times, err)
		}
		if Check(m, held) == nil && len(held[0])+len(held[1]) != m {
			t.Errorf("shares %v are taken", held)
		}
	})
}
