package sim

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"yohaku/coordinator/rendezvous"
	"yohaku/worker/lifecycle"
)

// Timing of a coordinator that wants the run, as package coordinator's.
const (
	askTimeout    = 500 * time.Millisecond
	askPause      = 100 * time.Millisecond
	reachLimit    = 3 * time.Second // For workers that are recorded and do not answer.
	heldLimit     = 4 * time.Second // For workers to notice that their coordinator is gone.
	takeUpLimit   = time.Minute
	summonPause   = 2 * time.Second // Before a worker that did not say hello is asked again.
	strangerPause = 500 * time.Millisecond
)

// disk is what outlives a coordinator: its run folder.
type disk struct {
	epoch, generation uint64 // The last minted.
	ranks             []string
	rewound           rendezvous.Generation // The last that began with an earlier checkpoint.
	workers           []string              // Recorded.
	step              int
	log               []uint64                // The digest of each step.
	lines             []rendezvous.Generation // That each step was made in.
	replica           string                  // The last step's.
	checkpoint        state
}

// copied is the folder as it is now.
func (d *disk) copied() disk {
	c := *d
	c.workers, c.log, c.lines = slices.Clone(d.workers), slices.Clone(d.log), slices.Clone(d.lines)
	return c
}

func (d *disk) lastLine() rendezvous.Generation {
	if len(d.lines) == 0 {
		return rendezvous.Generation{}
	}
	return d.lines[len(d.lines)-1]
}

// claiming is what a coordinator knows of its claim to the run.
type claiming struct {
	name     string
	takeover bool
	claimed  bool
	heard    []string // Workers that answered.
	standing []string // Those that said hello before training, in that order.
	trained  map[string]lifecycle.Generation
	brought  []*differError // By hellos, and all that were told.
	stopped  bool           // It was asked to stop.
	dead     bool           // It crashed, was refused, or fenced.
	died     time.Duration  // Then, and
	noticed  time.Duration  // how long until the workers notice.
}

// restarts tells whether coordinators come and go: then reports wait in outboxes.
func (s *cluster) restarts() bool { return s.Crashes+s.Copies > 0 }

func coordinatorName(i int) string { return fmt.Sprint("c", i+1) }

// start begins a coordinator that has not claimed the run yet.
func (s *cluster) start(d disk) *coordinator {
	k := &coordinator{
		s: s, disk: d, claiming: claiming{name: coordinatorName(len(s.coords)), trained: map[string]lifecycle.Generation{}},
		holdings: map[string]rendezvous.Holding{}, gone: map[string]bool{}, nodes: map[uint64][]string{}, pending: map[string][]stepReport{}, distrusted: map[string]distrust{},
	}
	s.coords[k.name] = k
	return k
}

// machine begins the training phase.
func (k *coordinator) machine() {
	s := k.s
	k.m = rendezvous.New(rendezvous.Config{
		MinWorkers: s.Workers, MicroBatches: s.MicroBatches, Steps: s.Steps, SaveEvery: s.SaveEvery, Checkpoint: k.checkpoint.step,
	}, k.generation)
}

// minted checks that generations only grow at one coordinator, and that no two make the same one. Who
// heard of nobody, because all that knew are gone, may begin below another; no worker then obeys both.
func (k *coordinator) minted(number uint64) {
	s, g := k.s, rendezvous.Generation{Epoch: k.epoch, Number: number}
	if number <= k.generation {
		s.broken("generation %v of %s after %d", g, k.name, k.generation)
	}
	if other := s.minters[g]; other != "" {
		s.broken("generation %v of %s is %s's too", g, k.name, other)
	}
	s.minters[g] = k.name
}

// over tells whether the coordinator does nothing any more.
func (k *coordinator) over() bool { return k.dead || k.finished }

func (k *coordinator) end(why string) {
	k.s.note("coordinator %s %s", k.name, why)
	k.dead, k.died, k.noticed = true, k.s.now, k.s.between(50*time.Millisecond, 3500*time.Millisecond)
}

// crash ends the coordinator at once; a while later the next one is started with its folder.
func (s *cluster) crash() {
	k := s.coord
	if k.over() {
		return
	}
	k.end("crashes")
	s.after(s.between(100*time.Millisecond, 8*time.Second), func() { s.takeOver(k) })
}

// takeOver starts a coordinator with the folder of one that is no more.
func (s *cluster) takeOver(last *coordinator) {
	k := s.start(last.copied())
	s.result.Restarts++
	if s.coord == last {
		s.coord = k
	}
	k.claim(s.now)
}

