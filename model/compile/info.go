package compile

import (
	"slices"
	"time"

	"yohaku/model/op"
)

// PlanInfo says what a program costs.
type PlanInfo struct {
	Instructions int
	SlabBytes    int64 // The planned slab of temporaries.
	LiveBytes    int64 // The most that lives at one time: the slab's lower bound.
	ParamBytes   int64
	FLOPs        int64 // Of the matrix products, see op.FLOPs; without those that are computed again.
	Again        int   // Instructions that compute a result again, to save memory.
	AgainFLOPs   int64 // Of theirs.
}

// Plan returns what the program costs.
func (e *Executable) Plan() PlanInfo {
	info := PlanInfo{
		Instructions: len(e.program.code),
		SlabBytes:    4 * int64(e.memory.slab),
		LiveBytes:    4 * int64(e.memory.live),
		ParamBytes:   4 * int64(e.paramSize),
	}
	for _, c := range e.program.code {
		if c.again {
			info.Again++
			info.AgainFLOPs += e.flops(c)
			continue
		}
		info.FLOPs += e.flops(c)
	}
	return info
}

func (e *Executable) flops(c *instruction) int64 {
	return op.FLOPs(unwrap(c.def), e.program.operandShapes(c), c.shapes) // An addend comes last, and is not looked at.
}

// InstructionProfile is what one instruction took.
type InstructionProfile struct {
	Op       string
	Scope    string // Where in the network.
	Backward bool
	Again    bool // Computed a second time, to save memory.
	Operands []op.Shape
	Results  []op.Shape
	Time     time.Duration // Mean over the runs.
	Start    time.Duration // In the last run, from its beginning.
	Last     time.Duration // What it took then.
	FLOPs    int64
}

// Bytes are those of operands and results, each read or written once.
func (p InstructionProfile) Bytes() int64 {
	n := 0
	for _, s := range append(slices.Clone(p.Operands), p.Results...) {
		n += s.TotalSize()
	}
	return 4 * int64(n)
}

// Profile returns the instructions in order with their mean time over all runs. It wants Options.Profile.
func (e *Executable) Profile() []InstructionProfile {
	var r []InstructionProfile
	for i, c := range e.program.code {
		r = append(r, InstructionProfile{Op: c.def.Name(), Scope: c.scope, Backward: c.backward, Again: c.again,
			Operands: e.program.operandShapes(c), Results: made(e.program.resultShapes(c)), Start: e.started[i], Last: e.lasted[i], Time: e.profile[i] / time.Duration(max(1, e.runs)), FLOPs: e.flops(c)})
	}
	return r
}

// made are the shapes of the results that are needed.
func made(results []op.Shape) []op.Shape {
	return slices.DeleteFunc(results, func(s op.Shape) bool { return s == nil })
}

// ResetProfile forgets what was measured so far, such as the warm-up.
func (e *Executable) ResetProfile() {
	clear(e.profile)
	e.runs = 0
}
