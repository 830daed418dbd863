package worker

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/allreduce/fixedpoint"
)

// FuzzSums: what another rank hands over is checked before it is used.
func FuzzSums(f *testing.F) {
	c := complete{sums: []int32{1, 2}, exps: fixedpoint.Exponents{3}, needed: fixedpoint.Exponents{4}}
	data, err := c.encode(1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		got := complete{make([]int32, 2), make(fixedpoint.Exponents, 1), make(fixedpoint.Exponents, 1)}
		if err := got.decode(data, 1); err != nil {
			return
		}
		again, err := got.encode(1)
		if err != nil {
			t.Fatal(err)
		}
		if err := got.decode(again, 1); err != nil {
			t.Errorf("what was read cannot be read again: %v", err)
		}
	})
}

func TestSumsTravelWhole(t *testing.T) {
	want := complete{sums: []int32{1, -2, 1 << 30, -1 << 31}, exps: fixedpoint.Exponents{-126, 3}, needed: fixedpoint.Exponents{fixedpoint.NonFinite, -7}}
	data, err := want.encode(4)
	if err != nil {
		t.Fatal(err)
	}
	empty := func(sums, exps int) complete {
		return complete{make([]int32, sums), make(fixedpoint.Exponents, exps), make(fixedpoint.Exponents, exps)}
	}
	got := empty(4, 2)
	if err := got.decode(data, 4); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(complete{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, bad := range map[string]struct {
		data []byte
		step int
		into complete
	}{
		"another step":       {data, 5, empty(4, 2)},
		"another model":      {data, 4, empty(5, 2)},
		"other blocks":       {data, 4, empty(4, 1)},
		"cut off":            {data[:len(data)-1], 4, empty(4, 2)},
		"not a file of sums": {[]byte("no"), 4, empty(4, 2)},
	} {
		if err := bad.into.decode(bad.data, bad.step); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
