package coordinator

import (
	"context"
	"fmt"
	"sync"
	"time"

	"yohaku/coordinator/checkpointstore"
	"yohaku/internal/logkey"
)

// offsite copies checkpoints to a store outside the run folder, one after the other, while training goes on.
type offsite struct {
	c     *Coordinator
	store *checkpointstore.Store

	mu     sync.Mutex // Held by who copies.
	stored int        // Step of the last one that is there.
	wake   chan struct{}
	end    context.CancelFunc
	over   chan struct{}
}

// openOffsite starts copying, if the configuration names a store.
func (c *Coordinator) openOffsite(ctx context.Context) error {
	if c.o.Config.CheckpointStore == "" {
		return nil
	}
	store, err := checkpointstore.Open(c.o.Config.CheckpointStore, c.run.Manifest.RunID)
	if err != nil {
		return fmt.Errorf("--checkpoint-store: %w", err)
	}
	ctx, end := context.WithCancel(ctx)
	c.offsite = &offsite{c: c, store: store, wake: make(chan struct{}, 1), end: end, over: make(chan struct{})}
	if err := c.offsite.fetch(ctx); err != nil {
		close(c.offsite.over)
		return fmt.Errorf("--checkpoint-store: %w", err)
	}
	go c.offsite.run(ctx)
	return nil
}

// fetch brings the newest stored checkpoint into the run folder, if that has an older one or none. One whose steps the
// ledger lacks is left alone.
func (o *offsite) fetch(ctx context.Context) error {
	steps, err := o.store.Steps(ctx)
	if err != nil || len(steps) == 0 {
		return err
	}
	newest := steps[len(steps)-1]
	all, err := o.c.run.Checkpoints()
	if err != nil || len(all) > 0 && all[len(all)-1].Step >= newest {
		return err
	}
	if newest > o.c.training.step {
		o.c.log.Warn().Int(logkey.Step, newest).Int("recorded", o.c.training.step).Str(logkey.Path, o.store.String()).Msg("stored checkpoint left alone: the ledger lacks its steps")
		return nil
	}
	if err := o.c.run.AdoptCheckpoint(newest, func(dir string) error { return o.store.Get(ctx, newest, dir) }); err != nil {
		return err
	}
	o.c.log.Info().Int(logkey.Step, newest).Str(logkey.Path, o.store.String()).Msg("checkpoint fetched")
	return nil
}

// changed tells that there is a new checkpoint. It may be called on nil.
func (o *offsite) changed() {
	if o == nil {
		return
	}
	select {
	case o.wake <- struct{}{}:
	default: // It is about to look.
	}
}

func (o *offsite) run(ctx context.Context) {
	defer close(o.over)
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.wake:
		}
		if err := o.copy(ctx); err != nil && ctx.Err() == nil {
			o.c.log.Warn().Err(err).Str(logkey.Path, o.store.String()).Msg("checkpoint not stored yet")
		}
	}
}

// copy stores the newest checkpoint; older ones that were not stored in time are left out.
func (o *offsite) copy(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	all, err := o.c.run.Checkpoints()
	if err != nil || len(all) == 0 {
		return err
	}
	last := all[len(all)-1]
	if last.Step <= o.stored {
		return nil
	}
	start := time.Now()
	if err := o.store.Put(ctx, last.Step, last.Dir); err != nil {
		return err
	}
	o.stored = last.Step
	o.c.log.Info().Int(logkey.Step, last.Step).Str(logkey.Path, o.store.String()).Dur(logkey.DurationMS, time.Since(start)).Msg("checkpoint stored")
	return o.store.Prune(ctx, o.c.o.Config.CheckpointsTotalLimit)
}

// storeLast waits until the last checkpoint is stored. Without that the run has not done what was asked.
func (c *Coordinator) storeLast(ctx context.Context) error {
	if c.offsite == nil {
		return nil
	}
	if err := c.offsite.copy(ctx); err != nil {
		return fmt.Errorf("the last checkpoint is in the run folder, but not in --checkpoint-store: %w; --resume the run to store it", err)
	}
	return nil
}

// close ends the copying. It may be called on nil.
func (o *offsite) close() {
	if o == nil {
		return
	}
	o.end()
	<-o.over
}
