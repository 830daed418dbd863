package sim

import (
	"errors"
	"slices"
	"time"

	"yohaku/worker/lifecycle"
	"yohaku/worker/replica"
)

var errCalledBack = errors.New("called back")

// worker is a process: the shell of package worker, modelled.
type worker struct {
	s    *cluster
	name string
	mb   time.Duration // Time of a micro-batch.

	dead, frozen, cut, leaving bool
	following                  bool     // A ring, since it was prepared.
	met                        bool     // It has said hello.
	held                       []func() // What happens when it thaws.

	orders []order
	job    *job
	allegiance
	outbox
	last time.Duration // When the last order arrives: orders keep their order.

	// What outlives a job.
	holding lifecycle.Holding
	state   state
	then    replica.Digest // Of the state when it was made.
	flips   int
	wrong   bool // A bit of the state has flipped.
	base    int  // The exponent at the beginning of the step, when raised.
	partial sums
	total   sums
	steps   []stepReport // Applied, the last ones of those that were told too.
	told    int          // Steps that the coordinator is known to have.
	differ  *differError // The last that this worker found, until a coordinator was told and made a ring since.
	known   bool         // It was told.
}

// order is what the coordinator sends.
type order struct {
	train                *trainOrder
	prepare, donate      string // Job ids.
	state, sums          bool   // What to donate.
	step                 int
	cancel, pause        string
	generation           uint64 // Of cancel.
	save, hello, release bool
	from                 string // The coordinator; "" for what the worker does of itself.
	epoch                uint64 // The coordinator's.
	forget               bool   // With hello: it was given up, and what it holds is void.
	recorded             int    // With hello: steps that the coordinator has.
}

// at has f happen in the process d from now, or when it thaws; never if it is dead by then.
func (w *worker) at(d time.Duration, f func()) {
	w.s.after(d, func() {
		switch {
		case w.dead:
		case w.frozen:
			w.held = append(w.held, f)
		default:
			f()
		}
	})
}

func (w *worker) exit() {
	if w.dead {
		return
	}
	w.dead = true
	w.s.disturb(w)
	w.s.note("%s left", w.name)
	w.s.after(50*time.Millisecond, func() { w.s.lost(w.name) })
}

// hello begins anew: what is in memory belongs to a log that may have been cut back since.
func (w *worker) hello() {
	w.met, w.holding, w.steps, w.told, w.following = true, lifecycle.Holding{}, nil, 0, false
	w.clearBox()
	w.greet(0)
}

// report tells the coordinator, again and again until it has answered; then goes on.
func (w *worker) report(r report, then func(error)) {
	r.node = w.name
	w.s.note("%s reports %+v", w.name, r)
	w.attempt(r, w.s.now+time.Minute, then)
}

func (w *worker) attempt(r report, until time.Duration, then func(error)) {
	if w.s.now > until {
		if then != nil {
			then(errors.New("the coordinator does not answer"))
		}
		return
	}
	again := func() { w.at(200*time.Millisecond, func() { w.attempt(r, until, then) }) }
	sent := w.s.now
	w.at(w.s.transit(15*time.Millisecond), func() {
		k := w.lord()
		if w.unreachable() || k == nil || k.later(r) {
			again()
			return
		}
		if w.s.lose() {
			w.at(answerTimeout, again)
			return
		}
		known := k.receive(r)
		if !r.hello { // Its answer opens the outbox, so a late one is none.
			w.s.repeat(answerTimeout, func() { k.receive(r) })
		}
		if late := w.s.now > sent+answerTimeout; late || w.s.lose() {
			w.at(max(0, sent+answerTimeout-w.s.now), again) // The answer is lost, so it is said twice.
			return
		}
		w.at(w.s.between(time.Millisecond, 5*time.Millisecond), func() {
			var err error
			if !known {
				err = errors.New("given up")
				_ = w.take(order{hello: true, forget: true}) // Nobody's word is refused.
			}
			if r.hello {
				w.greeted = k.name
			}
			if then != nil {
				then(err)
			}
		})
	})
}

// take queues an order.
func (w *worker) take(o order) error {
	w.s.note("%s takes %+v", w.name, o)
	if err := w.hear(o); err != nil {
		return err
	}
	w.orders = append(w.orders, o)
	w.pump()
	return nil
}

// pump carries orders out; one that ends the job in hand waits for its end.
func (w *worker) pump() {
	for len(w.orders) > 0 {
		o := w.orders[0]
		if o.train != nil && w.job != nil && w.job.id == o.train.id {
			w.orders = w.orders[1:]
			continue // It came twice.
		}
		if o.hello && w.needless(o) {
			w.orders = w.orders[1:]
			continue
		}
		strange := o.cancel != "" && (w.job == nil || w.job.id != o.cancel)
		replaces := o.train != nil || o.prepare != "" || o.donate != "" || o.hello || strange
		if replaces && w.job != nil {
			w.job.cancel()
			if w.job != nil {
				return
			}
			continue
		}
		w.orders = w.orders[1:]
		switch {
		case o.train != nil:
			w.start(o.train)
		case o.prepare != "":
			w.job = &job{w: w, id: o.prepare}
			w.holding = lifecycle.Holding{}
			w.at(w.s.between(50*time.Millisecond, 2*time.Second), func() { w.prepared(o.prepare) })
		case o.donate != "":
			w.donate(o)
		case o.hello && o.forget:
			w.hello()
		case o.hello:
			w.rejoin(o)
		case o.release:
			w.exit()
		case strange:
			w.neverBegan(o)
		case w.job == nil:
		case o.cancel == w.job.id:
			w.job.cancel()
		case o.pause == w.job.id:
			w.job.pause, w.job.save = true, o.save
		}
	}
}

