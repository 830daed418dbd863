package sim

import (
	"errors"
	"time"

	"yohaku/worker/lifecycle"
)

// word is what ranks exchange.
type word struct {
	microBatches []int
	seconds      float64
	reported     int
	pause, save  bool
}

// trainOrder makes a worker one rank of a generation.
type trainOrder struct {
	id                  string
	generation          uint64
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
	waits       int               // Numbers what is waited for: an answer to an earlier wait is dropped.
	inRing      position          // Of the ring operation waited for.
	interrupt   bool              // What is waited for can be given up.
	shares      [][]int           // Of the step, as exchanged.
	seconds     []float64         // As exchanged.
	finish      *lifecycle.Finish // Once it is over.
}

// cancel ends the job as soon as it can.
func (j *job) cancel() {
	if j.cancelled {
		return
	}
	j.cancelled = true
	if j.interrupt {
		j.fail(errCalledBack)
	}
}

// wait returns how to answer what the job waits for now.
func (j *job) wait(interrupt bool) func(lifecycle.Event) {
	j.waits++
	j.interrupt = interrupt
	mine := j.waits
	return func(ev lifecycle.Event) {
		if mine != j.waits || j.finish != nil {
			return
		}
		j.interrupt = false
		j.waits++
		j.queue = append(j.queue, j.machine.Step(ev)...)
		j.proceed()
	}
}

// fail ends the generation here, and tells the ring.
func (j *job) fail(err error) {
	j.waits++
	j.interrupt = false
	if j.machine == nil {
		return // Preparing and donating end by themselves.
	}
	j.ring.abort(j.inRing)
	j.queue = j.machine.Step(lifecycle.Failed{Err: err})
	j.proceed()
}

// proceed performs effects until one has to be waited for.
func (j *job) proceed() {
	w := j.w
	for len(j.queue) > 0 && j.finish == nil {
		effect := j.queue[0]
		j.queue = j.queue[1:]
		switch e := effect.(type) {
		case lifecycle.Finish:
			j.over(e)
			return
		case lifecycle.Clear:
			w.partial = sums{exp: w.state.exp}
			continue
		case lifecycle.Revert:
			w.state.exp = w.base
			continue
		}
		if j.cancelled {
			j.fail(errCalledBack)
			return
		}
		if j.perform(effect) {
			return
		}
	}
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
	}
	w.end(w.whatIsHeld(j.id, err))
}

// perform begins an effect, and tells whether it has to be waited for.
func (j *job) perform(effect lifecycle.Effect) (waits bool) {
	w, s := j.w, j.w.s
	switch e := effect.(type) {
	case lifecycle.Sync:
		j.sync(e)
	case lifecycle.Compute:
		answer := j.wait(false)
		w.at(w.mb+s.between(0, w.mb/10), func() {
			w.state.add(&w.partial, e.MicroBatch)
			answer(lifecycle.Computed(e))
		})
	case lifecycle.Exchange:
		mine := word{e.MicroBatches, w.mb.Seconds(), e.Step, j.pause, j.save}
		if len(w.steps) > 0 {
			mine.reported = w.steps[0].step - 1
		}
		j.collect(opKey{position{e.Step, e.Attempt}, "word"}, mine, func(parts []any) lifecycle.Event {
			ev := exchanged(e, parts)
			j.shares, j.seconds = ev.Shares, ev.Seconds
			w.reported(parts[0].(word).reported)
			return ev
		})
	case lifecycle.Reduce:
		j.collect(opKey{position{e.Step, e.Attempt}, "sums"}, w.partial, func(parts []any) lifecycle.Event { return j.reduced(e, parts) })
	case lifecycle.Recalibrate:
		if e := j.machine; e != nil && w.base < 0 {
			w.base = w.state.exp
		}
		w.state.exp = w.total.needed
		return false
	case lifecycle.Apply:
		j.apply(e)
	case lifecycle.Confirm:
		j.collect(opKey{position{e.Step, e.Attempt}, "have"}, w.state.digest(), func([]any) lifecycle.Event { return lifecycle.Confirmed{Step: e.Step} })
	case lifecycle.Commit:
		j.commit(e)
	case lifecycle.Save:
		answer := j.wait(false)
		if j.o.rank != 0 {
			w.at(0, func() { answer(lifecycle.Saved{Step: e.Step}) })
			return true
		}
		saved := w.state
		w.at(s.between(5*time.Millisecond, 200*time.Millisecond), func() {
			w.report(report{jobID: j.id, checkpoint: &saved}, func(err error) { j.answerOr(answer, lifecycle.Saved{Step: e.Step}, err) })
		})
	}
	return true
}

