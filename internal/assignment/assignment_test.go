package assignment

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShares(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want [][]int
	}{
		{"equal", Equal(5, 2), [][]int{{0, 1, 2}, {3, 4}}},
		{"more ranks than work", Equal(1, 2), [][]int{{0}, {}}},
		{"half as fast", BySpeed(20, []float64{1, 1, 2})[2:], [][]int{{16, 17, 18, 19}}},
		{"unknown counts as the mean", BySpeed(4, []float64{3, 0}), [][]int{{0, 1}, {2, 3}}},
		{"small gain", Rebalance([][]int{{0, 1}, {2, 3}}, []float64{1, 1.05}), [][]int{{0, 1}, {2, 3}}},
		{"large gain", Rebalance([][]int{{0, 1}, {2, 3}}, []float64{1, 3}), [][]int{{0, 1, 2}, {3}}},
		{"fill", Fill(6, [][]int{{4, 1}, {}, {0}}, []float64{1, 1, 1}), [][]int{{1, 2, 4}, {3}, {0, 5}}},
		{"fill drops the second of two", Fill(2, [][]int{{1}, {1}}, []float64{1, 1}), [][]int{{0, 1}, {}}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestEveryMicroBatchOnce(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 0))
		m, world := 1+r.IntN(20), 1+r.IntN(6)
		have, seconds := make([][]int, world), make([]float64, world)
		for rank := range world {
			seconds[rank] = r.Float64() * float64(r.IntN(3))
			for range r.IntN(4) {
				have[rank] = append(have[rank], r.IntN(m+2)-1)
			}
		}
		for _, shares := range [][][]int{Equal(m, world), BySpeed(m, seconds), Fill(m, have, seconds), Rebalance(Equal(m, world), seconds)} {
			if err := Check(m, shares); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		}
	}
	for _, bad := range [][][]int{{{0}}, {{0, 1}, {1}}, {{0, 1, 2}}, {{-1, 0, 1}}} {
		if Check(2, bad) == nil {
			t.Errorf("shares %v of 2 pass", bad)
		}
	}
}
