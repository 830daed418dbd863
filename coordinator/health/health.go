// Package health watches the figures of a training run and says, each time in one sentence with its numbers, when they
// look as they do before pictures break. It is a pure function of the committed steps in their order, so every cluster and every restart gives
// the same warnings at the same steps. It changes nothing: a decision that changes training has to be taken by all ranks at a step that the
// plan fixes, and is not taken here.
package health

import (
	"fmt"
	"math"
	"slices"
)

// Step is what is watched of a committed step: means over its items.
type Step struct {
	Step      int     `json:"step"`
	WinnerMSE float64 `json:"winner_mse"`
	LoserMSE  float64 `json:"loser_mse"`
	LogOdds   float64 `json:"log_odds"`   // The margin f(w) − f(l).
	LossRatio float64 `json:"loss_ratio"` // β·log σ(T·margin): −β·ln 2 at margin 0, 0 when the link is saturated.
	GradNorm  float64 `json:"grad_norm"`
}

// Event is one warning.
type Event struct {
	Step int    `json:"step"`
	Rule string `json:"rule"`
	Text string `json:"text"`
}

// The rules' bounds. A window is the mean over so many steps; windows do not overlap.
const (
	window       = 20
	winnerRise   = 1.5  // Times its best window.
	gradSpike    = 30.0 // Times the median of the last window. A healthy run with one label in ten turned has seen 13.
	saturated    = 0.05 // Of the preference term at margin 0.
	marginWindow = 2    // Windows in a row with a negative margin.
)

// Watch is the state of the rules. Make it with New.
type Watch struct {
	beta     float64 // Weight of the margin term; 0 where the loss has none.
	steps    []Step  // Of the window under way.
	best     float64 // Least winner's error of a window.
	bestAt   int
	median   float64 // Of the gradient norm in the last whole window; 0 before.
	negative int     // Windows in a row.
	said     map[string]bool
}

// New watches a run whose margin term has weight beta; 0 when the loss has no such term.
func New(beta float64) *Watch {
	return &Watch{beta: beta, best: math.Inf(1), said: map[string]bool{}}
}

// Step takes the next committed step and returns what there is to warn of. Each rule speaks once until it holds again.
func (w *Watch) Step(s Step) []Event {
	var events []Event
	say := func(rule string, holds bool, format string, args ...any) {
		if holds && !w.said[rule] {
			events = append(events, Event{s.Step, rule, fmt.Sprintf(format, args...)})
		}
		w.said[rule] = holds
	}
	say("gradient", w.median > 0 && !(s.GradNorm <= gradSpike*w.median),
		"the gradient norm is %.3g, %.1f times the median %.3g of the window before: a bad batch, or a learning rate that is too high", s.GradNorm, s.GradNorm/w.median, w.median)
	if w.steps = append(w.steps, s); len(w.steps) < window {
		return events
	}
	winner, loser := w.mean(func(s Step) float64 { return s.WinnerMSE }), w.mean(func(s Step) float64 { return s.LoserMSE })
	margin, ratio := w.mean(func(s Step) float64 { return s.LogOdds }), w.mean(func(s Step) float64 { return s.LossRatio })
	say("winner", !(winner <= winnerRise*w.best),
		"the winners' error is %.3g over the last %d steps, %.2f times its best %.3g at step %d (losers: %.3g): the model unlearns what it should draw; lower --learning-rate, or use a checkpoint from before", winner, window, winner/w.best, w.best, w.bestAt, loser)
	if w.negative++; !(margin < 0) {
		w.negative = 0
	}
	say("margin", w.negative >= marginWindow,
		"the margin is %.3g, below 0 for %d steps: the model prefers the losers; look for turned labels with coordinator data audit --model", margin, w.negative*window)
	say("saturation", w.beta > 0 && math.Abs(ratio) < saturated*w.beta*math.Ln2,
		"the margin term is %.2g, %.1f %% of what it is at margin 0 (margin %.3g): it is saturated and pulls no more; further steps only fit the winners", math.Abs(ratio), 100*math.Abs(ratio)/(w.beta*math.Ln2), margin)
	if winner < w.best {
		w.best, w.bestAt = winner, s.Step
	}
	w.turn()
	return events
}

func (w *Watch) mean(of func(Step) float64) float64 {
	sum := 0.0
	for _, s := range w.steps {
		sum += of(s)
	}
	return sum / float64(len(w.steps))
}

// turn begins the next window.
func (w *Watch) turn() {
	norms := make([]float64, len(w.steps))
	for i, s := range w.steps {
		norms[i] = s.GradNorm
	}
	slices.Sort(norms)
	w.median, w.steps = norms[len(norms)/2], w.steps[:0]
}
