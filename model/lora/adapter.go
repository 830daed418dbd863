package lora

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"yohaku/model/checkpoint"
	"yohaku/model/layer"
)

// Adapter is a set of adapted modules of one network.
type Adapter struct {
	Modules map[string]Module // By the module's path, such as mid_block.attentions.0….to_q.
}

// Module is the adapter of one module, in the layout of files:
//
//	W ← W + Alpha/Rank·Up·Down
//
// For a linear map Down is [rank,in] and Up [out,rank]; for a convolution [rank,in,kh,kw] and [out,rank,1,1].
type Module struct {
	Down, Up           []float32
	DownShape, UpShape []int
	Alpha              float64
}

// Rank is the number of Down's outputs.
func (m Module) Rank() int { return m.DownShape[0] }

// Scale is Alpha/Rank.
func (m Module) Scale() float64 { return m.Alpha / float64(m.Rank()) }

// check holds the two shapes to each other. Both are below what a file can hold, so products do not overflow.
func (m Module) check() error {
	d, u := m.DownShape, m.UpShape
	switch {
	case m.Down == nil || m.Up == nil:
		return fmt.Errorf("has only one of its two matrices")
	case len(d) != len(u) || len(d) != 2 && len(d) != 4:
		return fmt.Errorf("has shapes %v and %v: both must have 2 axes, or 4 for a convolution", d, u)
	case d[0] != u[1]:
		return fmt.Errorf("has shapes %v and %v: rank %d is not rank %d", d, u, d[0], u[1])
	case len(u) == 4 && (u[2] != 1 || u[3] != 1):
		return fmt.Errorf("has shape %v: the upper convolution must be 1×1", u)
	case !(m.Alpha > 0):
		return fmt.Errorf("has alpha %v: it must be above 0", m.Alpha)
	}
	return nil
}

// Paths are the modules' paths, sorted.
func (a Adapter) Paths() []string { return slices.Sorted(maps.Keys(a.Modules)) }

// FromParams makes the adapter of a network's trained parameters, which are in the engine's layout. It panics when they
// are not pairs of layer.LoRA's.
func FromParams(params []checkpoint.Param, l layer.LoRA) Adapter {
	a := Adapter{Modules: map[string]Module{}}
	for _, p := range params {
		path, down := layer.AdaptedModule(p.Name)
		m := a.Modules[path]
		m.Alpha = l.Alpha
		if down {
			m.Down, m.DownShape = checkpoint.ToFile(p), checkpoint.FileShape(p.Shape)
		} else {
			m.Up, m.UpShape = checkpoint.ToFile(p), checkpoint.FileShape(p.Shape)
		}
		a.Modules[path] = m
	}
	for path, m := range a.Modules {
		if err := m.check(); err != nil {
			panic(fmt.Sprintf("invariant broken: adapter of %s %v", path, err))
		}
	}
	return a
}

// Fill writes the adapter to a network's adapter parameters. It returns an error that names what does not fit: a module
// that is missing or too many, another shape, or another scale than l's.
func (a Adapter) Fill(params []checkpoint.Param, l layer.LoRA) error {
	left := maps.Clone(a.Modules)
	for _, p := range params {
		path, down := layer.AdaptedModule(p.Name)
		m, ok := a.Modules[path]
		if !ok {
			return fmt.Errorf("adapter: module %s is missing; was it trained with other lora_targets?", path)
		}
		delete(left, path)
		if m.Scale() != l.Scale() {
			return fmt.Errorf("adapter: module %s has alpha %v and rank %d, want lora_alpha %v and lora_rank %d", path, m.Alpha, m.Rank(), l.Alpha, l.Rank)
		}
		data, shape := m.Up, m.UpShape
		if down {
			data, shape = m.Down, m.DownShape
		}
		if want := checkpoint.FileShape(p.Shape); !slices.Equal(shape, want) {
			return fmt.Errorf("adapter: %s is %v, the network needs %v", p.Name, shape, want)
		}
		checkpoint.FromFile(p, data)
	}
	if len(left) > 0 {
		return fmt.Errorf("adapter: the network has no adapter at %s", strings.Join(slices.Sorted(maps.Keys(left)), ", "))
	}
	return nil
}

// Config are the rank, alpha and targets of a, if they are the same in all its modules.
func (a Adapter) Config() (layer.LoRA, error) {
	var l layer.LoRA
	for i, path := range a.Paths() {
		m := a.Modules[path]
		if i == 0 {
			l.Rank, l.Alpha = m.Rank(), m.Alpha
		}
		if m.Rank() != l.Rank || m.Alpha != l.Alpha {
			return l, fmt.Errorf("adapter: module %s has rank %d and alpha %v, others %d and %v: training goes on only from adapters of one rank", path, m.Rank(), m.Alpha, l.Rank, l.Alpha)
		}
		l.Targets = append(l.Targets, path)
	}
	if len(l.Targets) == 0 {
		return l, fmt.Errorf("adapter: it has no modules")
	}
	return l, nil
}

// Modules lists the paths of the modules that have a weight among a network's parameters, adapters left out.
func Modules(params []checkpoint.Param) []string {
	var modules []string
	for _, p := range params {
		if path, ok := strings.CutSuffix(p.Name, ".weight"); ok && !layer.IsAdapter(p.Name) {
			modules = append(modules, path)
		}
	}
	return modules
}
