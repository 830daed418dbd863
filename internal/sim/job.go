package sim

import (
	"errors"
	"time"

	"yohaku/worker/lifecycle"
	"yohaku/worker/replica"
)

// word is what ranks exchange.
type word struct {
	microBatches []int
	seconds      float64
	reported     int
	pause, save  bool
}

// told is what a rank has for a reduction: its sums, and what it says of the state behind them.
type told struct {
	sums  sums
	claim replica.Claim
}

// trainOrder makes a worker one rank of a generation.
type trainOrder struct {
	id                  string
	from                *coordinator
	epoch, generation   uint64
	rank                int
	nodes               []string
	firstStep, lastStep int
	source              string
	save                bool
	state               *state
	sums                *sums
	first, shares       [][]int
}

// job is what a worker is doing.
type job struct {
	w           *worker
	id          string
	o           *trainOrder
	ring        *ring
	machine     *lifecycle.Machine
	queue       []lifecycle.Effect
	pause, save bool
	cancelled   bool
	waits       map[*wait]bool // What is waited for.
	inRing      position       // Of the ring operations waited for.
	reduction   func()         // Hands this rank's sums to the reduction that waits for them.
	computing   bool
	began       time.Duration     // Of the micro-batch under way, or the last.
	asked       int               // Claims made.
	answers     map[int]answer    // To the last claim of each rank.
	given       int               // What the machine gave to the claim at hand.
	shares      [][]int           // Of the step, as exchanged.
	seconds     []float64         // As exchanged.
	finish      *lifecycle.Finish // Once it is over.
}

// wait is an effect under way. An answer to one that was given up is dropped.
type wait struct {
	j         *job
	interrupt bool // It can be given up.
}

// cancel ends the job as soon as it can.
func (j *job) cancel() {
	if j.cancelled {
		return
	}
	j.cancelled = true
	if flush := j.w.flush; flush != nil {
		j.w.flush = nil
		flush()
		return
	}
	for w := range j.waits {
		if w.interrupt {
			j.fail(errCalledBack)
			return
		}
	}
}

// wait begins to wait for an effect.
func (j *job) wait(interrupt bool) *wait {
	w := &wait{j, interrupt}
	if j.waits == nil {
		j.waits = map[*wait]bool{}
	}
	j.waits[w] = true
	return w
}

// over tells whether the effect was given up, or answered.
func (w *wait) over() bool { return !w.j.waits[w] || w.j.finish != nil }

// answer ends the wait.
func (w *wait) answer(ev lifecycle.Event) {
	if w.over() {
		return
	}
	delete(w.j.waits, w)
	w.j.step(ev)
}

func (j *job) step(ev lifecycle.Event) {
	j.queue = append(j.queue, j.machine.Step(ev)...)
	j.proceed()
}

// fail gives up what can be given up, and tells the ring.
func (j *job) fail(err error) {
	for w := range j.waits {
		if w.interrupt {
			delete(j.waits, w)
		}
	}
	if j.machine == nil {
		return // Preparing and donating end by themselves.
	}
	j.ring.abort(j.inRing)
	j.queue, j.reduction = nil, nil
	lost := j.concerned(err)
	if lost {
		j.w.steps = nil
	}
	j.step(lifecycle.Failed{Err: err, Lost: lost})
}

// proceed performs effects until all that is left has to be waited for.
func (j *job) proceed() {
	for len(j.queue) > 0 && j.finish == nil {
		effect := j.queue[0]
		j.queue = j.queue[1:]
		switch e := effect.(type) {
		case lifecycle.Finish:
			j.over(e)
			return
		case lifecycle.Clear:
			j.w.partial = sums{exp: j.w.state.exp}
			continue
		case lifecycle.Revert:
			j.w.state.exp = j.w.base
			j.w.then.Grid = j.w.state.replica().Grid
			continue
		case lifecycle.Compute:
			j.compute(e)
			continue
		case lifecycle.Give:
			j.given = e.MicroBatch
			continue
		}
		if j.cancelled {
			j.fail(errCalledBack)
			return
		}
		j.perform(effect)
	}
}

// compute adds a micro-batch to the partial sums. It is not interrupted.
func (j *job) compute(e lifecycle.Compute) {
	w := j.w
	if j.cancelled {
		j.queue = j.machine.Step(lifecycle.Dropped{Step: e.Step, Attempt: e.Attempt, MicroBatch: e.MicroBatch, Err: errCalledBack}) // And nothing else begins.
		return
	}
	wait := j.wait(false)
	j.computing, j.began = true, w.s.now
	w.at(w.mb+w.s.between(0, w.mb/10), func() {
		j.computing = false
		w.state.add(&w.partial, e.MicroBatch)
		if bring := j.reduction; bring != nil {
			j.reduction = nil
			bring()
		}
		wait.answer(lifecycle.Computed(e))
	})
}

// over reports what the rank holds.
func (j *job) over(e lifecycle.Finish) {
	j.finish = &e
	j.ring.gone[j.o.rank] = true
	w := j.w
	w.holding = j.machine.Holding()
	err := e.Err
	if errors.Is(err, errCalledBack) {
		err = nil
	} else if err == nil && j.o.rank == 0 && len(w.box) > 0 && !j.cancelled {
		w.flush = func() { w.end(w.whatIsHeld(j.id, nil)) } // The end of the generation is told after its checkpoint.
		return
	}
	r := w.whatIsHeld(j.id, err)
	r.anew = w.holding.Loaded && j.o.source == string(lifecycle.LoadState)
	w.end(r)
}
