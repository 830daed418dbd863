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

// perform begins an effect.
func (j *job) perform(effect lifecycle.Effect) {
	w, s := j.w, j.w.s
	switch e := effect.(type) {
	case lifecycle.Sync:
		j.sync(e)
	case lifecycle.Ask:
		j.ask(e, j.wait(true), e.Ranks)
	case lifecycle.Exchange:
		mine := word{e.MicroBatches, w.mb.Seconds(), w.delivered(e.Step), j.pause, j.save}
		j.collect(opKey{position{e.Step, e.Attempt}, "word"}, &mine, func(parts []any) lifecycle.Event {
			ev := exchanged(e, parts)
			j.shares, j.seconds = ev.Shares, ev.Seconds
			w.reported(parts[0].(*word).reported)
			return ev
		})
	case lifecycle.Reduce:
		j.reduce(e)
	case lifecycle.Recalibrate:
		if e := j.machine; e != nil && w.base < 0 {
			w.base = w.state.exp
		}
		w.state.exp = w.total.needed
		w.then.Grid = w.state.replica().Grid
	case lifecycle.Apply:
		j.apply(e)
	case lifecycle.Confirm:
		j.collect(opKey{position{e.Step, e.Attempt}, "have"}, replica.Claim{Then: w.then, Now: w.then}, func(parts []any) lifecycle.Event {
			return j.agreed(e.Step+1, parts, lifecycle.Confirmed{Step: e.Step})
		})
	case lifecycle.Commit:
		j.commit(e)
	case lifecycle.Save:
		wait := j.wait(false)
		if j.o.rank != 0 {
			w.at(0, func() { wait.answer(lifecycle.Saved{Step: e.Step}) })
			return
		}
		if err := w.unchanged(); err != nil {
			w.at(0, func() { wait.answer(lifecycle.Failed{Err: err, Lost: true}) })
			return
		}
		saved := w.state
		if s.restarts() {
			w.post(report{jobID: posted, checkpoint: &saved})
			w.at(0, func() { wait.answer(lifecycle.Saved{Step: e.Step}) })
			return
		}
		w.at(s.between(5*time.Millisecond, 200*time.Millisecond), func() {
			w.report(report{jobID: j.id, checkpoint: &saved}, func(err error) { wait.answerOr(lifecycle.Saved{Step: e.Step}, err) })
		})
	}
}

// answerOr answers with ev, or fails with err.
func (w *wait) answerOr(ev lifecycle.Event, err error) {
	if err != nil {
		ev = lifecycle.Failed{Err: err}
	}
	w.answer(ev)
}

// collect takes part in a ring operation. Without a part it joins, and brings the part later.
func (j *job) collect(key opKey, mine any, event func([]any) lifecycle.Event) {
	wait := j.wait(true)
	j.inRing = key.position
	j.ring.join(j.o.rank, key, mine, func(parts any, err error) {
		switch {
		case wait.over():
		case err != nil:
			j.fail(err)
		default:
			ev := event(parts.([]any))
			if failed, ok := ev.(lifecycle.Failed); ok {
				delete(j.waits, wait)
				j.fail(failed.Err)
				return
			}
			wait.answer(ev)
		}
	})
}

// reduce joins the reduction at once, and brings the sums when the micro-batch under way is in them.
func (j *job) reduce(e lifecycle.Reduce) {
	key := opKey{position{e.Step, e.Attempt}, "sums"}
	bring := func() {
		j.ring.bring(j.o.rank, key, told{j.w.partial, replica.Claim{Then: j.w.then, Now: j.w.state.replica()}})
	}
	j.collect(key, nil, func(parts []any) lifecycle.Event { return j.reduced(e, parts) })
	if j.computing {
		j.reduction = bring
		return
	}
	bring()
}

