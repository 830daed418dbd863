package compile

import (
	"fmt"
	"math"
	"time"

	"yohaku/model/backend"
	"yohaku/model/op"
)

// Options of a compilation.
type Options struct {
	Debug    bool // Fill memory with NaN as it dies, so that a use after that shows.
	Profile  bool // Measure each instruction; see Executable.Profile.
	Unshared bool // No result overwrites an operand. For tests: the bits must not change.
	Unfused  bool // No fusion. For tests and profiles.

	BF16 bool // Products take their factors in bf16.

	// MaxSlabBytes bounds the temporaries; 0 is no bound. Results of the forward pass are computed again in the backward
	// pass until they fit; the bits stay the same.
	MaxSlabBytes int64
	// Thrift is the share of the time that may be spent on computing results again where no bound asks for it, until the
	// temporaries take no more than EnoughBytes.
	Thrift      float64
	EnoughBytes int64
}

// ParamInfo is a parameter, or a gradient under its parameter's name.
type ParamInfo struct {
	Name   string
	Shape  op.Shape
	Offset int // First element in the parameter slab; −1 for the gradient of an input.
	Len    int // Elements.
}

// Executable is a program bound to memory. It belongs to one goroutine.
type Executable struct {
	program   *program
	memory    *memory
	options   Options
	slab      []float32
	params    []ParamInfo     // Those with a gradient first.
	trained   int             // How many those are,
	trainedTo int             // and where they end in the slab.
	paramAt   map[op.Node]int // Offset in the parameter slab.
	paramSize int             // Elements of the parameter slab.
	paramSlab []float32
	inputs    map[op.Node][]float32
	inputName map[string]op.Node
	inputInfo []ParamInfo
	owned     [][]float32 // Memory of outputs and constants, by storage.
	gradOrder []ParamInfo
	steps     []step
	early     []emission      // Gradients that are leaves: ready before the first instruction.
	profile   []time.Duration // With Profile: what each instruction took in all runs,
	started   []time.Duration // and when it started
	lasted    []time.Duration // and what it took in the last.
	began     time.Time       // The last run.
	runs      int
}

// step is an instruction ready to run.
type step struct {
	run   func() error
	grads []emission
	dying [][]float32 // With Debug: what to poison after it.
}

// emission is a gradient that is final after its step.
type emission struct {
	index int // In gradOrder.
	data  []float32
}

// Compile lowers the nodes that outputs and grads need to a program for be, plans its memory and
// binds it. grads are nodes that b.Grad returned; nil compiles a forward program. It returns an
// error when a node is of another graph, or be cannot run an operator on its shapes.
func Compile(b *op.Builder, be backend.Backend, outputs, grads []op.Node, o Options) (*Executable, error) {
	e, err := prepare(b, be, outputs, grads, o)
	if err != nil {
		return nil, err
	}
	e.allocate(b, be)
	e.bind()
	return e, nil
}

// Estimate returns the plan that Compile would make, without allocating its memory, and Compile's error.
func Estimate(b *op.Builder, be backend.Backend, outputs, grads []op.Node, o Options) (PlanInfo, error) {
	e, err := prepare(b, be, outputs, grads, o)
	if err != nil {
		return PlanInfo{}, err
	}
	return e.Plan(), nil
}

// prepare does all that needs no memory.
func prepare(b *op.Builder, be backend.Backend, outputs, grads []op.Node, o Options) (*Executable, error) {
	p, err := lower(b, outputs, grads)
	if err != nil {
		return nil, err
	}
	if !o.Unfused {
		fuse(p)
	}
	if o.BF16 {
		mix(p)
	}
	e := &Executable{program: p, options: o, paramAt: map[op.Node]int{}, inputs: map[op.Node][]float32{}, inputName: map[string]op.Node{}}
	if err := e.choose(be, func(*instruction) bool { return true }); err != nil {
		return nil, err
	}
	if err := e.fit(be); err != nil {
		return nil, err
	}
	e.place(b.Params(), p.grads)
	return e, nil
}

// place gives each parameter its place in the slab: those with a gradient first, each kind in the network's order.
func (e *Executable) place(params []op.Node, grads []gradient) {
	trained := map[op.Node]bool{}
	for _, g := range grads {
		trained[g.of] = true
	}
	for _, kind := range []bool{true, false} {
		for _, n := range params {
			if trained[n] != kind {
				continue
			}
			size := n.Shape().TotalSize()
			e.params = append(e.params, ParamInfo{Name: n.Name(), Shape: n.Shape(), Offset: e.paramSize, Len: size})
			e.paramAt[n] = e.paramSize
			e.paramSize += align(size)
		}
		if kind {
			e.trained, e.trainedTo = len(e.params), e.paramSize
		}
	}
}

