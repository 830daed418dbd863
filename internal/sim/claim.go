package sim

import (
	"time"

	"yohaku/worker/lifecycle"
)

// answer is what a claim got; the same claim gets it again.
type answer struct{ number, microBatch int }

// claimTimeout is how long an answer is waited for before the same claim is sent again.
const claimTimeout = time.Second

// ask asks the ranks one after the other for a micro-batch that they have not begun.
func (j *job) ask(e lifecycle.Ask, wait *wait, ranks []int) {
	if len(ranks) == 0 {
		j.w.at(0, func() { wait.answer(lifecycle.Answered{Step: e.Step, Attempt: e.Attempt, MicroBatch: lifecycle.None}) })
		return
	}
	j.asked++
	j.claim(e, wait, ranks, j.asked)
}

// claim sends a claim to the first of the ranks, again and again until it is answered.
func (j *job) claim(e lifecycle.Ask, wait *wait, ranks []int, number int) {
	w, s := j.w, j.w.s
	owner := j.ring.members[ranks[0]]
	answered := false
	hear := func(mb int) {
		if answered || wait.over() {
			return
		}
		answered = true
		if mb == lifecycle.None {
			j.ask(e, wait, ranks[1:])
			return
		}
		s.result.TakenOver++
		s.note("%s takes micro-batch %d of step %d over from %s", w.name, mb, e.Step, owner.name)
		wait.answer(lifecycle.Answered{Step: e.Step, Attempt: e.Attempt, MicroBatch: mb})
	}
	if owner.dead {
		w.at(time.Millisecond, func() { hear(lifecycle.None) }) // Nobody is there to answer.
		return
	}
	if !w.cut {
		owner.at(s.between(time.Millisecond, 15*time.Millisecond), func() {
			if owner.cut {
				return
			}
			rest, each := j.left()
			mb := owner.claimed(j.o, number, lifecycle.Claim{Step: e.Step, Attempt: e.Attempt, Rank: j.o.rank, Done: rest + each})
			if !owner.cut && !s.chance(s.LossRate) {
				w.at(s.between(time.Millisecond, 15*time.Millisecond), func() { hear(mb) })
			}
		})
	}
	w.at(claimTimeout, func() {
		if !answered && !wait.over() {
			j.claim(e, wait, ranks, number)
		}
	})
}

// claimed answers a claim of another rank of the generation.
func (w *worker) claimed(from *trainOrder, number int, c lifecycle.Claim) int {
	j := w.job
	if j == nil || j.machine == nil || j.o.key() != from.key() || j.finish != nil {
		return lifecycle.None
	}
	if last, known := j.answers[c.Rank]; known && number <= last.number {
		return last.microBatch
	}
	c.Rest, c.Each = j.left()
	j.given = lifecycle.None
	j.step(c)
	if j.answers == nil {
		j.answers = map[int]answer{}
	}
	j.answers[c.Rank] = answer{number, j.given}
	return j.given
}

// left is the time that the micro-batch under way still takes, and a further one, in seconds.
func (j *job) left() (rest, each float64) {
	each = j.w.mb.Seconds()
	if !j.computing {
		return 0, each
	}
	elapsed := (j.w.s.now - j.began).Seconds()
	each = max(each, elapsed)
	return each - elapsed, each
}
