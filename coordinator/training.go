package coordinator

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"yohaku/coordinator/api"
	"yohaku/coordinator/rendezvous"
	"yohaku/coordinator/runstore"
	"yohaku/internal/logkey"
	"yohaku/internal/wire"
)

// trainingState is what the training phase knows.
type trainingState struct {
	generation uint64
	jobID      string
	nodes      []string
	assignment [][]int
	state      *wire.TrainState // The last checkpoint; nil before the first.
	step       int              // The last committed step.
	last       wire.StepReport
	began      time.Time
	seconds    float64
	complete   bool
}

// train runs generations until the steps are done or the run is stopped.
func (c *Coordinator) train(ctx context.Context) error {
	if err := c.takeUpCheckpoint(); err != nil {
		return err
	}
	machine := rendezvous.New(rendezvous.Config{MinWorkers: c.o.Config.Workers(), MicroBatches: c.o.Config.GradientAccumulationSteps}, c.run.Manifest.MaxGeneration)
	c.training.began = time.Now()
	c.progress.phase("training", c.o.Config.Steps)
	c.progress.at(c.training.step)
	defer func() { c.training.seconds = time.Since(c.training.began).Seconds() }()
	pending := []rendezvous.Event{}
	for _, name := range c.standing {
		pending = append(pending, rendezvous.Joined{Node: name})
	}
	if c.stopAsked {
		return ErrStopped
	}
	pending = append(pending, rendezvous.TrainingReady{})
	for {
		for _, ev := range pending {
			done, err := c.performAll(ctx, machine.Step(ev))
			if done || err != nil {
				return err
			}
		}
		ev, err := c.next(ctx)
		if err != nil {
			return err
		}
		if pending, err = c.trainEvent(ev); err != nil {
			return err
		}
	}
}

// takeUpCheckpoint continues from the newest checkpoint, if there is one.
func (c *Coordinator) takeUpCheckpoint() error {
	all, err := c.run.Checkpoints()
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return c.run.RewindTo(0)
	}
	last := all[len(all)-1]
	if err := last.Verify(); err != nil {
		return err
	}
	if c.training.state, err = c.offerCheckpoint(last); err != nil {
		return err
	}
	c.training.step = last.Step
	c.log.Info().Int(logkey.Step, last.Step).Str(logkey.CheckpointSHA256, c.training.state.SHA256).Msg("continuing from checkpoint")
	return c.run.RewindTo(last.Step)
}

