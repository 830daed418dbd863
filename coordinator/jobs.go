package coordinator

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"yohaku/coordinator/api"
	"yohaku/internal/logkey"
	"yohaku/internal/wire"
)

// gather waits for the workers that the first step needs.
func (c *Coordinator) gather(ctx context.Context) error {
	want := c.o.Config.Workers()
	if c.holders() {
		want = 1 // The ring goes on with whoever is there.
	}
	c.show(func(s *api.Status) { s.State = "waiting for workers" })
	for len(c.nodes) < want {
		if c.stopAsked {
			return ErrStopped
		}
		ev, err := c.next(ctx)
		if err != nil {
			return err
		}
		if ev.hello != nil && len(c.nodes) < want {
			c.log.Info().Int(logkey.WorldSize, len(c.nodes)).Int("wanted", want).Msg("waiting for workers")
		}
	}
	return nil
}

// maxJobFailures bounds how often one job may fail before its error ends the run.
const maxJobFailures = 3

// retryDelay is the pause before an order that was not taken is given again.
const retryDelay = 200 * time.Millisecond

// leaveTimeout bounds the farewell of the workers.
const leaveTimeout = 5 * time.Second

// backlog holds the jobs that wait, by index: a record.Queue.
type backlog interface {
	Take() (job int, ok bool, err error)
	Done(job int) error
	Again(job int) error
}

// queue is work for whoever is idle. A job whose worker dies goes to another.
type queue struct {
	jobs     []wire.Job
	waiting  backlog
	running  map[string]int // Job index by node.
	failures []int
	left     int
}

// spread runs the jobs on the idle workers, by way of a work queue. onDone stores the result of each, once; then it is
// acknowledged. It returns ErrStopped when the wish to stop comes.
func (c *Coordinator) spread(ctx context.Context, jobs []wire.Job, onDone func(i int, d wire.Done) error) error {
	q := &queue{jobs: jobs, running: map[string]int{}, failures: make([]int, len(jobs)), left: len(jobs)}
	for i := range jobs {
		c.nextJob++
		jobs[i].ID = "job-" + strconv.Itoa(c.nextJob)
	}
	waiting, err := c.record.store.Queue(len(jobs))
	if err != nil {
		return err
	}
	q.waiting = waiting
	for q.left > 0 {
		if c.stopAsked {
			return ErrStopped // It may have been asked for before this phase.
		}
		if err := c.handOut(ctx, q); err != nil {
			return err
		}
		ev, err := c.next(ctx)
		if err != nil {
			return err
		}
		if err := c.spreadEvent(q, ev, onDone); err != nil {
			return err
		}
	}
	return nil
}

// handOut gives waiting jobs to idle workers.
func (c *Coordinator) handOut(ctx context.Context, q *queue) error {
	for _, name := range c.standing {
		if _, busy := q.running[name]; busy {
			continue
		}
		i, ok, err := q.waiting.Take()
		if err != nil || !ok {
			return err
		}
		if err := c.order(ctx, name, wire.Order{Job: &q.jobs[i]}); err != nil {
			c.log.Debug().Err(err).Msg("job not handed out") // Gone, which membership tells, or not reachable just now.
			c.retry = time.After(retryDelay)
			if err := q.waiting.Again(i); err != nil {
				return err
			}
			continue
		}
		q.running[name] = i
		c.setState(name, string(q.jobs[i].Kind))
	}
	return nil
}

func (c *Coordinator) spreadEvent(q *queue, ev event, onDone func(int, wire.Done) error) error {
	switch {
	case ev.stop:
		return ErrStopped
	case ev.lost != "":
		if i, busy := q.running[ev.lost]; busy {
			delete(q.running, ev.lost)
			return q.waiting.Again(i)
		}
	case ev.report != nil && ev.report.Done != nil:
		i, busy := q.running[ev.report.Node]
		if !busy || q.jobs[i].ID != ev.report.JobID {
			return nil // Of a job that was given up.
		}
		delete(q.running, ev.report.Node)
		c.setState(ev.report.Node, "idle")
		return q.done(i, ev.report.Node, *ev.report.Done, onDone)
	}
	return nil
}

func (q *queue) done(i int, name string, d wire.Done, onDone func(int, wire.Done) error) error {
	if d.Error != "" {
		if q.failures[i]++; q.failures[i] >= maxJobFailures || len(q.jobs) == 1 {
			return fmt.Errorf("%s job on worker %s: %s", q.jobs[i].Kind, name, d.Error)
		}
		return q.waiting.Again(i)
	}
	q.left--
	if err := onDone(i, d); err != nil {
		return err
	}
	return q.waiting.Done(i)
}

// setState changes what the status says of a node.
func (c *Coordinator) setState(name, state string) {
	if n, known := c.nodes[name]; known {
		n.state = state
		c.showNodes()
	}
}

// dismissWorkers tells all workers to leave, and waits for the local ones.
func (c *Coordinator) dismissWorkers() {
	if c.locals == nil {
		return
	}
	c.locals.leaving = true
	c.locals.interrupt(c.nodes)
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	for _, name := range c.standing {
		if err := c.order(ctx, name, wire.Order{Leave: true}); err != nil {
			c.log.Debug().Err(err).Msg("worker did not take leave")
		}
	}
	c.locals.wait(leaveTimeout)
}
