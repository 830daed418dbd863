package coordinator

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"yohaku/internal/wire"
)

// list is a backlog in memory.
type list struct{ jobs, done []int }

func (l *list) Take() (int, bool, error) {
	if len(l.jobs) == 0 {
		return 0, false, nil
	}
	job := l.jobs[0]
	l.jobs = l.jobs[1:]
	return job, true, nil
}

func (l *list) Done(job int) error { l.done = append(l.done, job); return nil }

func (l *list) Again(job int) error { l.jobs = append(l.jobs, job); return nil }

// newQueue is a queue of n jobs, the first of which run on the nodes.
func newQueue(n int, nodes ...string) *queue {
	waiting := &list{}
	q := &queue{jobs: make([]wire.Job, n), waiting: waiting, running: map[string]int{}, failures: make([]int, n), left: n}
	for i := range n {
		q.jobs[i] = wire.Job{ID: "job-" + string(rune('a'+i)), Kind: wire.JobEncode}
		if i < len(nodes) {
			q.running[nodes[i]] = i
		} else {
			waiting.jobs = append(waiting.jobs, i)
		}
	}
	return q
}

func testCoordinator() *Coordinator {
	return &Coordinator{log: zerolog.Nop(), nodes: map[string]*node{"a": {}, "b": {}}, stopped: make(chan struct{})}
}

func reportDone(node, job, failure string) event {
	return event{report: &wire.Report{Node: node, JobID: job, Done: &wire.Done{Error: failure}}}
}

// TestAJobOfALostWorkerGoesToAnother, and what the lost one reports later is not counted.
func TestAJobOfALostWorkerGoesToAnother(t *testing.T) {
	c, q := testCoordinator(), newQueue(2, "a", "b")
	var done []int
	onDone := func(i int, _ wire.Done) error { done = append(done, i); return nil }
	for _, ev := range []event{{lost: "a"}, reportDone("a", "job-a", ""), reportDone("b", "job-b", ""), reportDone("b", "job-b", "")} {
		if err := c.spreadEvent(q, ev, onDone); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]int{1}, done); diff != "" {
		t.Errorf("jobs done (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&list{jobs: []int{0}, done: []int{1}}, q.waiting, cmp.AllowUnexported(list{})); diff != "" || q.left != 1 || len(q.running) != 0 {
		t.Errorf("waiting (-want +got):\n%s left %d, running %v; want 1 left, none running", diff, q.left, q.running)
	}
}

func TestAJobThatFailsIsTriedAgainThreeTimes(t *testing.T) {
	c, q := testCoordinator(), newQueue(2, "a", "b")
	for range maxJobFailures - 1 {
		if err := c.spreadEvent(q, reportDone("a", "job-a", "no memory"), nil); err != nil {
			t.Fatal(err)
		}
		if job, ok, err := q.waiting.Take(); job != 0 || !ok || err != nil {
			t.Fatalf("waiting: job %d, %v, %v; want job 0", job, ok, err)
		}
		q.running["a"] = 0
	}
	err := c.spreadEvent(q, reportDone("a", "job-a", "no memory"), nil)
	if err == nil || err.Error() != "encode job on worker a: no memory" {
		t.Errorf("third failure: %v, want it to end the phase with kind, worker and reason", err)
	}
}

func TestStopEndsAPhase(t *testing.T) {
	if err := testCoordinator().spreadEvent(newQueue(1, "a"), event{stop: true}, nil); !errors.Is(err, ErrStopped) {
		t.Errorf("%v, want ErrStopped", err)
	}
}

func TestProgressBar(t *testing.T) {
	var out strings.Builder
	p := newProgress(&out, 4)
	p.phase("training", 4)
	p.step(wire.StepReport{Step: 1, Loss: 0.5, LogOdds: 0.25, ItemsPerSecond: 8, DurationMS: float64(time.Hour.Milliseconds())})
	for _, want := range []string{"training ██████░░", " 1/4", "loss 0.5000", "margin +0.25000", "8.0 items/s", "3h0m0s left"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("bar %q, want %q in it", out.String(), want)
		}
	}
	p.step(wire.StepReport{Step: 4})
	p.end()
	p.end()
	if s := out.String(); strings.Count(s, "\n") != 1 || !strings.HasSuffix(s, "\n") || strings.Contains(s[strings.LastIndex(s, "4/4"):], "left") {
		t.Errorf("bar %q, want one line end, after a full bar without time left", s)
	}
	none := newProgress(nil, 4) // Without a terminal there is nothing to draw on.
	none.phase("training", 4)
	none.at(2)
	none.end()
}
