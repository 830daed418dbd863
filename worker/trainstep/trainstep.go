// Package trainstep is one rank's arithmetic of a training step: micro-batches → gradients →
// exact integer sums → (the ring, elsewhere) → one AdamW update. It knows no network and no
// clock, and takes the same path at every world size.
//
// Invariants: the parameters after a step depend only on the parameters before it, the optimizer
// state, the exponents and the plan — not on who computed which micro-batch, nor on how often an
// attempt was voided.
package trainstep

import (
	"fmt"
	"slices"

	"yohaku/allreduce/fixedpoint"
	"yohaku/internal/assert"
	"yohaku/model/kernel"
	"yohaku/model/optim"
)

// Model computes gradients of micro-batches. Its parameters and gradients have one order: that in
// which the backward pass makes the gradients.
type Model interface {
	// Params are the trainable parameters in gradient order. The slices stay the same for good.
	Params() []Param
	// Gradients computes micro-batch mb of step at the present parameters, and calls onGrad once
	// for each parameter i, in order, with the gradient of the sum over the items. The slice is
	// valid within the call only.
	Gradients(step, mb int, onGrad func(i int, grad []float32)) (Stats, error)
}

// Param is a trainable parameter.
type Param struct {
	Name string
	Data []float32
}

// Hyper is what the update needs.
type Hyper struct {
	Optimizer    optim.AdamW
	LearningRate func(step int) float64
	MaxGradNorm  float64
	EMADecay     float64 // Of the parameters' moving average; 0 keeps none.
	MicroBatches int
	ItemsPerStep int
	Audited      func(step int) []int // Micro-batches whose gradients' digests are wanted; nil for none.
	Format       fixedpoint.Format    // Of the sums on the wire, which they are rounded for.
	Seed         uint64               // Of stochastic rounding.
}

// Trainer holds what a rank carries from step to step.
type Trainer struct {
	model  Model
	hyper  Hyper
	params []Param
	layout *fixedpoint.Layout
	grid   *fixedpoint.Grid
	state  State
	sums   []int32 // This rank's, of the current attempt.
	needed fixedpoint.Exponents
	pieces *pieces
	adding adding
	onGrad func(i int, grad []float32) // t.gradient, made once.
	bad    []NonFinite
	base   fixedpoint.Exponents // Those at the beginning of the step, once it was recalibrated; else nil.
}

// adding is the micro-batch whose gradient is added.
type adding struct {
	step, mb int
	sum      gradientSum
	added    func(i int)
}

// gradient takes gradient i of the micro-batch at hand.
func (t *Trainer) gradient(i int, grad []float32) {
	t.adding.sum.add(grad)
	t.add(t.adding.step, t.adding.mb, i, grad)
	if t.adding.added != nil {
		t.adding.added(i)
	}
}

// State is the optimizer's part of a checkpoint; its slabs are in gradient order.
type State struct {
	M, V      []float32
	EMA       []float32 // The parameters' moving average; nil for none.
	Exponents fixedpoint.Exponents
	Updates   int // Updates made: steps less those skipped.
}

// NonFinite names where a gradient was not finite.
type NonFinite struct {
	MicroBatch int
	Param      string
}

// New returns a trainer with an optimizer at rest and exponents that the first step calibrates. It works on the threads
// of pool, between which it may be called only as the pool itself.
func New(model Model, h Hyper, pool *kernel.Pool) (*Trainer, error) {
	params := model.Params()
	lens := make([]int, len(params))
	for i, p := range params {
		lens[i] = len(p.Data)
	}
	layout := fixedpoint.NewLayout(lens)
	grid, err := fixedpoint.NewGrid(layout, h.Format, h.MicroBatches)
	if err != nil {
		return nil, fmt.Errorf("plan exact sums: %w", err)
	}
	n := layout.Elements()
	t := &Trainer{
		model: model, hyper: h, params: params, layout: layout, grid: grid,
		state:  State{M: make([]float32, n), V: make([]float32, n), Exponents: fixedpoint.NewNeeded(layout.Blocks())},
		sums:   make([]int32, n),
		needed: fixedpoint.NewNeeded(layout.Blocks()),
		pieces: newPieces(pool, layout),
	}
	if h.EMADecay > 0 {
		t.state.EMA = make([]float32, n)
	}
	t.onGrad = t.gradient
	t.pieces.addTask, t.pieces.normTask, t.pieces.applyTask = t.accumulate, t.square, t.apply
	return t, nil
}

// Layout is the block table of the sums.
func (t *Trainer) Layout() *fixedpoint.Layout { return t.layout }

// Format is how the sums travel.
func (t *Trainer) Format() fixedpoint.Format { return t.grid.Format() }

// State is the live optimizer state, to be read between steps or filled before the first.
func (t *Trainer) State() *State { return &t.state }