// answerOr answers with ev, or fails with err.
func (j *job) answerOr(answer func(lifecycle.Event), ev lifecycle.Event, err error) {
	if err != nil {
		ev = lifecycle.Failed{Err: err}
	}
	answer(ev)
}

// collect takes part in a ring operation.
func (j *job) collect(key opKey, mine any, event func([]any) lifecycle.Event) {
	answer := j.wait(true)
	j.inRing = key.position
	mark := j.waits
	j.ring.join(j.o.rank, key, mine, func(parts any, err error) {
		switch {
		case mark != j.waits:
		case err != nil:
			j.fail(err)
		default:
			answer(event(parts.([]any)))
		}
	})
}

func (j *job) reduced(e lifecycle.Reduce, parts []any) lifecycle.Event {
	w := j.w
	total := sums{exp: w.state.exp}
	for _, p := range parts {
		part := p.(sums)
		if part.exp != total.exp {
			w.s.broken("step %d attempt %d: sums with exponents %d and %d meet", e.Step, e.Attempt, part.exp, total.exp)
		}
		total.needed = max(total.needed, part.needed)
		for i := range total.v {
			total.v[i] += part.v[i]
		}
	}
	w.total = total
	return lifecycle.Reduced{Step: e.Step, Attempt: e.Attempt, Overflowed: total.needed > total.exp, NonFinite: total.needed == nonFinite}
}

func (j *job) apply(e lifecycle.Apply) {
	w := j.w
	if w.state.step != e.Step {
		w.s.broken("%s applies step %d at step %d", w.name, e.Step, w.state.step)
	}
	w.state.apply(w.total)
	w.base = -1
	w.applied()
	w.steps = append(w.steps, stepReport{generation: j.o.generation, step: w.state.step, digest: w.state.digest(), shares: j.shares, seconds: j.seconds})
	answer := j.wait(false)
	w.at(time.Millisecond, func() { answer(lifecycle.Applied{Step: e.Step}) })
}

// commit reports at rank 0, which waits until the coordinator has the step.
func (j *job) commit(e lifecycle.Commit) {
	w := j.w
	answer := j.wait(false)
	if j.o.rank != 0 {
		w.at(0, func() { answer(lifecycle.Committed{Step: e.Step}) })
		return
	}
	j.tell(w.steps, func(err error) {
		if err == nil {
			w.reported(e.Step)
		}
		j.answerOr(answer, lifecycle.Committed{Step: e.Step}, err)
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
	answer := j.wait(true)
	mark := j.waits
	if e.Source == lifecycle.Keep {
		w.at(time.Millisecond, func() { answer(lifecycle.Synced{}) })
		return
	}
	var fetch func()
	fetch = func() {
		switch {
		case mark != j.waits:
			return
		case w.cut:
			w.at(200*time.Millisecond, fetch)
			return
		case e.Source == lifecycle.TakeSums && j.o.sums == nil, e.Source == lifecycle.LoadState && j.o.state == nil:
			s.broken("%s is to sync by %s, and there is nothing to take", w.name, e.Source)
			return
		case e.Source == lifecycle.TakeSums:
			s.result.Taken++
			w.total = *j.o.sums
			w.state.exp = w.total.exp
			w.state.apply(w.total)
		default:
			w.state, w.steps = *j.o.state, nil
		}
		w.base = -1
		if w.state.step != j.o.firstStep {
			s.broken("%s synced to step %d, ordered %d", w.name, w.state.step, j.o.firstStep)
			return
		}
		w.applied()
		answer(lifecycle.Synced{})
	}
	w.at(s.between(5*time.Millisecond, 400*time.Millisecond), fetch)
}
