package train

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"yohaku/internal/bytesize"
	"yohaku/model/compile"
	"yohaku/model/op"
)

// Memory bounds what a process that trains takes.
type Memory struct {
	Limit      int64 // Bytes of the whole process; 0 is no bound.
	PerTrained int64 // Bytes that the caller keeps for each trained value: moments and sums.
}

// What is kept for each trained value, in bytes: AdamW's two moments, the exact sums of gradients, and one more value, such as
// the moving average's.
const (
	MomentBytes = 2 * 4
	SumBytes    = 4
	ValueBytes  = 4
)

// thrift is the share of a step's time for which memory is saved unasked, as long as the temporaries take more than
// smallShare of what parameters and the caller's state of them take: below that, little would be saved.
// In mixed precision, where products take less of the time, what is computed again would take more than it seems.
const (
	thrift      = 0.04
	thriftMixed = 0.01
	smallShare  = 1.0 / 3
)

// garbage is how much of it may gather in a process that trains, about: training itself leaves none, but making it ready does.
const garbage = 8 << 20

// BoundHeap has garbage collected early in a process that trains: a large heap that lives would otherwise let as much
// garbage gather. With a limit it is also collected before the process takes more than that.
func BoundHeap(limit int64) {
	runtime.GC() // What building the graph left.
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetGCPercent(int(min(100, max(1, 100*garbage/m.HeapAlloc))))
	if limit > 0 {
		debug.SetMemoryLimit(limit)
	}
}

// reserve is what a process takes beside its plan: the program itself, and the kernels' packed operands, which grow with
// the largest layer.
func reserve(paramBytes int64) int64 { return 64<<20 + paramBytes/9 }

// fixed is what parameters, the caller's state of them, and the reserve take.
func (c Config) fixed(params, trained []op.Node) int64 {
	all, own := 4*elements(params), elements(trained)
	n := all + c.Memory.PerTrained*own + reserve(all)
	if c.Objective.NeedsReference() && c.LoRA == nil {
		n += all
	}
	return n
}

func elements(nodes []op.Node) (n int64) {
	for _, p := range nodes {
		n += int64(p.Shape().TotalSize())
	}
	return n
}

// options are those of the training program, within the bound.
func (c Config) options(params, trained []op.Node) compile.Options {
	fixed := c.fixed(params, trained)
	o := compile.Options{Profile: c.Profile, BF16: c.BF16, Thrift: thrift, EnoughBytes: int64(smallShare * float64(fixed))}
	if c.BF16 {
		o.Thrift = thriftMixed
	}
	if c.Memory.Limit > 0 {
		o.MaxSlabBytes = max(1, c.Memory.Limit-fixed)
	}
	return o
}

// explain says of a MemoryLimitError by how much the bound is too low; other errors pass.
func (c Config) explain(err error, fixed int64) error {
	var e *compile.MemoryLimitError
	if !errors.As(err, &e) {
		return err
	}
	need := fixed + e.Least
	return fmt.Errorf("memory_limit %s is %s too low: parameters, optimizer state, sums and kernels take %s, and the temporaries at least %s, with everything computed again that can be; raise it to %s, or lower train_batch_size or resolution",
		bytesize.Format(c.Memory.Limit), bytesize.Format(need-c.Memory.Limit), bytesize.Format(fixed), bytesize.Format(e.Least), bytesize.Format(need))
}
