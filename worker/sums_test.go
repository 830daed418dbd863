package worker

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/allreduce/fixedpoint"
)

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
