package sim

import (
	"slices"
	"time"

	"yohaku/coordinator/rendezvous"
	"yohaku/worker/lifecycle"
)

// allegiance is whom a worker belongs to.
type allegiance struct {
	fence     lifecycle.Fence
	trained   lifecycle.Generation // The last that it was in.
	lastRanks []string             // Its nodes.
	greeted   string               // The coordinator that heard its last hello.
}

// key names the ring.
func (o *trainOrder) key() lifecycle.Generation {
	return lifecycle.Generation{Epoch: o.epoch, Number: o.generation}
}

// lord is the coordinator that the worker belongs to, or nil when that one is no more.
func (w *worker) lord() *coordinator {
	if w.fence.Coordinator() == "" {
		k := w.s.coord
		if k.over() || !k.claimed {
			return nil
		}
		w.fence = lifecycle.NewFence(k.name, k.epoch)
	}
	if k := w.s.coords[w.fence.Coordinator()]; !k.dead {
		return k
	}
	return nil
}

// hear checks who sends an order.
func (w *worker) hear(o order) error {
	if o.from == "" {
		return nil
	}
	_, err := w.fence.Hear(o.from, o.epoch)
	return err
}

// needless tells whether to say hello has been overtaken: it was said, or another coordinator than
// the one that had given the worker up asks for it.
func (w *worker) needless(o order) bool {
	if o.from != "" {
		return !o.forget && o.from == w.greeted || o.from != w.fence.Coordinator()
	}
	return w.greeted != "" && w.greeted != w.fence.Coordinator()
}

// standing answers whoever wants the run.
func (w *worker) standing() rendezvous.Standing {
	st := rendezvous.Standing{Node: w.name, Coordinator: w.fence.Coordinator(), Highest: rendezvous.Generation(w.fence.Highest()), Ranks: w.lastRanks}
	if k := w.s.coords[st.Coordinator]; k != nil {
		st.Alive = !k.dead || w.s.now < k.died+k.noticed
	}
	return st
}

// rejoin says hello to a coordinator that takes the run up, with what is in memory.
func (w *worker) rejoin(o order) {
	w.met, w.following = true, false
	w.greet(o.recorded)
}

// greet says hello.
func (w *worker) greet(recorded int) {
	r := report{hello: true, trained: w.trained, differ: w.differ}
	if w.holding.Loaded {
		h := w.holding
		r.holding, r.steps = &h, slices.Clone(w.untold(recorded))
	}
	w.report(r, func(err error) { w.toldOf(r.differ, err) })
}

// keptReports is how many steps that were told a worker keeps.
const keptReports = 8

// reported notes that the coordinator has the steps up to last.
func (w *worker) reported(last int) {
	w.told = max(w.told, last)
	w.steps = slices.DeleteFunc(w.steps, func(s stepReport) bool { return s.step <= w.told-keptReports })
}

// untold are the steps in memory after the given one.
func (w *worker) untold(after int) []stepReport {
	i := slices.IndexFunc(w.steps, func(s stepReport) bool { return s.step > after })
	if i < 0 {
		return nil
	}
	return w.steps[i:]
}

// posted stands for the job of what comes from an outbox.
const posted = "posted"

// outbox holds what rank 0 has to tell of training, in order; the ring does not wait for it.
type outbox struct {
	box        []report
	cleared    int
	delivering bool
	flush      func() // What waits for the outbox to be empty.
}

func (w *worker) clearBox() {
	w.box, w.flush = nil, nil
	w.cleared++
}

// delivered is the last step that the coordinator has, of those up to last.
func (w *worker) delivered(last int) int {
	if !w.s.restarts() {
		if untold := w.untold(w.told); len(untold) > 0 {
			return untold[0].step - 1
		}
		return last
	}
	for _, r := range w.box {
		if r.step != nil {
			return min(last, r.step.step-1)
		}
	}
	return last
}

// post adds a step or a checkpoint.
func (w *worker) post(r report) {
	w.box = append(w.box, r)
	w.deliver()
}

// deliver tells the coordinator, for as long as it takes.
func (w *worker) deliver() {
	if w.delivering {
		return
	}
	if len(w.box) == 0 {
		if flush := w.flush; flush != nil {
			w.flush = nil
			flush()
		}
		return
	}
	w.delivering = true
	cleared := w.cleared
	w.report(w.box[0], func(err error) {
		w.delivering = false
		if cleared == w.cleared && err == nil {
			w.box = w.box[1:]
		}
		pause := time.Duration(0)
		if err != nil {
			pause = 200 * time.Millisecond
		}
		w.at(pause, w.deliver)
	})
}
