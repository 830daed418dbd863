package coordinator

import (
	"slices"
	"time"

	"yohaku/coordinator/api"
	"yohaku/coordinator/rendezvous"
	"yohaku/internal/epoch"
	"yohaku/internal/logkey"
	"yohaku/internal/wire"
)

// form starts a generation.
func (c *Coordinator) form(f rendezvous.Form) error {
	stepsLost, again := c.workAgain(f)
	if err := c.settle(f); err != nil {
		return err
	}
	t := &c.training
	g := rendezvous.Generation{Epoch: c.epoch, Number: f.Generation}
	c.record.generation.Number, c.record.generation.Ranks = f.Generation, f.Nodes
	if err := c.record.put(generationKey, c.record.generation); err != nil {
		return err
	}
	t.lost, t.first = nil, f.First
	t.generation, t.nodes[f.Generation] = f.Generation, f.Nodes
	t.jobID = "train-" + g.String()
	c.run.Manifest.MaxGeneration = f.Generation
	if n := len(f.Nodes); !slices.Contains(c.run.Manifest.WorldSizes, n) {
		c.run.Manifest.WorldSizes = append(c.run.Manifest.WorldSizes, n)
	}
	if err := c.run.SaveManifest(); err != nil {
		return err
	}
	c.log.Info().Str("epoch", epoch.String(c.epoch)).Uint64(logkey.Generation, f.Generation).Int(logkey.WorldSize, len(f.Nodes)).Int(logkey.Step, t.step).
		Strs("sources", texts(f.Sources)).Msg("generation formed")
	c.remember(api.Event{Kind: api.GenerationFormed, Generation: f.Generation, Nodes: f.Nodes, StepsLost: stepsLost, MicroBatches: again})
	c.rankNodes(f.Nodes)
	for rank, name := range f.Nodes {
		job := c.trainJob(f, rank)
		c.tell(name, wire.Order{Job: &job})
	}
	c.show(func(s *api.Status) { s.State, s.Generation, s.Step = "training", f.Generation, t.step })
	return nil
}

func texts(sources []rendezvous.Source) []string {
	all := make([]string, len(sources))
	for i, s := range sources {
		all[i] = string(s)
	}
	return all
}

// settle makes the logs those of the generation's first step: what ranks had applied up to there is
// committed by it, what comes after was lost with all who had it.
func (c *Coordinator) settle(f rendezvous.Form) error {
	t, step := &c.training, f.FirstStep
	if err := c.commitHeld(step); err != nil {
		return err
	}
	if step != t.handed.step {
		c.dropHanded()
	}
	switch {
	case t.step > step:
		c.log.Warn().Int(logkey.Step, step).Int("steps_lost", t.step-step).Msg("no rank is left that holds the state, going back to the last checkpoint")
		c.record.generation.Rewound = rendezvous.Generation{Epoch: c.epoch, Number: f.Generation}
		if err := c.rewind(step); err != nil {
			return err
		}
		var err error
		if t.last, err = c.run.LastStep(); err != nil {
			return err
		}
	case t.step < step:
		c.log.Error().Int(logkey.Step, step).Int("steps_unreported", step-t.step).Msg("steps were taken that nobody is left to report")
	}
	t.step = step
	return nil
}

// rankNodes shows who takes part.
func (c *Coordinator) rankNodes(names []string) {
	for _, n := range c.nodes {
		n.rank = -1
		if n.state != "leaving" {
			n.state = "standby"
		}
	}
	for rank, name := range names {
		if n, known := c.nodes[name]; known {
			n.rank, n.state = rank, "training"
		}
	}
	c.showNodes()
}

// trainJob is the order for one rank; the zero Form gives what preparing needs.
func (c *Coordinator) trainJob(f rendezvous.Form, rank int) wire.Job {
	t := c.training
	j := wire.TrainJob{
		Epoch: c.epoch, Generation: f.Generation, Rank: rank, Nodes: f.Nodes, First: f.First, Shares: f.Shares, Model: c.model.wire(),
		Shards: c.shards, Pairs: len(c.o.Data.Pairs), FirstStep: f.FirstStep, LastStep: c.o.Config.Steps, Until: f.LastStep, Save: f.Save, Hyper: c.o.Config.Hyper(),
	}
	if rank < len(f.Sources) {
		j.Source = string(f.Sources[rank])
		switch {
		case f.Sources[rank] == rendezvous.TakeSums:
			j.Sums = t.handed.sums
		case f.Sources[rank] == rendezvous.LoadState && f.Checkpoint:
			j.State = t.state
		case f.Sources[rank] == rendezvous.LoadState:
			j.State = t.handed.state
		}
	}
	return wire.Job{ID: t.jobID, Kind: wire.JobTrain, Train: &j}
}

// noteCommit moves on, and tells how long the ring stood still if it did.
func (c *Coordinator) noteCommit(s wire.StepReport) {
	t := &c.training
	for _, node := range t.nodes[s.Generation] {
		if t.distrusted[node].in < s.Generation {
			delete(t.distrusted, node) // It took part, so it has loaded the state since.
		}
	}
	now, before := time.Now(), t.committed
	if b := t.broken; b.generation != 0 && s.Generation > b.generation {
		c.log.Info().Int(logkey.Step, s.Step).Uint64(logkey.Generation, t.generation).Dur(logkey.DurationMS, now.Sub(b.at)).
			Dur("since_last_step_ms", now.Sub(t.committed)).Msg("training goes on")
		t.broken = ending{}
	}
	first := s.Generation > t.last.Generation
	t.step, t.last, t.committed = s.Step, s, now
	if first && s.Generation == t.generation && !before.IsZero() {
		c.remember(api.Event{Kind: api.GoesOn, Generation: s.Generation, StoodMS: float64(now.Sub(before).Microseconds()) / 1000})
	}
	if s.Step > t.handed.step {
		c.dropHanded()
	}
}