func (j *job) reduced(e lifecycle.Reduce, parts []any) lifecycle.Event {
	w := j.w
	total := sums{exp: w.state.exp}
	for _, p := range parts {
		part := p.(told).sums
		if part.exp != total.exp {
			w.s.broken("step %d attempt %d: sums with exponents %d and %d meet", e.Step, e.Attempt, part.exp, total.exp)
		}
		total.needed = max(total.needed, part.needed)
		for i := range total.v {
			total.v[i] += part.v[i]
		}
	}
	w.total = total
	var claims []any
	for _, p := range parts {
		claims = append(claims, p.(told).claim)
	}
	return j.agreed(e.Step, claims, lifecycle.Reduced{Step: e.Step, Attempt: e.Attempt, Overflowed: total.needed > total.exp, NonFinite: total.needed == nonFinite})
}

func (j *job) apply(e lifecycle.Apply) {
	w := j.w
	if w.state.step != e.Step {
		w.s.broken("%s applies step %d at step %d", w.name, e.Step, w.state.step)
	}
	w.state.apply(w.total)
	w.base = -1
	j.flipInUpdate()
	w.applied()
	w.steps = append(w.steps, stepReport{epoch: j.o.epoch, generation: j.o.generation, step: w.state.step, digest: w.state.digest(), replica: w.then.String(), shares: j.shares, seconds: j.seconds})
	wait := j.wait(false)
	w.at(time.Millisecond, func() { wait.answer(lifecycle.Applied{Step: e.Step}) })
}

// commit reports at rank 0, which waits until the coordinator has the step.
func (j *job) commit(e lifecycle.Commit) {
	w := j.w
	wait := j.wait(false)
	if j.o.rank != 0 {
		w.at(0, func() { wait.answer(lifecycle.Committed{Step: e.Step}) })
		return
	}
	if w.s.restarts() {
		w.post(report{jobID: posted, step: new(w.steps[len(w.steps)-1])})
		w.at(0, func() { wait.answer(lifecycle.Committed{Step: e.Step}) })
		return
	}
	j.tell(w.untold(w.told), func(err error) {
		if err == nil {
			w.reported(e.Step)
		}
		wait.answerOr(lifecycle.Committed{Step: e.Step}, err)
	})
}

// tell reports steps one after the other.
func (j *job) tell(steps []stepReport, then func(error)) {
	if len(steps) == 0 {
		then(nil)
		return
	}
	step := steps[0]
	j.w.report(report{jobID: j.id, step: &step}, func(err error) {
		if err != nil {
			then(err)
			return
		}
		j.tell(steps[1:], then)
	})
}

// sync gets the state, when the coordinator can be reached.
func (j *job) sync(e lifecycle.Sync) {
	w, s := j.w, j.w.s
	wait := j.wait(true)
	if e.Source == lifecycle.Keep {
		w.at(time.Millisecond, func() { wait.answer(lifecycle.Synced{}) })
		return
	}
	var fetch func()
	fetch = func() {
		switch {
		case wait.over():
			return
		case w.unreachable() || j.o.from.over():
			w.at(200*time.Millisecond, fetch)
			return
		case e.Source == lifecycle.TakeSums && j.o.sums == nil, e.Source == lifecycle.LoadState && j.o.state == nil:
			s.broken("%s is to sync by %s, and there is nothing to take", w.name, e.Source)
			return
		case e.Source == lifecycle.TakeSums:
			if err := w.unchanged(); err != nil {
				delete(j.waits, wait)
				j.fail(err)
				return
			}
			s.result.Taken++
			w.total = *j.o.sums
			w.state.exp = w.total.exp
			w.state.apply(w.total)
		default:
			w.state, w.steps, w.told, w.wrong = *j.o.state, nil, 0, false
		}
		w.base = -1
		if w.state.step != j.o.firstStep {
			s.broken("%s synced to step %d, ordered %d", w.name, w.state.step, j.o.firstStep)
			return
		}
		w.applied()
		wait.answer(lifecycle.Synced{})
	}
	w.at(s.between(5*time.Millisecond, 400*time.Millisecond), fetch)
}