// copyRun copies the run folder, and starts a second coordinator with it after a while.
func (s *cluster) copyRun() {
	folder := s.coord.copied()
	s.after(s.between(0, 4*time.Second), func() {
		k := s.start(folder)
		k.takeover = s.chance(0.6)
		s.note("a copy of the run is started as %s, takeover %v", k.name, k.takeover)
		k.claim(s.now)
	})
}

// claim asks the recorded workers whom they belong to, again and again, then claims the run.
func (k *coordinator) claim(began time.Duration) {
	s := k.s
	if k.over() {
		return
	}
	var heard []rendezvous.Standing
	silent := 0
	round := s.between(20*time.Millisecond, askTimeout)
	for _, name := range k.workers {
		w := s.worker(name)
		if w.dead {
			continue
		}
		silent++
		s.after(s.between(time.Millisecond, 15*time.Millisecond), func() {
			if !w.dead && !w.frozen && !w.unreachable() && !s.lose() {
				heard = append(heard, w.standing())
				silent--
			}
		})
	}
	s.after(round, func() {
		held := slices.ContainsFunc(heard, func(st rendezvous.Standing) bool { return st.Alive })
		waited := s.now - began
		if k.over() {
			return
		}
		if (silent > 0 && waited <= reachLimit) || (held && waited <= heldLimit) {
			s.after(askPause, func() { k.claim(began) })
			return
		}
		k.decide(heard)
	})
}

// decide makes the run this coordinator's, or ends it.
func (k *coordinator) decide(heard []rendezvous.Standing) {
	s := k.s
	g, err := rendezvous.Claim(rendezvous.Record{Generation: rendezvous.Generation{Epoch: k.epoch, Number: k.generation}, Ranks: k.ranks}, heard, k.s.rng.Uint64(), k.takeover, false)
	if err != nil {
		k.end("is refused: " + err.Error())
		s.result.Refused++
		s.succeed(k)
		return
	}
	s.note("coordinator %s claims generation %v", k.name, g)
	k.rightful(heard)
	k.epoch, k.generation, k.claimed = g.Epoch, g.Number, true
	for _, st := range heard {
		k.heard = append(k.heard, st.Node)
	}
	if old := s.coord; old != k && (old.over() || old.epoch < k.epoch) {
		s.coord = k
		s.after(s.between(50*time.Millisecond, 1500*time.Millisecond), func() { old.supersededBy(k) })
	}
	s.after(s.between(100*time.Millisecond, time.Second), func() {
		if !k.over() {
			k.strangers()
			k.takeUp(s.now, 0)
		}
	})
}

// rightful checks that a run is taken from a living coordinator only when that is asked for, and then with
// most of the ranks of the newest generation that anybody knows.
func (k *coordinator) rightful(heard []rendezvous.Standing) {
	newest, ranks := rendezvous.Generation{Epoch: k.epoch, Number: k.generation}, k.ranks
	living := ""
	for _, st := range heard {
		if newest.Before(st.Highest) && len(st.Ranks) > 0 {
			newest, ranks = st.Highest, st.Ranks
		}
		if st.Alive {
			living = st.Coordinator
		}
	}
	if living == "" {
		return
	}
	most := slices.DeleteFunc(slices.Clone(ranks), func(n string) bool {
		return !slices.ContainsFunc(heard, func(st rendezvous.Standing) bool { return st.Node == n })
	})
	if !k.takeover || 2*len(most) <= len(ranks) {
		k.s.broken("%s takes the run from the living %s, takeover %v, with %d of %d ranks", k.name, living, k.takeover, len(most), len(ranks))
	}
}

// supersededBy hears in the gossip of a coordinator with a higher epoch.
func (k *coordinator) supersededBy(other *coordinator) {
	if !other.over() && other.epoch > k.epoch {
		k.fenced()
	}
}

// answered hears how a worker answered an order.
func (k *coordinator) answered(err error) {
	var fenced *lifecycle.FencedError
	if errors.As(err, &fenced) {
		k.fenced()
	}
}

// fenced ends the coordinator, whose run another one has.
func (k *coordinator) fenced() {
	if k.over() {
		return
	}
	k.end("is fenced")
	k.s.result.Fenced++
	k.s.succeed(k)
}

// succeed puts another coordinator in the place of one that has ended: one that lives, or else
// somebody starts it again.
func (s *cluster) succeed(k *coordinator) {
	if s.coord != k {
		return
	}
	var alive []*coordinator
	for _, other := range s.coords {
		if !other.dead {
			alive = append(alive, other)
		}
	}
	if len(alive) > 0 {
		s.coord = slices.MaxFunc(alive, func(a, b *coordinator) int {
			return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(b.name, a.name))
		})
		return
	}
	s.after(s.between(time.Second, 3*time.Second), func() {
		if s.coord == k {
			s.takeOver(k)
		}
	})
}

