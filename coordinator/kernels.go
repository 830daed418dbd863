package coordinator

import (
	"fmt"
	"slices"
	"strings"

	"yohaku/internal/logkey"
	"yohaku/internal/wire"
)

// kernelsJoin stands between the names of kernel sets in the manifest, where a run has had several.
const kernelsJoin = "+"

// admitKernels writes the worker's kernel set into the manifest, or refuses it: the run's bits depend on the set, but with
// allow_mixed_kernels they are given up.
func (c *Coordinator) admitKernels(h wire.Hello) error {
	sets, err := withKernelSet(c.run.Manifest.KernelSet, h, c.o.Config.AllowMixedKernels)
	if err != nil || sets == c.run.Manifest.KernelSet {
		return err
	}
	if c.run.Manifest.KernelSet != "" {
		c.log.Warn().Str(logkey.Node, h.Node).Str(logkey.KernelSet, sets).
			Msg("kernel sets are mixed: the checkpoint depends on who computes which micro-batch, and no step can be verified by computing it again")
	}
	c.run.Manifest.KernelSet = sets
	return c.run.SaveManifest()
}

// withKernelSet is the names of a run's kernel sets, in order, with the worker's.
func withKernelSet(run string, h wire.Hello, mixed bool) (string, error) {
	if run == "" {
		return h.KernelSet, nil
	}
	sets := strings.Split(run, kernelsJoin)
	if slices.Contains(sets, h.KernelSet) {
		return run, nil
	}
	if !mixed {
		return "", fmt.Errorf("worker %s has the kernel set %s, this run uses %s: other kernels give other bits, and the run promises the same; start it on a machine of the same kind, or with YOHAKU_KERNELS=%s if that machine has it; --allow-mixed-kernels gives that promise up", h.Node, h.KernelSet, run, sets[0])
	}
	sets = append(sets, h.KernelSet)
	slices.Sort(sets)
	return strings.Join(sets, kernelsJoin), nil
}