// neverBegan answers the cancelling of a job that is not here, and does not begin it any more.
func (w *worker) neverBegan(o order) {
	g := lifecycle.Generation{Epoch: o.epoch, Number: o.generation}
	w.fence.Begin(g)
	w.job = &job{w: w, id: o.cancel}
	w.end(w.whatIsHeld(o.cancel, nil))
}

// whatIsHeld reports the end of a train job.
func (w *worker) whatIsHeld(id string, err error) report {
	h := w.holding
	return report{jobID: id, err: err, holding: &h, steps: slices.Clone(w.untold(w.told))}
}

// end reports the job's result; then the next may begin.
func (w *worker) end(r report) {
	r.done = true
	var differ *differError
	if errors.As(r.err, &differ) {
		w.differ, w.known = differ, false
	}
	w.report(r, func(err error) {
		w.toldOf(differ, err)
		w.job = nil
		w.pump()
	})
}

// toldOf notes that the coordinator was told of a difference, unless err.
func (w *worker) toldOf(differ *differError, err error) {
	w.known = w.known || err == nil && differ != nil && w.differ == differ
}

func (w *worker) donate(o order) {
	w.job = &job{w: w, id: o.donate}
	var all []string
	for _, peer := range w.s.workers {
		all = append(all, peer.name)
	}
	w.arrive(all, o.step)
	r := report{jobID: o.donate}
	h := w.holding
	if !h.Loaded || h.Applied != o.step || o.sums && !h.Sums {
		r.err = errors.New("not in memory")
	} else if err := w.unchanged(); err != nil {
		w.holding, w.steps, w.told = lifecycle.Holding{}, nil, 0
		r.err = err
	} else {
		if o.state {
			state := w.state
			r.state = &state
		}
		if o.sums {
			total := w.total
			r.sums = &total
		}
	}
	h = w.holding
	r.holding = &h
	w.at(w.s.between(5*time.Millisecond, 300*time.Millisecond), func() { w.end(r) })
}

func (w *worker) start(o *trainOrder) {
	w.job = &job{w: w, id: o.id, o: o}
	if g := (lifecycle.Generation{Epoch: o.epoch, Number: o.generation}); !w.fence.Begin(g) {
		w.end(w.whatIsHeld(o.id, errors.New("the generation is over")))
		return
	}
	w.trained, w.lastRanks = w.fence.Highest(), o.nodes
	if w.known {
		w.differ = nil
	}
	w.arrive(o.nodes, o.firstStep)
	j := w.job
	j.ring = w.s.ring(o.key(), o.nodes)
	j.machine = lifecycle.New(lifecycle.Config{
		Rank: o.rank, MicroBatches: w.s.MicroBatches, Source: lifecycle.Source(o.source), FirstStep: o.firstStep, LastStep: o.lastStep,
		CheckpointingSteps: w.s.SaveEvery, Save: o.save, First: o.first, Shares: o.shares, TakeOver: true,
	}, w.holding)
	j.queue = j.machine.Step(lifecycle.Started{})
	j.proceed()
}

// prepared reports that the worker may be a rank, and often that it has caught up with the ring.
func (w *worker) prepared(id string) {
	w.following = w.s.chance(0.8)
	w.end(report{jobID: id, following: w.following})
}

// arrive ends the following of a ring: its state is here, if nothing went wrong on the way. That of a
// step boundary it is: a peer that has gone on since, because the order was long on its way or this
// worker frozen, may have raised its exponents within the step.
func (w *worker) arrive(ring []string, step int) {
	if !w.following {
		return
	}
	w.following = false
	w.holding, w.steps, w.told = lifecycle.Holding{}, nil, 0
	for _, name := range ring {
		peer := w.s.worker(name)
		if peer != w && !peer.wrong && peer.holding.Loaded && peer.state.step == step && w.s.chance(0.9) {
			w.s.result.Followed++
			w.state, w.base, w.wrong = peer.state, -1, false
			if peer.base >= 0 {
				w.state.exp = peer.base
			}
			w.holding = lifecycle.Holding{Loaded: true, Applied: step}
			w.applied()
			return
		}
	}
}

// applied checks the new parameters against a single worker's, and takes their digest.
func (w *worker) applied() {
	w.then = w.state.replica()
	if got := w.state.digest(); got != w.s.want[w.state.step] && !w.wrong {
		w.s.broken("%s has digest %x after step %d, a single worker has %x", w.name, got, w.state.step, w.s.want[w.state.step])
	}
}
