package health

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// run gives the events of n steps.
func run(n int, step func(i int) Step) []Event {
	w := New(0.1)
	var all []Event
	for i := 1; i <= n; i++ {
		s := step(i)
		s.Step = i
		all = append(all, w.Step(s)...)
	}
	return all
}

func healthy(int) Step {
	return Step{WinnerMSE: 0.1, LoserMSE: 0.12, LogOdds: 0.002, LossRatio: -0.03, GradNorm: 1}
}

func TestRules(t *testing.T) {
	for _, test := range []struct {
		name string
		step func(i int) Step
		want []Event
	}{
		{name: "healthy", step: healthy},
		{name: "winners unlearned", step: func(i int) Step {
			s := healthy(i)
			if i > 40 {
				s.WinnerMSE = 0.2
			}
			return s
		}, want: []Event{{60, "winner", "the winners' error is 0.2 over the last 20 steps, 2.00 times its best 0.1 at step 20"}}},
		{name: "a spike", step: func(i int) Step {
			s := healthy(i)
			if i == 33 {
				s.GradNorm = 42
			}
			return s
		}, want: []Event{{33, "gradient", "the gradient norm is 42, 42.0 times the median 1"}}},
		{name: "not finite", step: func(i int) Step {
			s := healthy(i)
			if i == 50 {
				s.GradNorm = math.NaN()
			}
			return s
		}, want: []Event{{50, "gradient", "the gradient norm is NaN"}}},
		{name: "losers preferred", step: func(i int) Step {
			s := healthy(i)
			s.LogOdds = -0.001
			return s
		}, want: []Event{{40, "margin", "the margin is -0.001, below 0 for 40 steps"}}},
		{name: "saturated", step: func(i int) Step {
			s := healthy(i)
			if i > 20 {
				s.LossRatio = -0.0002
			}
			return s
		}, want: []Event{{40, "saturation", "the margin term is 0.0002, 0.3 % of what it is"}}},
		{name: "twice, with rest between", step: func(i int) Step {
			s := healthy(i)
			if i == 30 || i == 31 || i == 50 {
				s.GradNorm = 50
			}
			return s
		}, want: []Event{{30, "gradient", "the gradient norm is 50"}, {50, "gradient", "the gradient norm is 50"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := run(120, test.step)
			short := slices.Clone(got)
			for i := range short {
				if i < len(test.want) && strings.HasPrefix(short[i].Text, test.want[i].Text) {
					short[i].Text = test.want[i].Text
				}
			}
			if diff := cmp.Diff(short, test.want); diff != "" {
				t.Error(diff)
			}
		})
	}
}