// takeUp waits for the workers that were heard to say hello, and begins training with them.
func (k *coordinator) takeUp(began, summoned time.Duration) {
	s := k.s
	if k.over() {
		return
	}
	missing := slices.DeleteFunc(slices.Clone(k.heard), func(n string) bool {
		_, known := k.holdings[n]
		w := s.worker(n)
		return known || k.gone[n] || w.dead || w.unreachable()
	})
	if len(missing) == 0 || s.now > began+takeUpLimit {
		k.train()
		return
	}
	if summoned == 0 || s.now > summoned+summonPause {
		summoned = s.now
		for _, n := range missing {
			k.summon(s.worker(n))
		}
	}
	s.after(askPause, func() { k.takeUp(began, summoned) })
}

// summon has a worker say hello, with what it holds.
func (k *coordinator) summon(w *worker) {
	o := order{from: k.name, epoch: k.epoch, hello: true, recorded: k.step}
	k.s.after(k.s.transit(20*time.Millisecond), func() {
		if !w.unreachable() && !k.s.lose() {
			w.at(0, func() { k.answered(w.take(o)) })
		}
	})
}

// strangers summons workers that have a route and did not say hello: they may belong to a coordinator
// before this one.
func (k *coordinator) strangers() {
	s := k.s
	if k.over() {
		return
	}
	for _, w := range s.workers {
		if _, known := k.holdings[w.name]; !known && w.met && !w.dead && !w.unreachable() && !slices.Contains(k.heard, w.name) {
			if k.gone[w.name] {
				continue
			}
			k.summon(w)
		}
	}
	if k.m != nil {
		k.heard = nil // Whoever is still missing has come back since.
	}
	s.after(strangerPause, k.strangers)
}

// train makes the first generation of what the workers hold.
func (k *coordinator) train() {
	s := k.s
	k.machine()
	k.distrustBrought()
	if k.checkpoint.step >= s.Steps {
		k.finished = true
		return
	}
	place := func(n string) int {
		if rank := slices.Index(k.ranks, n); rank >= 0 {
			return rank
		}
		return len(k.ranks)
	}
	slices.SortStableFunc(k.standing, func(a, b string) int { return place(a) - place(b) })
	for _, n := range k.standing {
		if _, known := k.holdings[n]; known {
			k.feed(k.joined(n))
		}
	}
	k.tellBrought()
	k.feed(rendezvous.TrainingReady{})
	if k.stopped {
		k.feed(rendezvous.StopRequested{})
	}
}

// stop is the wish to end at the next boundary.
func (k *coordinator) stop() {
	k.stopped = true
	k.feed(rendezvous.StopRequested{})
}

// later tells whether a report cannot be taken yet.
func (k *coordinator) later(r report) bool { return r.checkpoint != nil && k.m == nil }

// welcome takes a worker in.
func (k *coordinator) welcome(r report) {
	if !slices.Contains(k.workers, r.node) {
		k.workers = append(k.workers, r.node)
	}
	k.holdings[r.node], k.trained[r.node] = rendezvous.Holding{}, r.trained
	if r.holding != nil {
		k.holdings[r.node] = rendezvous.Holding(*r.holding)
		k.pending[r.node] = r.steps
	}
	k.bring(r.differ)
	if k.m == nil {
		k.standing = append(slices.DeleteFunc(k.standing, func(n string) bool { return n == r.node }), r.node)
		return
	}
	k.feed(k.joined(r.node))
}

// joined is the machine's event for a worker. What the run has gone back on since, and what nobody
// reports, is void.
func (k *coordinator) joined(node string) rendezvous.Joined {
	if rendezvous.Generation(k.trained[node]).Before(k.rewound) {
		k.holdings[node] = rendezvous.Holding{}
	}
	h := k.sound(node)
	if h.Loaded {
		k.s.result.TakenUp++
	}
	return rendezvous.Joined{Node: node, Holding: h}
}

// sound is what a node holds, or nothing when nobody reports the steps that led there.
func (k *coordinator) sound(node string) rendezvous.Holding {
	if h := k.holdings[node]; h.Loaded && !k.reported(h.Applied) {
		k.s.note("coordinator: what %s holds is void", node)
		k.holdings[node] = rendezvous.Holding{}
	}
	return k.holdings[node]
}

// reported tells whether all steps up to last are in the log, or can be.
func (k *coordinator) reported(last int) bool {
	for step := k.step + 1; step <= last; step++ {
		said := false
		for node, steps := range k.pending {
			said = said || k.distrusted[node].counts(step) && slices.ContainsFunc(steps, func(s stepReport) bool { return s.step == step })
		}
		if !said {
			return false
		}
	}
	return true
}