// Reset puts the optimizer at rest, and has the next step calibrate the exponents, as New does.
func (t *Trainer) Reset() {
	clear(t.state.M)
	clear(t.state.V)
	t.state.Updates = 0
	fixedpoint.ResetNeeded(t.state.Exponents)
	t.base = nil
}

// BeginEMA makes the moving average the present parameters, if one is kept.
func (t *Trainer) BeginEMA() {
	if t.state.EMA == nil {
		return
	}
	at := 0
	for _, p := range t.params {
		at += copy(t.state.EMA[at:], p.Data)
	}
}

// Params are the model's parameters in gradient order.
func (t *Trainer) Params() []Param { return t.params }

// Clear empties the partial sums.
func (t *Trainer) Clear() {
	clear(t.sums)
	fixedpoint.ResetNeeded(t.needed)
	t.bad = t.bad[:0]
}

// Add adds the gradient of micro-batch mb of step to the partial sums, and calls added, if not nil,
// for each parameter once its part is in them: until the next Add nothing changes that part, so
// it may be read already. After an error they hold part of it, and have to be cleared.
func (t *Trainer) Add(step, mb int, added func(i int)) (Stats, error) {
	t.adding = adding{step: step, mb: mb, added: added}
	if t.hyper.Audited != nil && slices.Contains(t.hyper.Audited(step), mb) {
		t.adding.sum.begin()
	}
	s, err := t.model.Gradients(step, mb, t.onGrad)
	sum := t.adding.sum
	t.adding = adding{}
	if err != nil {
		return Stats{}, fmt.Errorf("compute micro-batch %d of step %d: %w", mb, step, err)
	}
	s.MicroBatch, s.Gradient = mb, sum.text()
	return s, nil
}

// Audit computes the gradient of a micro-batch and returns its digest; the sums stay as they are.
func (t *Trainer) Audit(step, mb int) (string, error) {
	var sum gradientSum
	sum.begin()
	if _, err := t.model.Gradients(step, mb, func(_ int, grad []float32) { sum.add(grad) }); err != nil {
		return "", fmt.Errorf("compute micro-batch %d of step %d again: %w", mb, step, err)
	}
	return sum.text(), nil
}

// Compute is Clear, then Add for each of the micro-batches.
func (t *Trainer) Compute(step int, microBatches []int) ([]Stats, error) {
	t.Clear()
	stats := make([]Stats, 0, len(microBatches))
	for _, mb := range microBatches {
		s, err := t.Add(step, mb, nil)
		if err != nil {
			return nil, err
		}
		stats = append(stats, s)
	}
	return stats, nil
}

// Sums are this rank's integers and the exponents its blocks need, for the ring; they stay
// untouched until the next Compute.
func (t *Trainer) Sums() ([]int32, fixedpoint.Exponents) { return t.sums, t.needed }

// Bad names the gradients in the partial sums that were not finite.
func (t *Trainer) Bad() []NonFinite { return t.bad }

// Overflowed tells whether the attempt is void, given the exponents needed over all ranks.
func (t *Trainer) Overflowed(needed fixedpoint.Exponents) bool {
	return fixedpoint.Overflowed(t.state.Exponents, needed)
}

// Recalibrate raises the exponents for another attempt at the same step.
func (t *Trainer) Recalibrate(needed fixedpoint.Exponents) {
	if t.base == nil {
		t.base = slices.Clone(t.state.Exponents)
	}
	t.grid.Raise(t.state.Exponents, t.state.Exponents, needed)
}

// Revert takes the exponents back to those before any Recalibrate of the step.
func (t *Trainer) Revert() {
	if t.base != nil {
		copy(t.state.Exponents, t.base)
		t.base = nil
	}
}

// Adopt takes the exponents that complete sums from elsewhere were rounded with, before Apply.
func (t *Trainer) Adopt(exps fixedpoint.Exponents) {
	copy(t.state.Exponents, exps)
	t.base = nil
}

// Update is what one update did.
type Update struct {
	GradNorm     float64 // Before clipping.
	LearningRate float64
}

// Apply updates the parameters by the total sums over all ranks, with the exponents needed:
//
//	g = 2^E · sums / items,  norm = ‖g‖₂,  p ← AdamW(p, g · min(1, max/(norm + 1e-6)))
//
// then their moving average (see optim.EMA), and moves the exponents on. With skip it only moves the exponents on.
func (t *Trainer) Apply(step int, total []int32, needed fixedpoint.Exponents, skip bool) Update {
	if want := t.layout.Elements(); len(total) != want { // Arguments of a call would be allocated.
		assert.That(false, "sums of %d elements, want %d", len(total), want)
	}
	u := Update{LearningRate: t.hyper.LearningRate(step)}
	if !skip {
		u.GradNorm = t.norm(total)
		t.update(total, u.LearningRate, optim.ClipCoefficient(u.GradNorm, t.hyper.MaxGradNorm))
	}
	t.grid.Next(t.state.Exponents, t.state.Exponents, needed)
	t.base = nil
	return u
}
