package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"yohaku/coordinator/api"
)

// pollPeriod is how often the run's API is asked.
const pollPeriod = 50 * time.Millisecond

// errOver reports that the run is not training any more.
var errOver = errors.New("the run is over")

// chaos is one call of Run.
type chaos struct {
	Config
	find     func() (api.Client, error) // Anew for each question, as a coordinator that is back has another address.
	progress io.Writer
	plan     Plan
	host     string
	runID    string
	addrs    []string // That workers of this run joined at.
}

// Run hurts the run that find finds, and says how it recovered. It returns an error when it could
// not begin or ctx ended; what did not recover stands in the report.
func Run(ctx context.Context, c Config, find func() (api.Client, error), progress io.Writer) (Report, error) {
	k := &chaos{Config: c, find: find, progress: progress, plan: NewPlan(c)}
	var err error
	if k.host, err = os.Hostname(); err != nil {
		return Report{}, fmt.Errorf("tell this machine's workers from others: %w", err)
	}
	if _, err := k.status(ctx); err != nil {
		return Report{}, err
	}
	var outcomes []Outcome
	for i, kind := range k.plan.Kinds {
		k.say("[%d/%d] ", i+1, len(k.plan.Kinds))
		o, err := k.fault(ctx, kind, k.plan.Pauses[i])
		if ctx.Err() != nil {
			return Report{}, context.Cause(ctx)
		}
		if errors.Is(err, errOver) {
			k.say("%s: %v\n", kind, err)
			break
		}
		if o.Recovered = err == nil; err != nil {
			o.Note = err.Error()
		}
		k.sayOutcome(o)
		if outcomes = append(outcomes, o); err != nil {
			break // A run that does not recover is left as it is, for its operator to look at.
		}
	}
	return newReport(k.runID, c.Seed, len(k.plan.Kinds), outcomes), nil
}

func (k *chaos) say(format string, args ...any) {
	_, _ = fmt.Fprintf(k.progress, format, args...) // The faults go on without a reader.
}

func (k *chaos) sayOutcome(o Outcome) {
	if !o.Recovered {
		k.say("      not recovered: %s\n", o.Note)
		return
	}
	k.say("      detected after %s, next ring after %s, training after %s; %d steps and at most %d micro-batches again\n",
		seconds(o.DetectMS), seconds(o.FormMS), seconds(o.ResumeMS), o.StepsAgain, o.MicroBatchesAgain)
}

// status asks the run.
func (k *chaos) status(ctx context.Context) (api.Status, error) {
	client, err := k.find()
	if err != nil {
		return api.Status{}, err
	}
	var s api.Status
	if err := client.Do(ctx, "GET", "status", &s); err != nil {
		return s, err
	}
	k.runID = s.RunID
	if !slices.Contains(k.addrs, s.Join) {
		k.addrs = append(k.addrs, s.Join)
	}
	return s, nil
}

// wait asks again and again until f is content, for at most the limit.
func (k *chaos) wait(ctx context.Context, limit time.Duration, what string, f func() (bool, error)) error {
	deadline := time.Now().Add(limit)
	for {
		done, err := f()
		if done || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no %s within %v", what, limit)
		}
		if err := pause(ctx, pollPeriod); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// ready waits until training goes on with at least least ranks.
func (k *chaos) ready(ctx context.Context, least int) (api.Status, error) {
	var s api.Status
	err := k.wait(ctx, k.Limit, fmt.Sprintf("ring of %d workers to hurt", least), func() (bool, error) {
		var err error
		if s, err = k.status(ctx); err != nil {
			return false, fmt.Errorf("%w: %w", errOver, err)
		}
		if s.State == "training" && s.Step >= s.Steps {
			return false, fmt.Errorf("%w: it stands at step %d of %d", errOver, s.Step, s.Steps)
		}
		return s.State == "training" && len(ranks(s)) >= least, nil
	})
	return s, err
}

// ranks are the nodes that train.
func ranks(s api.Status) []api.Node {
	return slices.DeleteFunc(slices.Clone(s.Nodes), func(n api.Node) bool { return n.Rank < 0 || n.State != "training" })
}

// fault waits for the moment, hurts the run, and waits until it has recovered.
func (k *chaos) fault(ctx context.Context, kind Kind, wait time.Duration) (Outcome, error) {
	o := Outcome{Fault: kind}
	least := 2
	if kind == Join || kind == CoordinatorKill {
		least = 1
	}
	if _, err := k.ready(ctx, least); err != nil {
		return o, err
	}
	if err := pause(ctx, wait); err != nil {
		return o, err
	}
	s, err := k.ready(ctx, least)
	if err != nil {
		return o, err
	}
	o.Step = s.Step
	switch kind {
	case Join:
		return o, k.join(ctx, s, &o)
	case CoordinatorKill:
		return o, k.hurtCoordinator(ctx, s, &o)
	}
	return o, k.hurt(ctx, s, &o)
}

// recovered follows the events after t0 until the cluster has recovered.
func (k *chaos) recovered(ctx context.Context, o *Outcome, t0 time.Time, before []string) error {
	return k.wait(ctx, k.Limit, "recovery", func() (bool, error) {
		return k.look(ctx, o, t0, before)
	})
}

// look reads the events after t0.
func (k *chaos) look(ctx context.Context, o *Outcome, t0 time.Time, before []string) (bool, error) {
	client, err := k.find()
	if err != nil {
		return false, err
	}
	events, err := client.Events(ctx, t0)
	if err != nil {
		return false, err
	}
	fresh := Outcome{Fault: o.Fault, Step: o.Step}
	if o.Fault != Join {
		fresh.Node = o.Node
	}
	fresh.measure(t0, before, events)
	*o = fresh
	return o.done(), nil
}

// join starts a further local worker.
func (k *chaos) join(ctx context.Context, s api.Status, o *Outcome) error {
	k.say("start a local worker at step %d\n", s.Step)
	var before []string
	for _, n := range s.Nodes {
		before = append(before, n.Name)
	}
	client, err := k.find()
	if err != nil {
		return err
	}
	t0 := time.Now()
	if err := client.Hurt(ctx, api.Fault{Kind: string(Join)}); err != nil {
		return err
	}
	return k.recovered(ctx, o, t0, before)
}
