package coordinator

import (
	"strings"
	"testing"

	"yohaku/internal/wire"
)

func TestKernelSets(t *testing.T) {
	for _, test := range []struct {
		run, worker string
		mixed       bool
		want        string
	}{
		{"", "avx512", false, "avx512"},
		{"avx512", "avx512", false, "avx512"},
		{"avx512", "avx2", true, "avx2+avx512"},
		{"avx2+avx512", "avx2", false, "avx2+avx512"}, // A run that was mixed and goes on.
		{"avx512", "generic", false, ""},
	} {
		got, err := withKernelSet(test.run, wire.Hello{Node: "n", KernelSet: test.worker}, test.mixed)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%+v: got %q and error %v", test, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), "--allow-mixed-kernels") {
			t.Errorf("%+v: %v does not name the flag", test, err)
		}
	}
}
