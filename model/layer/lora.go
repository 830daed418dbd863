package layer

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"yohaku/model/op"
)

// LoRA says which linear maps and convolutions have a low-rank adapter beside their weight W:
//
//	y = W·x + (Alpha/Rank)·B·(A·x),  A [Rank,in], B [out,Rank]
//
// For a convolution A has W's kernel and stride, and B is 1×1. The adapter's parameters are <module>.lora_A.weight and
// <module>.lora_B.weight, as in PEFT. Source: Hu et al., arXiv:2106.09685; peft 0.21, tuners/lora/layer.py.
type LoRA struct {
	Rank    int
	Alpha   float64
	Targets []string // A module is adapted when its path is one of these or ends with a dot and one of these.
}

// The names of an adapter's two parameters, after the module's path.
const (
	loraA = "lora_A.weight"
	loraB = "lora_B.weight"
)

// Validate returns an error that names the key, the value and the rule when l is not usable.
func (l LoRA) Validate() error {
	switch {
	case l.Rank < 1:
		return fmt.Errorf("lora_rank must be at least 1, got %d", l.Rank)
	case !(l.Alpha > 0) || math.IsInf(l.Alpha, 0):
		return fmt.Errorf("lora_alpha must be a finite number above 0, got %v", l.Alpha)
	case len(l.Targets) == 0 || slices.Contains(l.Targets, ""):
		return fmt.Errorf("lora_targets must name at least one module, such as to_q, got %q", l.Targets)
	}
	return nil
}

// Scale is Alpha/Rank.
func (l LoRA) Scale() float64 { return l.Alpha / float64(l.Rank) }

// Adapts tells whether the module at path has an adapter. It may be called on nil, which adapts none.
func (l *LoRA) Adapts(path string) bool {
	return l != nil && slices.ContainsFunc(l.Targets, func(t string) bool { return path == t || strings.HasSuffix(path, "."+t) })
}

// Check returns an error that names a target which no adapted module of b's network has. It may be called on nil.
func (l *LoRA) Check(b *op.Builder) error {
	if l == nil {
		return nil
	}
	for _, t := range l.Targets {
		one := LoRA{Targets: []string{t}}
		if !slices.ContainsFunc(b.Params(), func(p op.Node) bool {
			module, ok := strings.CutSuffix(p.Name(), "."+loraA)
			return ok && one.Adapts(module)
		}) {
			return fmt.Errorf("lora_targets: %q is no linear map or convolution of this network; name modules as diffusers does, such as to_q", t)
		}
	}
	return nil
}

// AdaptedModule returns the module that the adapter's parameter belongs to, and whether it is A, the lower matrix. It
// returns "" for other parameters.
func AdaptedModule(name string) (path string, down bool) {
	if path, ok := strings.CutSuffix(name, "."+loraA); ok {
		return path, true
	}
	path, ok := strings.CutSuffix(name, "."+loraB)
	if !ok {
		return "", false
	}
	return path, false
}

// IsAdapter tells whether a parameter is an adapter's, by its name.
func IsAdapter(name string) bool {
	path, _ := AdaptedModule(name)
	return path != ""
}

// adaptLinear adds the adapter's part to y, which the linear map m makes of x, if it has one.
func (m Module) adaptLinear(y, x op.Node) op.Node {
	if !m.LoRA.Adapts(m.Path) {
		return y
	}
	h := m.Apply(op.Linear{}, x, m.B.Param(m.join(loraA), m.LoRA.Rank, Channels(x)))
	return m.Apply(op.Add{}, y, m.Apply(op.Linear{}, m.scaled(h), m.B.Param(m.join(loraB), Channels(y), m.LoRA.Rank)))
}

// adaptConv is adaptLinear for a convolution of the given kernel.
func (m Module) adaptConv(y, x op.Node, kernel int, conv op.Conv2D) op.Node {
	if !m.LoRA.Adapts(m.Path) {
		return y
	}
	h := m.Apply(conv, x, m.B.Param(m.join(loraA), kernel, kernel, Channels(x), m.LoRA.Rank))
	up := m.B.Param(m.join(loraB), 1, 1, m.LoRA.Rank, Channels(y))
	return m.Apply(op.Add{}, y, m.Apply(op.Conv2D{Stride: 1}, m.scaled(h), up))
}

// scaled is Scale·h, on the few channels between A and B.
func (m Module) scaled(h op.Node) op.Node {
	if m.LoRA.Scale() == 1 {
		return h
	}
	return m.Apply(op.Scale{By: m.LoRA.Scale()}, h)
}