// choose asks be for the kernels of the instructions that which selects.
func (e *Executable) choose(be backend.Backend, which func(*instruction) bool) error {
	p := e.program
	for _, c := range p.code {
		if !which(c) {
			continue
		}
		var err error
		if c.kernel, err = be.Choose(c.def, p.operandShapes(c), p.resultShapes(c)); err != nil {
			return fmt.Errorf("compile %s in %q: %w", c.def.Name(), c.scope, err)
		}
	}
	return nil
}

// fit plans the memory, within the bound if there is one.
func (e *Executable) fit(be backend.Backend) error {
	share := !e.options.Unshared
	plan := func(p *program) *memory { return layBuffers(p, share) }
	if e.options.Thrift > 0 && e.options.MaxSlabBytes == 0 {
		e.program = thrift(e.program, e.options.Thrift, int(e.options.EnoughBytes/4), plan)
	}
	if limit := e.options.MaxSlabBytes; limit != 0 {
		var err error
		if e.program, err = rematerialize(e.program, int(limit/4), plan); err != nil {
			return err
		}
	}
	if err := e.choose(be, func(c *instruction) bool { return c.again }); err != nil {
		return err
	}
	e.memory = planMemory(e.program, share)
	return nil
}

// allocate gets all memory.
func (e *Executable) allocate(b *op.Builder, be backend.Backend) {
	e.paramSlab = be.Alloc(e.paramSize)
	for _, n := range b.Inputs() {
		size := n.Shape().TotalSize()
		e.inputs[n] = be.Alloc(size)
		e.inputName[n.Name()] = n
		e.inputInfo = append(e.inputInfo, ParamInfo{Name: n.Name(), Shape: n.Shape(), Offset: -1, Len: size})
	}
	e.slab = be.Alloc(e.memory.slab)
	e.owned = make([][]float32, len(e.program.storages))
	for i, s := range e.program.storages {
		switch s.kind {
		case output:
			e.owned[i] = be.Alloc(s.size)
		case constant:
			e.owned[i] = be.Alloc(1)
			e.owned[i][0] = s.constant
		}
	}
	n := len(e.program.code)
	e.profile, e.started, e.lasted = make([]time.Duration, n), make([]time.Duration, n), make([]time.Duration, n)
}

// data is the memory of a value.
func (e *Executable) data(v int) []float32 {
	id := e.program.values[v].storage
	s := &e.program.storages[id]
	switch s.kind {
	case input:
		return e.inputs[s.node]
	case parameter:
		at := e.paramAt[s.node]
		return e.paramSlab[at : at+s.size : at+s.size]
	case temporary:
		at := e.memory.buffers[s.buffer].offset
		return e.slab[at : at+s.size : at+s.size]
	}
	return e.owned[id]
}

// bind fixes the memory of each instruction and the order of the gradients.
func (e *Executable) bind() {
	p := e.program
	e.steps, e.early, e.gradOrder = make([]step, len(p.code)), nil, nil
	made := map[int]int{} // Storage → instruction.
	for i, c := range p.code {
		e.steps[i].run = c.kernel.Bind(e.args(i, c))
		for _, v := range c.results {
			if v >= 0 {
				made[p.values[v].storage] = i
			}
		}
	}
	e.order(made)
	if e.options.Debug {
		for _, b := range e.memory.buffers {
			e.steps[b.last].dying = append(e.steps[b.last].dying, e.slab[b.offset:b.offset+b.size])
		}
	}
}

func (e *Executable) args(i int, c *instruction) backend.Args {
	a := backend.Args{In: make([][]float32, len(c.operands)), Out: make([][]float32, len(c.results))}
	for j, v := range c.operands {
		a.In[j] = e.data(v)
	}
	for j, v := range c.results {
		if v >= 0 {
			a.Out[j] = e.data(v)
		}
	}
	if s := e.memory.scratch[i]; s >= 0 {
		b := e.memory.buffers[s]
		a.Scratch = e.slab[b.offset : b.offset+c.kernel.Scratch : b.offset+c.kernel.Scratch]
	}
	return a
}

