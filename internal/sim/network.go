package sim

import "time"

// answerTimeout is how long an order or a report waits for its answer.
const answerTimeout = 2 * time.Second

// unreachable tells whether nothing passes between the worker and the coordinator.
func (w *worker) unreachable() bool { return w.cut || w.s.apart }

// transit is how long a message is on its way: longest usually, and sometimes far longer, past the
// time that its answer is waited for.
func (s *cluster) transit(longest time.Duration) time.Duration {
	if s.now >= faultsBegin && s.chance(s.DelayRate) {
		return s.between(longest, 2*answerTimeout)
	}
	return s.between(time.Millisecond, longest)
}

// lose tells whether a message gets lost.
func (s *cluster) lose() bool { return s.now >= faultsBegin && s.chance(s.LossRate) }

// repeat hands a message over twice, sometimes.
func (s *cluster) repeat(within time.Duration, f func()) {
	if s.chance(s.DuplicateRate) {
		s.after(s.between(0, within), f)
	}
}

// split takes the network away between some workers and the rest, coordinator included, or, now and
// then, between all workers and the coordinator. Those that are cut off are alone: a ring needs all.
func (s *cluster) split() {
	if s.chance(0.3) {
		s.isolate()
		return
	}
	lasts := s.between(100*time.Millisecond, 6*time.Second)
	cut := 0
	for _, w := range s.workers {
		if w.well() && s.chance(0.5) {
			s.note("the network splits off %s", w.name)
			w.cutFor(lasts)
			cut++
		}
	}
	s.result.Split += cut
}

// isolate cuts the coordinator off from all workers, whose ring goes on as far as it needs no coordinator.
func (s *cluster) isolate() {
	if s.apart {
		return
	}
	s.note("the coordinator is cut off")
	s.apart = true
	s.result.Isolated++
	s.after(s.between(400*time.Millisecond, 2*time.Second), func() {
		for _, w := range s.workers {
			if s.apart && !w.dead {
				s.lost(w.name)
			}
		}
	})
	s.after(s.between(100*time.Millisecond, 6*time.Second), func() {
		s.note("the coordinator is back")
		s.apart = false
		for _, w := range s.workers {
			if !w.dead && !w.cut {
				s.back(w.name)
			}
		}
	})
}

// lost has every coordinator hear that a node is gone, or believe so.
func (s *cluster) lost(node string) {
	for _, k := range s.inOrder() {
		k.lost(node)
	}
}

// back has every coordinator hear that a node is there.
func (s *cluster) back(node string) {
	for _, k := range s.inOrder() {
		k.back(node)
	}
}

// inOrder are all coordinators that ever were.
func (s *cluster) inOrder() []*coordinator {
	all := make([]*coordinator, len(s.coords))
	for i := range all {
		all[i] = s.coords[coordinatorName(i)]
	}
	return all
}

// well tells whether nothing is wrong with the worker.
func (w *worker) well() bool { return !w.dead && !w.frozen && !w.cut && !w.leaving }