// performAll performs the machine's effects; done tells that training is over.
func (c *Coordinator) performAll(ctx context.Context, effects []rendezvous.Effect) (done bool, err error) {
	for _, effect := range effects {
		switch e := effect.(type) {
		case rendezvous.Form:
			err = c.form(ctx, e)
		case rendezvous.Pause:
			c.orderAll(ctx, c.training.nodes, wire.Order{Pause: c.training.jobID})
		case rendezvous.CallBack:
			c.orderAll(ctx, e.Nodes, wire.Order{Cancel: c.training.jobID})
		case rendezvous.Wait:
			c.log.Warn().Int(logkey.WorldSize, e.Have).Int("wanted", e.Want).Msg("waiting for workers")
		case rendezvous.Finish:
			c.training.complete = e.Complete
			return true, e.Err
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// orderAll sends an order to nodes. One that cannot be reached is gone, which membership tells.
func (c *Coordinator) orderAll(ctx context.Context, nodes []string, o wire.Order) {
	for _, name := range nodes {
		if _, known := c.nodes[name]; !known {
			continue
		}
		if err := c.order(ctx, name, o); err != nil {
			c.log.Warn().Err(err).Msg("order not taken")
		}
	}
}

// form starts a generation from the last checkpoint.
func (c *Coordinator) form(ctx context.Context, f rendezvous.Form) error {
	t := &c.training
	if t.state != nil {
		t.step = t.state.Step
	} else {
		t.step = 0
	}
	if err := c.run.RewindTo(t.step); err != nil {
		return err
	}
	var err error
	if t.last, _, err = c.run.LastStep(); err != nil {
		return err
	}
	t.generation, t.nodes, t.assignment = f.Generation, f.Nodes, f.Assignment
	t.jobID = "train-" + strconv.FormatUint(f.Generation, 10)
	c.run.Manifest.MaxGeneration = f.Generation
	if n := len(f.Nodes); !slices.Contains(c.run.Manifest.WorldSizes, n) {
		c.run.Manifest.WorldSizes = append(c.run.Manifest.WorldSizes, n)
	}
	if err := c.run.SaveManifest(); err != nil {
		return err
	}
	c.log.Info().Uint64(logkey.Generation, f.Generation).Int(logkey.WorldSize, len(f.Nodes)).Int(logkey.Step, t.step).Msg("generation formed")
	for _, n := range c.nodes {
		n.rank, n.state = -1, "standby"
	}
	for rank, name := range f.Nodes {
		if n, known := c.nodes[name]; known {
			n.rank, n.state = rank, "training"
		}
		job := c.trainJob(rank)
		if err := c.order(ctx, name, wire.Order{Job: &job}); err != nil {
			c.log.Warn().Err(err).Msg("train job not taken")
			c.failRank(name, err)
		}
	}
	c.showNodes()
	c.show(func(s *api.Status) { s.State, s.Generation, s.Step = "training", f.Generation, t.step })
	return nil
}

// failRank reports on behalf of a rank that never got its job.
func (c *Coordinator) failRank(name string, err error) {
	report := &wire.Report{Node: name, JobID: c.training.jobID, Done: &wire.Done{Error: err.Error()}}
	select {
	case c.inbox <- event{report: report, reply: make(chan error, 1)}:
	default: // Full of other news; the ring's own time limit ends the generation then.
	}
}

func (c *Coordinator) trainJob(rank int) wire.Job {
	t := c.training
	return wire.Job{ID: t.jobID, Kind: wire.JobTrain, Train: &wire.TrainJob{
		Generation: t.generation, Rank: rank, Nodes: t.nodes, Assignment: t.assignment, Model: c.model.wire(), State: t.state,
		Shards: c.shards, Pairs: len(c.o.Data.Pairs), FirstStep: t.step, LastStep: c.o.Config.Steps, Hyper: c.o.Config.Hyper(),
	}}
}

// trainEvent turns an event into the machine's, after keeping what it reports.
func (c *Coordinator) trainEvent(ev event) ([]rendezvous.Event, error) {
	switch {
	case ev.stop:
		return []rendezvous.Event{rendezvous.StopRequested{}}, nil
	case ev.hello != nil:
		return []rendezvous.Event{rendezvous.Joined{Node: ev.hello.Node}}, nil
	case ev.lost != "":
		return []rendezvous.Event{rendezvous.Left{Node: ev.lost}}, nil
	case ev.report == nil || ev.report.JobID != c.training.jobID:
		return nil, nil // Of a generation that is over.
	case ev.report.Step != nil:
		return []rendezvous.Event{rendezvous.Progressed{Generation: c.training.generation, Step: ev.report.Step.Step}}, c.keepStep(*ev.report.Step)
	case ev.report.Checkpoint != nil:
		return nil, c.keepCheckpoint(*ev.report.Checkpoint)
	case ev.report.Done != nil:
		return c.rankDone(ev.report.Node, *ev.report.Done), nil
	}
	return nil, nil
}

func (c *Coordinator) rankDone(name string, d wire.Done) []rendezvous.Event {
	c.setState(name, "idle")
	done := rendezvous.RankDone{Generation: c.training.generation, Node: name, Complete: d.Step >= c.o.Config.Steps}
	if d.Error != "" {
		done.Err = errors.New(d.Error)
		c.log.Warn().Str(logkey.Node, name).Int(logkey.Step, d.Step).Str("cause", d.Error).Msg("rank ended early")
	}
	return []rendezvous.Event{done}
}

// keepStep records a committed step.
func (c *Coordinator) keepStep(s wire.StepReport) error {
	t := &c.training
	if s.Step != t.step+1 || s.Generation != t.generation {
		return nil // A repeat.
	}
	shares := make([]runstore.Share, len(t.nodes))
	for rank, name := range t.nodes {
		shares[rank] = runstore.Share{Node: name, MicroBatches: t.assignment[rank]}
		if n, known := c.nodes[name]; known {
			n.itemsPerSecond = s.ItemsPerSecond * float64(len(t.assignment[rank])) / float64(c.o.Config.GradientAccumulationSteps)
		}
	}
	if err := c.run.AppendStep(s, shares); err != nil {
		return err
	}
	t.step, t.last = s.Step, s
	if s.NonFinite != "" {
		c.log.Error().Int(logkey.Step, s.Step).Bool("skipped", s.Skipped).Str("cause", s.NonFinite).Msg("gradient not finite")
	}
	c.progress.step(s)
	c.showNodes()
	c.show(func(st *api.Status) {
		st.Step, st.Loss, st.LogOdds, st.ItemsPerSecond = s.Step, s.Loss, s.LogOdds, s.ItemsPerSecond
	})
	return nil
}
