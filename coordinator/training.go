package coordinator

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"yohaku/coordinator/api"
	"yohaku/coordinator/rendezvous"
	"yohaku/internal/logkey"
	"yohaku/internal/wire"
)

// trainingState is what the training phase knows.
type trainingState struct {
	active     bool
	generation uint64
	jobID      string
	nodes      map[uint64][]string // By rank, of the generations so far.
	state      *wire.TrainState    // The last checkpoint; nil before the first.
	handed     handedOver
	held       map[string]map[int]wire.StepReport // By node and step: what it has applied, and that may not be committed.
	settled    map[int][]wire.StepReport          // By step: what was held when the generation was formed.
	distrusted map[string]distrust                // By node, until it takes part in a later generation.
	ahead      map[int]wire.StepReport            // Committed steps that came before the one before them.
	step       int                                // The last committed step.
	last       wire.StepReport
	began      time.Time
	seconds    float64
	complete   bool
	halted     error // A gradient was not finite, and the policy is to halt.
	halting    bool
	followed   int // Counts who was to be followed, so that all ranks are in turn.

	first     [][]int   // Micro-batches of the generation's first step, by rank.
	lost      []string  // Of its ranks.
	committed time.Time // When the last step was.
	broken    ending
}

// ending is when a generation was first known to end.
type ending struct {
	generation uint64 // 0 for none.
	at         time.Time
}

