package kernel

import (
	"strings"
	"testing"

	"yohaku/internal/isa"
)

func TestChoose(t *testing.T) {
	sets := []*kernelSet{{name: "avx2"}, {name: "generic"}}
	for _, c := range []struct {
		name, want string
		refused    bool
	}{
		{"", "avx2", false},
		{"generic", "generic", false},
		{"avx512", "avx2", true}, // Known, but not on this processor.
		{"sse", "avx2", true},
	} {
		got, err := choose(c.name, sets)
		if got.name != c.want || (err != nil) != c.refused {
			t.Errorf("choose(%q) = %s, %v; want %s, an error: %v", c.name, got.name, err, c.want, c.refused)
		}
		if c.refused && !(strings.Contains(err.Error(), isa.Variable) && strings.Contains(err.Error(), c.name)) {
			t.Errorf("choose(%q): %v names neither the variable nor the value", c.name, err)
		}
	}
}

func TestAvailableEndsWithGeneric(t *testing.T) {
	sets := available()
	if last := sets[len(sets)-1]; last != genericSet {
		t.Errorf("the last set is %s", last.name)
	}
	for _, s := range sets {
		if s.mr > maxWidth || s.nr > maxWidth || s.mr*s.nr > maxWidth*maxWidth {
			t.Errorf("%s has tiles of %d by %d, more than the scratch holds", s.name, s.mr, s.nr)
		}
	}
}
