package verify

import (
	"fmt"
	"path/filepath"
	"strings"

	"yohaku/coordinator/config"
	"yohaku/coordinator/runstore"
)

// Run is a run whose folder holds.
type Run struct {
	Dir         string
	Manifest    runstore.Manifest
	Config      config.Config
	Checkpoints []runstore.Checkpoint // Oldest first.

	ledger *ledger
	rates  map[int]float64
}

// Check reads the run in dir. It returns a *BrokenError that names every broken rule. Nothing is
// written or locked, so a run that goes on may be checked too.
func Check(dir string) (*Run, error) {
	r := &Run{Dir: dir}
	var err error
	if r.Manifest, err = runstore.ReadManifest(dir); err != nil {
		return nil, err
	}
	if r.Config, err = config.Parse(r.Manifest.Config); err == nil {
		err = r.Config.Validate() // Bounds what is allocated by it.
	}
	if err != nil {
		return nil, fmt.Errorf("configuration in %s: %w", filepath.Join(dir, "manifest.json"), err)
	}
	found, err := r.read()
	if err == nil && len(found) > 0 {
		// A run that goes on may have moved between the reading of two files: look again.
		if r.Manifest, err = runstore.ReadManifest(dir); err != nil {
			return nil, err
		}
		found, err = r.read()
	}
	if err != nil {
		return nil, err
	}
	if len(found) > 0 {
		return nil, &BrokenError{dir, found}
	}
	return r, nil
}

// read reads all that is compared, once.
func (r *Run) read() ([]Problem, error) {
	var err error
	if r.ledger, err = readLedger(r.Dir, r.rules()); err != nil {
		return nil, err
	}
	m, err := readMetrics(r.Dir, r.ledger)
	if err != nil {
		return nil, err
	}
	r.rates = m.rates
	checkpoints, broken, err := readCheckpoints(r.Dir, r.Steps())
	r.Checkpoints = checkpoints
	return append(append(r.ledger.all, m.all...), broken...), err
}

func (r *Run) rules() Rules {
	c := r.Config
	return Rules{
		MicroBatches: c.GradientAccumulationSteps, Items: c.GradientAccumulationSteps * c.TrainBatchSize, // As plan.ItemsPerStep.
		MaxGeneration: r.Manifest.MaxGeneration,
	}
}

// Steps is the last step of the ledger.
func (r *Run) Steps() int { return r.ledger.last }

// Summary says in a few lines what was found.
func (r *Run) Summary() string {
	var b strings.Builder
	rules := r.rules()
	fmt.Fprintf(&b, "run %s holds\n", r.Manifest.RunID)
	fmt.Fprintf(&b, "  ledger       steps 1 to %d, %d skipped, %d generations, chain whole\n", r.Steps(), r.ledger.skipped, len(r.ledger.worlds))
	fmt.Fprintf(&b, "  items        %d: %d micro-batches of %d in each step, each exactly once, by %d workers\n",
		r.Steps()*rules.Items, rules.MicroBatches, r.Config.TrainBatchSize, len(r.ledger.nodes))
	fmt.Fprintf(&b, "  metrics      agree\n  checkpoints  %d, all files as in %s\n  last line    %s\n", len(r.Checkpoints), sumsFile, r.ledger.previous)
	return b.String()
}

// LastStep is the step that the run was to end at when it computed step n, which learning rates
// depend on: by the manifest, or, for steps past it, as far as the run was resumed to.
func (r *Run) LastStep(n int) int {
	if n <= r.Config.Steps {
		return r.Config.Steps
	}
	return r.Steps()
}
