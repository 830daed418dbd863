package sim

import (
	"time"

	"yohaku/worker/lifecycle"
	"yohaku/worker/replica"
)

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
			ev := j.ring.exchanged(e, parts)
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