// train runs generations until the steps are done or the run is stopped.
func (c *Coordinator) train(ctx context.Context) error {
	if err := c.takeUpCheckpoint(); err != nil {
		return err
	}
	t := &c.training
	if c.checkpointStep() >= c.o.Config.Steps {
		t.complete = true // A coordinator before this one came so far.
		return nil
	}
	machine := rendezvous.New(rendezvous.Config{
		MinWorkers: c.o.Config.Workers(), MicroBatches: c.o.Config.GradientAccumulationSteps, Steps: c.o.Config.Steps,
		SaveEvery: c.o.Config.CheckpointingSteps, Checkpoint: c.checkpointStep(),
	}, c.run.Manifest.MaxGeneration)
	t.active, t.nodes, t.distrusted = true, map[uint64][]string{}, map[string]distrust{}
	t.began = time.Now()
	c.progress.phase("training", c.o.Config.Steps)
	c.progress.at(t.step)
	defer func() { t.active, t.seconds = false, time.Since(t.began).Seconds() }()
	wrong, err := c.distrustBrought()
	if err != nil {
		return err
	}
	pending := []rendezvous.Event{}
	for _, name := range c.standing {
		pending = append(pending, c.joined(name))
	}
	pending = append(append(pending, wrong...), rendezvous.TrainingReady{})
	if c.stopAsked {
		if !c.holders() {
			return ErrStopped
		}
		pending = append(pending, rendezvous.StopRequested{}) // With a checkpoint of what they hold.
	}
	for {
		for _, ev := range pending {
			done, err := c.performAll(machine.Step(ev))
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
		if c.training.halted != nil && !c.training.halting {
			c.training.halting = true
			pending = append(pending, rendezvous.StopRequested{})
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
		return nil
	}
	last := all[len(all)-1]
	if err := last.Verify(); err != nil {
		return err
	}
	if c.training.state, err = c.offerCheckpoint(last); err != nil {
		return err
	}
	if !c.holders() {
		c.log.Info().Int(logkey.Step, last.Step).Str(logkey.CheckpointSHA256, c.training.state.SHA256).Msg("continuing from checkpoint")
	}
	return nil
}

// checkpointStep is the step of the last checkpoint, 0 without one.
func (c *Coordinator) checkpointStep() int {
	if c.training.state == nil {
		return 0
	}
	return c.training.state.Step
}

// joined is the machine's event for a worker that is there, with what it holds. Of that is void what
// this run has gone back on since, and what cannot be written down because nobody reports the steps
// to it any more.
func (c *Coordinator) joined(name string) rendezvous.Joined {
	ev := rendezvous.Joined{Node: name}
	n, known := c.nodes[name]
	if !known || !n.holding.Loaded {
		return ev
	}
	if n.trained.Before(c.record.generation.Rewound) {
		c.log.Warn().Str(logkey.Node, name).Int(logkey.Step, n.holding.Applied).Msg("what the worker holds is void: the run went back to a checkpoint since")
		n.holding = wire.Holding{}
	}
	ev.Holding = c.sound(n)
	return ev
}

// sound is what a worker holds, or nothing when it cannot be written down. One whose state was void may
// say that it holds it again, when the generation ended in which it was to load another.
func (c *Coordinator) sound(n *node) rendezvous.Holding {
	if n.holding.Loaded && !c.reported(n.holding.Applied) {
		c.log.Warn().Str(logkey.Node, n.hello.Node).Int(logkey.Step, n.holding.Applied).Int("recorded", c.training.step).
			Msg("what the worker holds is void: nobody reports the steps between the ledger's last and its own any more")
		n.holding = wire.Holding{}
	}
	return rendezvous.Holding(n.holding)
}

// performAll performs the machine's effects; done tells that training is over.
func (c *Coordinator) performAll(effects []rendezvous.Effect) (done bool, err error) {
	for _, effect := range effects {
		switch e := effect.(type) {
		case rendezvous.Form:
			err = c.form(e)
		case rendezvous.Prepare:
			c.prepare(e.Node)
		case rendezvous.Donate:
			c.askDonor(e)
		case rendezvous.Pause:
			c.tellAll(c.training.nodes[e.Generation], wire.Order{Pause: c.training.jobID, Save: e.Save})
		case rendezvous.CallBack:
			c.tellAll(e.Nodes, wire.Order{Cancel: c.training.jobID, Generation: e.Generation})
		case rendezvous.Release:
			c.log.Info().Str(logkey.Node, e.Node).Msg("worker may leave")
			c.tell(e.Node, wire.Order{Leave: true})
		case rendezvous.PutOut:
			c.logPutOut(e)
		case rendezvous.Undecided:
			c.logUndecided(e)
		case rendezvous.Wait:
			c.log.Warn().Int(logkey.WorldSize, e.Have).Int("wanted", e.Want).Msg("waiting for workers")
		case rendezvous.Finish:
			c.training.complete = e.Complete
			return true, errors.Join(e.Err, c.training.halted)
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// trainEvent turns an event into the machine's, after keeping what it reports.
func (c *Coordinator) trainEvent(ev event) ([]rendezvous.Event, error) {
	switch {
	case ev.stop:
		return []rendezvous.Event{rendezvous.StopRequested{}}, nil
	case ev.hello != nil:
		return []rendezvous.Event{c.joined(ev.hello.Node)}, nil
	case ev.lost != "":
		if slices.Contains(c.training.nodes[c.training.generation], ev.lost) {
			c.noteBroken()
			c.training.lost = append(c.training.lost, ev.lost)
		}
		return []rendezvous.Event{rendezvous.Left{Node: ev.lost}}, nil
	case ev.unsent != nil:
		return c.orderReturned(*ev.unsent), nil
	case ev.report == nil:
		return nil, nil
	}
	return c.trainReport(*ev.report)
}

// orderReturned tells the machine of an order that still matters and was not taken.
func (c *Coordinator) orderReturned(u unsent) []rendezvous.Event {
	t := &c.training
	o := u.order
	matters := o.Cancel != "" && o.Cancel == t.jobID ||
		o.Job != nil && (o.Job.ID == t.jobID || o.Job.ID == t.handed.jobID || o.Job.ID == prepareID(u.node))
	c.log.Debug().Str(logkey.Node, u.node).Err(u.err).Bool("matters", matters).Msg("order not taken")
	if o.Pause != "" && o.Pause == t.jobID {
		c.tell(u.node, o) // Again: the generation would not end otherwise.
	}
	if !matters {
		return nil
	}
	if o.Job != nil && o.Job.ID == t.jobID {
		c.noteBroken()
	}
	return []rendezvous.Event{rendezvous.Unreached{Node: u.node, Err: u.err}}
}

// trainReport turns a report, whose contents were kept, into the machine's events.
func (c *Coordinator) trainReport(r wire.Report) ([]rendezvous.Event, error) {
	t := &c.training
	switch {
	case r.Leaving:
		c.setState(r.Node, "leaving")
		return []rendezvous.Event{rendezvous.Leaving{Node: r.Node}}, nil
	case r.Steps != nil:
		last := r.Steps[len(r.Steps)-1]
		if last.Epoch != c.epoch {
			return nil, nil // Of a ring before this coordinator.
		}
		return []rendezvous.Event{rendezvous.Progressed{Generation: last.Generation, Step: last.Step, Digest: last.Replica, Seconds: last.Seconds}}, nil
	case r.Checkpoint != nil:
		return []rendezvous.Event{rendezvous.Checkpointed{Step: c.checkpointStep()}}, nil
	case r.Done != nil && r.JobID == t.handed.jobID:
		return append(c.differed(r.Done.Differ), c.donated(r.Node, *r.Done)...), c.correct(r.Done.Differ)
	case r.Done != nil && r.JobID == prepareID(r.Node):
		return []rendezvous.Event{rendezvous.Prepared{Node: r.Node, Following: r.Done.Following, Err: doneError(*r.Done)}}, nil
	case r.Done != nil && r.JobID == t.jobID:
		return c.rankDone(r.Node, *r.Done), c.correct(r.Done.Differ)
	}
	return nil, nil // Of a generation that is over.
}

func doneError(d wire.Done) error {
	if d.Error == "" {
		return nil
	}
	return errors.New(d.Error)
}

// noteBroken starts the clock of a recovery.
func (c *Coordinator) noteBroken() {
	if c.training.broken.generation == 0 {
		c.training.broken = ending{c.training.generation, time.Now()}
		c.remember(api.Event{Kind: api.GenerationEnds, Generation: c.training.generation})
	}
}

func (c *Coordinator) rankDone(name string, d wire.Done) []rendezvous.Event {
	c.setState(name, "idle")
	level := zerolog.WarnLevel
	if c.training.broken.generation == c.training.generation {
		level = zerolog.InfoLevel // The ring was broken already.
	}
	c.noteBroken()
	done := rendezvous.RankDone{Generation: c.training.generation, Node: name, Err: doneError(d)}
	if n, known := c.nodes[name]; known {
		if d.Holding != nil {
			n.holding = *d.Holding
		}
		if !c.training.trusted(name, d.Anew && n.holding.Loaded) {
			n.holding = wire.Holding{} // It may not have heard of it.
		}
		done.Holding = c.sound(n)
	}
	if d.Error != "" {
		c.log.WithLevel(level).Str(logkey.Node, name).Int(logkey.Step, d.Step).Str("cause", d.Error).Msg("rank ended early")
	}
	return append(c.differed(d.Differ), done)
}
