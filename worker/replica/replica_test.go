package replica

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJudge(t *testing.T) {
	d := func(s string) Digest { return Digest{Params: s} }
	for name, tc := range map[string]struct {
		claims string // One letter a rank; two when the state changed by itself.
		want   Verdict
	}{
		"all agree":                            {"a a a", Verdict{Want: d("a")}},
		"alone":                                {"a", Verdict{Want: d("a")}},
		"alone and changed":                    {"ab", Verdict{Wrong: []int{0}, Want: d("a")}},
		"a minority":                           {"a b a", Verdict{Wrong: []int{1}, Want: d("a")}},
		"two of five, each in its own way":     {"b a a c a", Verdict{Wrong: []int{0, 3}, Want: d("a")}},
		"one of two":                           {"a b", Verdict{Undecided: []int{0, 1}}},
		"one of two, changed":                  {"ab a", Verdict{Wrong: []int{0}, Want: d("a")}},
		"two against two":                      {"a b b a", Verdict{Undecided: []int{0, 1, 2, 3}}},
		"all different":                        {"a b c", Verdict{Undecided: []int{0, 1, 2}}},
		"a changed one does not tip the scale": {"a b ba", Verdict{Wrong: []int{2}, Undecided: []int{0, 1}}},
		"a changed one has no vote":            {"xa a b b", Verdict{Wrong: []int{0, 1}, Want: d("b")}},
	} {
		var claims []Claim
		for _, c := range strings.Fields(tc.claims) {
			claims = append(claims, Claim{d(c[:1]), d(c[len(c)-1:])})
		}
		if diff := cmp.Diff(tc.want, Judge(claims)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestPartsNamesWhatDiffers(t *testing.T) {
	a := Digest{Params: "1", M: "2", V: "3", Grid: "4"}
	b := a
	b.M, b.Grid = "x", "y"
	if got := a.Parts(b); got != "first moments, exponents" {
		t.Errorf("got %q", got)
	}
	if got := a.Parts(a); got != "" {
		t.Errorf("got %q for the same digest", got)
	}
}
