package record

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	workStream  = "work"
	workSubject = "work.jobs"
	// ackWait is beyond any job: who gives up on a job says so, with Again.
	ackWait = 24 * time.Hour
)

// Queue is a JetStream work queue of jobs, by number. A job leaves it when its result is stored; one that
// was given up is taken again. It belongs to one goroutine.
type Queue struct {
	consumer jetstream.Consumer
	js       jetstream.JetStream
	taken    map[int]jetstream.Msg
	waiting  int // Jobs to take. The server says late that there is one, so it is not asked whether.
}

// Queue empties the work queue and fills it with the jobs 0 to n−1. What jobs have left behind is with their
// results, so that a coordinator that comes back asks only for those that are missing.
func (s *Store) Queue(n int) (*Queue, error) {
	q := &Queue{taken: map[int]jetstream.Msg{}, waiting: n}
	if err := q.open(s, n); err != nil {
		return nil, fmt.Errorf("open the work queue: %w", err)
	}
	return q, nil
}

func (q *Queue) open(s *Store, n int) error {
	js, err := jetstream.New(s.conn)
	if err != nil {
		return err
	}
	q.js = js
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	stream, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: workStream, Subjects: []string{workSubject}, Retention: jetstream.WorkQueuePolicy})
	if err != nil {
		return err
	}
	if err := stream.Purge(ctx); err != nil {
		return err
	}
	q.consumer, err = stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{Durable: workStream, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait})
	if err != nil {
		return err
	}
	for i := range n {
		if _, err := js.Publish(ctx, workSubject, []byte(strconv.Itoa(i))); err != nil {
			return err
		}
	}
	return nil
}

// Take is the next job that waits; ok is false when none does.
func (q *Queue) Take() (job int, ok bool, err error) {
	if q.waiting == 0 {
		return 0, false, nil
	}
	m, err := q.consumer.Next(jetstream.FetchMaxWait(callTimeout))
	if err == nil {
		job, err = strconv.Atoi(string(m.Data()))
	}
	if err != nil {
		return 0, false, fmt.Errorf("take a job from the work queue, where %d wait: %w", q.waiting, err)
	}
	q.taken[job] = m
	q.waiting--
	return job, true, nil
}

// Done removes a job that was taken: its result is stored.
func (q *Queue) Done(job int) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if err := q.taken[job].DoubleAck(ctx); err != nil {
		return fmt.Errorf("acknowledge job %d: %w", job, err)
	}
	delete(q.taken, job)
	return nil
}

// Again gives a job back that was taken.
func (q *Queue) Again(job int) error {
	if err := q.taken[job].Nak(); err != nil {
		return fmt.Errorf("give job %d back: %w", job, err)
	}
	delete(q.taken, job)
	q.waiting++
	return nil
}
