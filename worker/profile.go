package worker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"yohaku/model/profile"
	"yohaku/model/train"
)

// profiling writes what training took: by instruction of the micro-batches, and of the whole process. A nil profiling
// measures nothing.
type profiling struct {
	base string // Of the files' names.
	step *train.Step
	stop func() error
}

// profile begins to measure once the training graph is there, if the command line asks for it. A worker has one training
// graph at a time.
func (w *Worker) profile(step *train.Step) (*profiling, error) {
	if w.o.Profile == "" {
		return nil, nil
	}
	if err := os.MkdirAll(w.o.Profile, 0o755); err != nil {
		return nil, fmt.Errorf("make folder for profiles: %w", err)
	}
	p := &profiling{base: filepath.Join(w.o.Profile, w.name), step: step}
	var err error
	p.stop, err = profile.Processor(p.base + ".pprof")
	return p, err
}

// end writes the files.
func (p *profiling) end() error {
	if p == nil {
		return nil
	}
	return errors.Join(p.stop(), profile.Files(p.base, filepath.Base(p.base)+", gradients of a micro-batch", p.step.Profile()))
}
