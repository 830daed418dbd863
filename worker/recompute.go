package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/rs/zerolog"

	"yohaku/allreduce/natsring"
	"yohaku/internal/wire"
	"yohaku/model/backend/cpu"
	"yohaku/model/kernel"
	"yohaku/worker/lifecycle"
)

// Recomputation says which steps to compute again, and from which files.
type Recomputation struct {
	Base      string   // The base model's pipeline folder.
	State     string   // The checkpoint's folder; "" when FirstStep is 0.
	Shards    []string // Files of latents, in the order of the pairs.
	Pairs     int
	FirstStep int // Steps that State holds already.
	To        int // The last step to compute again.
	LastStep  int // Of the run, which the learning rate depends on.
	Hyper     wire.Hyper
	KernelSet string // Of the run.
	Threads   int    // 0: one for each core.

	// Step gets every computed step, as a worker reports it; its error ends the work.
	Step func(wire.StepReport) error
}

// KernelSetError says that this machine cannot give the run's bits. Verify on another one, or
// lower the kernels by YOHAKU_KERNELS.
type KernelSetError struct{ Run, Here string }

func (e *KernelSetError) Error() string {
	return fmt.Sprintf("the run was computed with the kernel set %s, this machine computes with %s: other kernels give other bits; verify on a machine of the same kind, or with YOHAKU_KERNELS=%s if this one has it", e.Run, e.Here, e.Run)
}

// errRecomputed ends the generation once the last step asked for is done.
var errRecomputed = errors.New("recomputed")

// Recompute computes the steps FirstStep+1…To again on this machine. It is the one rank of a
// generation without a ring, and takes the same path as any rank of a cluster. It returns a
// *KernelSetError when the kernels differ.
func Recompute(ctx context.Context, c Recomputation) error {
	if err := kernel.CheckSet(); err != nil {
		return err
	}
	if set := kernel.Set(); set != c.KernelSet {
		return &KernelSetError{Run: c.KernelSet, Here: set}
	}
	w := &Worker{log: zerolog.Nop(), files: &files{local: &localFiles{base: c.Base, state: c.State}}, listener: c.listen}
	threads := c.Threads
	if threads <= 0 {
		threads = runtime.NumCPU()
	}
	w.backend = cpu.New(threads)
	defer w.backend.Close()
	j := c.job()
	ring, err := natsring.New(natsring.Config{RunID: "local", Names: j.Nodes, Generation: j.Generation, Log: w.log}) // Of one: no network.
	if err != nil {
		return fmt.Errorf("start ring: %w", err)
	}
	r := &rank{w: w, job: j, wish: &wish{}, log: w.log, ring: ring, res: &resident{}}
	r.claims = newClaims(r)
	err = errors.Join(r.run(ctx, r.machine()).Err, ring.Close(), r.res.close())
	if errors.Is(err, errRecomputed) {
		return nil
	}
	if err == nil {
		return fmt.Errorf("recompute step %d: the rank ended before it", c.To)
	}
	return err
}

// job is the train job of the one rank.
func (c Recomputation) job() wire.TrainJob {
	all := make([]int, c.Hyper.GradientAccumulationSteps)
	for i := range all {
		all[i] = i
	}
	c.Hyper.AuditRatio = 0 // This is an audit.
	j := wire.TrainJob{
		Generation: 1, Nodes: []string{"local"}, First: [][]int{all}, Shares: [][]int{all}, Pairs: c.Pairs,
		Source: string(lifecycle.LoadState), FirstStep: c.FirstStep, LastStep: c.LastStep, Until: c.LastStep, Hyper: c.Hyper,
	}
	if c.FirstStep > 0 {
		j.State = &wire.TrainState{Step: c.FirstStep}
	}
	for _, file := range c.Shards {
		j.Shards = append(j.Shards, wire.Ref{SHA256: file}) // By path: see localFiles.
	}
	return j
}

// listen takes the rank's steps.
func (c Recomputation) listen(s wire.StepReport) error {
	if err := c.Step(s); err != nil {
		return err
	}
	if s.Step >= c.To {
		return errRecomputed
	}
	return nil
}

// localFiles stand in for what a worker fetches.
type localFiles struct{ base, state string }

// shard returns the file of a shard, which the job of a recomputation names by path.
func (localFiles) shard(ref wire.Ref) string { return ref.SHA256 }
