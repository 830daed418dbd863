package coordinator

import (
	"context"
	"fmt"
	"slices"
	"time"

	"yohaku/coordinator/api"
	"yohaku/coordinator/rendezvous"
	"yohaku/internal/wire"
)

// maxHistory bounds the events that are remembered for the API.
const maxHistory = 512

// remember notes an event for the API.
func (c *Coordinator) remember(e api.Event) {
	e.Time, e.Step = time.Now(), c.training.step
	c.metrics.Event(e)
	c.stream.Publish("cluster", e)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.history) == maxHistory {
		c.history = slices.Delete(c.history, 0, maxHistory/2)
	}
	c.history = append(c.history, e)
}

// Events is what happened to the cluster after since, as far as it is remembered.
func (c *Coordinator) Events(since time.Time) []api.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	first, _ := slices.BinarySearchFunc(c.history, since, func(e api.Event, t time.Time) int { return e.Time.Compare(t) })
	return slices.Clone(c.history[first:])
}

// Points are the recorded steps after one, at most limit.
func (c *Coordinator) Points(after, limit int) ([]api.Point, error) {
	points := []api.Point{}
	err := c.run.EachStep(after, func(s wire.StepReport) bool {
		points = append(points, point(s))
		return len(points) < limit
	})
	return points, err
}

func point(s wire.StepReport) api.Point {
	return api.Point{
		Step: s.Step, Loss: s.Loss, LogOdds: s.LogOdds, WinnerMSE: s.WinnerMSE, LoserMSE: s.LoserMSE, GradNorm: s.GradNorm,
		LearningRate: s.LearningRate, ItemsPerSecond: s.ItemsPerSecond, DurationMS: s.DurationMS, RingMS: s.RingMS, Ranks: len(s.Nodes),
	}
}

// workAgain bounds the work that is done again in the generation f; see api.Event.
func (c *Coordinator) workAgain(f rendezvous.Form) (stepsLost, microBatches int) {
	t := &c.training
	if f.FirstStep < t.step {
		return t.step - f.FirstStep, 0
	}
	shares := t.first
	if t.last.Generation == t.generation {
		shares = t.last.Shares
	}
	for rank, node := range t.nodes[t.generation] {
		if slices.Contains(t.lost, node) && rank < len(shares) {
			microBatches += len(shares[rank])
		}
	}
	return 0, microBatches
}

// Hurt orders a fault; see api.Fault.
func (c *Coordinator) Hurt(ctx context.Context, f api.Fault) error {
	_, err := c.post(ctx, event{fault: &f})
	return err
}

// fault does what Hurt asks for, in the owner's goroutine.
func (c *Coordinator) fault(f api.Fault) error {
	if f.Kind == "join" {
		return c.locals.add()
	}
	n, known := c.nodes[f.Node]
	if !known {
		return fmt.Errorf("there is no worker %q now", f.Node)
	}
	if !n.hello.AllowChaos {
		return fmt.Errorf("worker %s does not let itself be hurt: start it with --allow-chaos", f.Node)
	}
	o := wire.Chaos{Kind: wire.ChaosKind(f.Kind), DurationMS: int(f.Duration.Milliseconds())}
	if err := o.Validate(); err != nil {
		return err
	}
	c.tell(f.Node, wire.Order{Chaos: &o})
	return nil
}
