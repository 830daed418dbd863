package replica

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestSampleIsKeyed(t *testing.T) {
	var total int
	for step := range 1000 {
		sample := Sample(7, step, 8, 0.1)
		if diff := cmp.Diff(sample, Sample(7, step, 8, 0.1)); diff != "" {
			t.Fatalf("step %d: two draws differ: %s", step, diff)
		}
		total += len(sample)
	}
	if total < 700 || total > 900 {
		t.Errorf("%d of 8000 micro-batches are sampled, want about 800", total)
	}
	if got := Sample(7, 3, 4, 1); len(got) != 4 {
		t.Errorf("ratio 1 samples %v of 4", got)
	}
	if got := Sample(7, 3, 4, 0); got != nil {
		t.Errorf("ratio 0 samples %v", got)
	}
}

func TestAuditors(t *testing.T) {
	for name, tc := range map[string]struct {
		sample []int
		shares [][]int
		want   []int
	}{
		"alone":                   {[]int{0, 2}, [][]int{{0, 1, 2}}, []int{0, 0}},
		"the other of two":        {[]int{0, 3}, [][]int{{0, 1}, {2, 3}}, []int{1, 0}},
		"in proportion to speed":  {[]int{0, 1, 2, 3}, [][]int{{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9}}, []int{1, 1, 2, 1}},
		"nobody else has a share": {[]int{0}, [][]int{{0, 1}, {}}, []int{1}},
	} {
		if diff := cmp.Diff(tc.want, Auditors(tc.sample, tc.shares)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestJudgeVotes(t *testing.T) {
	votes := func(s string) []Vote {
		var all []Vote
		for i := 0; i < len(s); i += 2 {
			all = append(all, Vote{Rank: int(s[i] - '0'), Digest: s[i+1 : i+2]})
		}
		return all
	}
	for name, tc := range map[string]struct {
		votes            string
		want             string
		wrong, undecided []int
	}{
		"the owner, once":          {"0x1a0a1a", "a", []int{0}, nil},
		"the auditor, once":        {"0a1x0a1a", "a", []int{1}, nil},
		"always, by two others":    {"0x1a0x1a2a", "a", []int{0}, nil},
		"always, one of two":       {"0x1a0x1a", "", nil, []int{0, 1}},
		"alone":                    {"0x0a0a", "a", []int{0}, nil},
		"alone and never the same": {"0x0y0z", "", nil, []int{0}},
	} {
		want, wrong, undecided := JudgeVotes(votes(tc.votes))
		if diff := cmp.Diff([]any{tc.want, tc.wrong, tc.undecided}, []any{want, wrong, undecided}, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
