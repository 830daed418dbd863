package sim

import (
	"fmt"
	"slices"
	"time"
)

// scheduleFaults draws when what happens.
func (s *cluster) scheduleFaults() {
	if s.Stop {
		s.after(s.between(faultsBegin, s.lastFault()), func() { s.coord.stop() })
	}
	for _, fault := range []struct {
		n int
		f func()
	}{
		{s.Joins, func() { s.birth() }},
		{s.Kills, func() { s.each("kill", (*worker).kill) }},
		{s.Freezes, func() { s.each("freeze", (*worker).freeze) }},
		{s.Cuts, func() { s.each("cut off", (*worker).cutOff) }},
		{s.GivenUp, func() { s.each("give up", (*worker).giveUp) }},
		{s.Flips, func() { s.each("flip a bit of", (*worker).flip) }},
		{s.Slows, func() { s.each("slow down", (*worker).slow) }},
		{s.Splits, s.split},
		{s.Crashes, s.crash},
		{s.Copies, s.copyRun},
		{s.Leaves, func() { s.each("ask to leave", (*worker).leave) }},
	} {
		for range fault.n {
			s.faults++
			s.after(s.between(faultsBegin, s.lastFault()), fault.f)
		}
	}
}

// lastFault is when faults end: they fall in the time that an undisturbed run takes, about.
func (s *cluster) lastFault() time.Duration {
	return faultsBegin + time.Duration(s.Steps*s.MicroBatches/s.Workers)*max(s.MicroBatchTime, 100*time.Millisecond)
}

// each does f to a worker that lives and is well, but never to the last one.
func (s *cluster) each(what string, f func(*worker)) {
	var well []*worker
	for _, w := range s.workers {
		if w.well() {
			well = append(well, w)
		}
	}
	if len(well) < 2 {
		return
	}
	w := well[s.rng.IntN(len(well))]
	s.note("%s %s", what, w.name)
	f(w)
}

// killWithin kills a rank of the ring while the outcome of an operation is on its way.
func (r *ring) killWithin(kind string) {
	s := r.s
	if kind == "word" || s.ReduceKills == 0 || s.now < faultsBegin || !s.chance(0.15) {
		return
	}
	s.ReduceKills--
	w := r.members[s.rng.IntN(len(r.members))]
	s.after(s.between(time.Millisecond, 20*time.Millisecond), func() {
		others := slices.ContainsFunc(s.workers, func(o *worker) bool { return o != w && o.well() })
		if !w.dead && others {
			s.note("kill %s while %s are on their way", w.name, kind)
			w.kill()
		}
	})
}

// birth starts a worker, of some speed.
func (s *cluster) birth() *worker {
	w := &worker{s: s, name: fmt.Sprint("w", len(s.workers)), mb: s.between(30*time.Millisecond, 200*time.Millisecond)}
	if s.MicroBatchTime > 0 {
		w.mb = s.MicroBatchTime
	}
	s.workers = append(s.workers, w)
	s.note("start %s", w.name)
	w.at(s.between(0, 500*time.Millisecond), func() {
		if !w.met { // It was asked to leave before.
			w.hello()
		}
	})
	return w
}

// kill ends the process at once. The broken route tells the coordinator soon.
func (w *worker) kill() {
	w.dead = true
	w.s.disturb(w)
	w.s.after(w.s.between(time.Millisecond, 600*time.Millisecond), func() { w.s.lost(w.name) })
}

// freeze stops the process for a while.
func (w *worker) freeze() {
	w.frozen = true
	w.s.after(2*time.Second, func() {
		if w.frozen {
			w.s.lost(w.name)
		}
	})
	w.s.after(w.s.between(100*time.Millisecond, 8*time.Second), func() {
		w.frozen = false
		held := w.held
		w.held = nil
		for _, f := range held {
			w.at(0, f)
		}
		w.s.back(w.name)
	})
}

// slow makes the worker several times slower for a while.
func (w *worker) slow() {
	usual := w.mb
	w.mb *= time.Duration(2 + w.s.rng.IntN(6))
	w.s.after(w.s.between(time.Second, 6*time.Second), func() { w.mb = usual })
}

// cutOff takes the worker's network away for a while.
func (w *worker) cutOff() { w.cutFor(w.s.between(100*time.Millisecond, 10*time.Second)) }

func (w *worker) cutFor(lasts time.Duration) {
	w.cut = true
	w.s.disturb(w)
	w.s.after(w.s.between(400*time.Millisecond, 2*time.Second), func() {
		if w.cut {
			w.s.lost(w.name)
		}
	})
	w.s.after(lasts, func() {
		w.cut = false
		w.s.back(w.name)
	})
}

// giveUp has the coordinator take a living worker for dead, for a while.
func (w *worker) giveUp() {
	w.s.lost(w.name)
	w.s.after(w.s.between(100*time.Millisecond, 3*time.Second), func() { w.s.back(w.name) })
}

// leave is SIGTERM.
func (w *worker) leave() {
	w.leaving = true
	w.at(0, func() { w.report(report{leaving: true}, nil) })
	w.at(25*time.Second, w.exit)
}

// disturb loses half of what is on its way in the rings of w.
func (s *cluster) disturb(w *worker) {
	for _, r := range s.sortedRings() {
		if r.rankOf(w) < 0 {
			continue
		}
		for _, d := range r.deliveries {
			if s.chance(0.5) {
				d.lost = true
			}
		}
	}
}
