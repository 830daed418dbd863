package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"yohaku/internal/logkey"
	"yohaku/internal/wire"
	"yohaku/model/checkpoint"
	"yohaku/model/weights"
)

// saving is a checkpoint that is written while training goes on. It reads the state where it lies, from a step boundary
// on, so the next update waits for its end; micro-batches do not.
type saving struct {
	over chan struct{}
	err  error // Read after over.
}

// begin runs write beside the caller.
func begin(write func() error) *saving {
	s := &saving{over: make(chan struct{})}
	go func() {
		defer close(s.over)
		s.err = write()
	}()
	return s
}

// settle waits until no checkpoint is being written, and returns the error of one, once. The state must not change
// before.
func (r *resident) settle() error {
	s := r.saving
	r.saving = nil
	if s == nil {
		return nil
	}
	<-s.over
	return s.err
}

// save begins to make a checkpoint on disk, which the outbox hands over. All ranks hold the same, so rank 0 does it
// alone. The checkpoint before it is written by then: an update lies between them.
func (r *rank) save(step int) error {
	if r.job.Rank != 0 {
		return nil
	}
	if err := errors.Join(r.res.settle(), r.w.unchanged(r.res, step)); err != nil {
		return err
	}
	state := r.res.checkpointState(step)
	r.res.saving = begin(func() error { return r.write(state) })
	return nil
}

// write writes the files of a checkpoint and posts them.
func (r *rank) write(state checkpoint.State) error {
	start := time.Now()
	var i item
	kept, err := putState(r.res, state, func(fill func(io.Writer) error) (wire.Ref, error) {
		ref, file, err := r.w.files.keep(fill)
		if err == nil {
			i.files = append(i.files, file)
		}
		return ref, err
	})
	if err != nil {
		return errors.Join(fmt.Errorf("keep checkpoint: %w", err), removeAll(i.files))
	}
	i.state = kept
	r.log.Debug().Int(logkey.Step, state.Step).Dur(logkey.DurationMS, time.Since(start)).Msg("checkpoint written")
	return r.w.outbox.post(i)
}

// putState hands the whole state of a rank to put, part by part, as what writes the part.
func putState(r *resident, state checkpoint.State, put func(fill func(io.Writer) error) (wire.Ref, error)) (*wire.TrainState, error) {
	params := weights.Params(r.model.step.Params(), r.model.step.ParamSlab())
	out := &wire.TrainState{Step: state.Step, SHA256: checkpoint.Digest(params, state)}
	ref, err := put(func(w io.Writer) error { return r.writeWeights(w, params) })
	if err != nil {
		return nil, fmt.Errorf("write weights: %w", err)
	}
	out.Weights = []wire.ModelFile{{Path: r.weightsName(), Ref: ref}}
	if r.lora == nil {
		out.Weights = append(r.unetConfig("unet"), out.Weights...)
	}
	if state.EMA != nil {
		if ref, err = put(func(w io.Writer) error { return checkpoint.WriteWeights(w, state.EMA, "") }); err != nil {
			return nil, fmt.Errorf("write moving average: %w", err)
		}
		out.Weights = append(append(out.Weights, r.unetConfig(checkpoint.EMAFolder)...), wire.ModelFile{Path: path.Join(checkpoint.EMAFolder, checkpoint.DefaultWeightsFile), Ref: ref})
	}
	if out.Trainer, err = put(func(w io.Writer) error { return checkpoint.WriteState(w, state) }); err != nil {
		return nil, fmt.Errorf("write trainer state: %w", err)
	}
	return out, nil
}

// keep writes a file in the worker's folder, piece by piece, and names its content. After an error there is no file.
func (f *files) keep(fill func(io.Writer) error) (wire.Ref, string, error) {
	out, err := os.CreateTemp(f.dir, "kept-*")
	if err != nil {
		return wire.Ref{}, "", err
	}
	h := sha256.New()
	if err := errors.Join(fill(io.MultiWriter(out, h)), out.Close()); err != nil {
		return wire.Ref{}, "", errors.Join(err, os.Remove(out.Name()))
	}
	info, err := os.Stat(out.Name())
	if err != nil {
		return wire.Ref{}, "", err
	}
	return wire.Ref{SHA256: hex.EncodeToString(h.Sum(nil)), Size: info.Size()}, out.Name(), nil
}