// order lists the gradients as the instructions make them.
func (e *Executable) order(made map[int]int) {
	byStep := make([][]gradient, len(e.steps)+1) // Entry 0: leaves.
	for _, g := range e.program.grads {
		at := 0
		if i, ok := made[e.program.values[g.value].storage]; ok {
			at = i + 1
		}
		byStep[at] = append(byStep[at], g)
	}
	for at, list := range byStep {
		for _, g := range list {
			offset, ok := e.paramAt[g.of]
			if !ok {
				offset = -1
			}
			em := emission{index: len(e.gradOrder), data: e.data(g.value)}
			e.gradOrder = append(e.gradOrder, ParamInfo{Name: g.of.Name(), Shape: g.of.Shape(), Offset: offset, Len: g.of.Shape().TotalSize()})
			if at == 0 {
				e.early = append(e.early, em)
			} else {
				e.steps[at-1].grads = append(e.steps[at-1].grads, em)
			}
		}
	}
}

// Params lists the parameters, whether the program uses them or not: those with a gradient first, each kind in the
// order the network made them.
func (e *Executable) Params() []ParamInfo { return e.params }

// Trained lists the parameters with a gradient, and the part of the parameter slab that they fill.
func (e *Executable) Trained() (params []ParamInfo, slab []float32) {
	return e.params[:e.trained:e.trained], e.paramSlab[:e.trainedTo:e.trainedTo]
}

// Frozen lists the parameters without a gradient, with their offsets in the memory that holds them. It is laid out as
// the parameter slab of a program with these parameters alone.
func (e *Executable) Frozen() (params []ParamInfo, slab []float32) {
	for _, p := range e.params[e.trained:] {
		p.Offset -= e.trainedTo
		params = append(params, p)
	}
	return params, e.paramSlab[e.trainedTo:]
}

// ParamSlab is the memory of all parameters. The gaps between them are zero.
func (e *Executable) ParamSlab() []float32 { return e.paramSlab }

// BindParams makes the program use slab, of another program with the same parameters in the same
// order. It panics when the length differs.
func (e *Executable) BindParams(slab []float32) {
	if len(slab) != len(e.paramSlab) {
		panic(fmt.Sprintf("invariant broken: parameter slab of %d values bound to a program with %d", len(slab), len(e.paramSlab)))
	}
	e.paramSlab = slab
	e.bind()
}

// Input is the memory of an input, to be written before Run. It panics when there is none of that name.
func (e *Executable) Input(name string) []float32 {
	n, ok := e.inputName[name]
	if !ok {
		panic(fmt.Sprintf("invariant broken: the program has no input %q", name))
	}
	return e.inputs[n]
}

// Inputs lists the inputs in the order they were made; Offset is −1.
func (e *Executable) Inputs() []ParamInfo { return e.inputInfo }

// Output is the memory of output i, valid until the next Run.
func (e *Executable) Output(i int) []float32 { return e.data(e.program.outputs[i]) }

// OutputShape is the shape of output i.
func (e *Executable) OutputShape(i int) op.Shape { return e.program.values[e.program.outputs[i]].shape }

// GradOrder lists the gradients in the order the backward pass finishes them.
func (e *Executable) GradOrder() []ParamInfo { return e.gradOrder }

// Run computes the program. As soon as gradient i of GradOrder is final, onGrad, which may be nil,
// is called with it; the slice is valid within the call only and must not be written.
// It returns the first error of an instruction: an index operand outside its table.
func (e *Executable) Run(onGrad func(i int, grad []float32)) error {
	if e.options.Debug {
		fillNaN(e.slab)
	}
	if e.options.Profile {
		e.began = time.Now()
	}
	emit(e.early, onGrad)
	for i := range e.steps {
		s := &e.steps[i]
		if err := e.runStep(i, s); err != nil {
			return fmt.Errorf("run %s in %q: %w", e.program.code[i].def.Name(), e.program.code[i].scope, err)
		}
		emit(s.grads, onGrad)
		for _, d := range s.dying {
			fillNaN(d)
		}
	}
	e.runs++
	return nil
}

func (e *Executable) runStep(i int, s *step) error {
	if !e.options.Profile {
		return s.run()
	}
	start := time.Now()
	err := s.run()
	e.started[i], e.lasted[i] = start.Sub(e.began), time.Since(start)
	e.profile[i] += e.lasted[i]
	return err
}

func emit(list []emission, onGrad func(int, []float32)) {
	if onGrad == nil {
		return
	}
	for _, g := range list {
		onGrad(g.index, g.data)
	}
}

func fillNaN(x []float32) {
	nan := float32(math.NaN())
	for i := range x {
		x[i] = nan
	}
}
