package compile

import (
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
	Time     time.Duration // Mean over the runs.
	FLOPs    int64
}

// Profile returns the instructions in order with their mean time over all runs. It wants Options.Profile.
func (e *Executable) Profile() []InstructionProfile {
	var r []InstructionProfile
	for i, c := range e.program.code {
		r = append(r, InstructionProfile{Op: c.def.Name(), Scope: c.scope, Backward: c.backward, Again: c.again,
			Operands: e.program.operandShapes(c), Time: e.profile[i] / time.Duration(max(1, e.runs)), FLOPs: e.flops(c)})
	}
	return r
}

// ResetProfile forgets what was measured so far, such as the warm-up.
func (e *Executable) ResetProfile() {
	clear(e.profile)
	e.runs = 0
}
