package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"yohaku/coordinator/rendezvous"
	"yohaku/worker/lifecycle"
)

// Config says what happens in a simulated cluster.
type Config struct {
	Seed         uint64
	Workers      int
	Steps        int
	MicroBatches int
	SaveEvery    int

	Kills, Joins, Freezes, Cuts, GivenUp, Leaves int
	Slows                                        int                           // Workers that become slow for a while.
	ReduceKills                                  int                           // Kills of a rank while complete sums are on their way.
	Flips                                        int                           // Of a bit in a rank's state while it is not being updated.
	UpdateFlips                                  int                           // Of a bit in a rank's state within an update, seen by those that make it too.
	Stop                                         bool                          // Asked for halfway.
	MicroBatchTime                               time.Duration                 // The same for all; 0: every worker has its own.
	OperationTime                                func(ranks int) time.Duration // Of a ring's operation; nil: up to 25 ms.
	Splits                                       int                           // Of the network, into two.
	Crashes                                      int                           // Of the coordinator, which is started again.
	Copies                                       int                           // Of the run folder, with which a second coordinator is started.
	LossRate                                     float64                       // Of messages: orders, reports, their answers.
	DuplicateRate                                float64                       // Of messages that arrive twice.
	DelayRate                                    float64                       // Of messages that arrive late, some after they were given up.
}

// Result is how a cluster ended.
type Result struct {
	Digest      uint64 // Of the last checkpoint.
	Generations uint64
	Rewinds     int           // Times that nobody was left who held the state.
	Taken       int           // Times that a rank took complete sums from another.
	TakenOver   int           // Micro-batches that a rank took over from another within a step.
	Followed    int           // Times that a worker caught up with a ring that went on.
	Kept        int           // Micro-batches in the partial sums that survivors kept.
	PutOut      int           // Times that a worker with a wrong state was named.
	Undecided   int           // Times that no majority told which state was right.
	Split       int           // Workers that a split of the network cut off.
	Isolated    int           // Times that the coordinator was.
	Restarts    int           // Times that a coordinator took the run up after a crash,
	TakenUp     int           // and workers that told it what they hold.
	Refused     int           // Times that a second coordinator was refused,
	Fenced      int           // and that a coordinator was fenced off.
	Brought     int           // Differences of states that were brought along to another coordinator,
	BroughtLate int           // and those that came after its first generation.
	Worlds      []int         // Ranks of each committed step, repeated ones too.
	StepReports int           // Messages that the coordinator took in about steps,
	Reports     int           // and all others,
	Orders      int           // and those that it sent.
	Began       time.Duration // When the first generation was formed.
	Duration    time.Duration
	Trace       []string
	Err         error // What was broken.
}

const (
	faultsBegin = 2 * time.Second
	maxEvents   = 20_000_000
)

// bound is how long training may take after the last fault.
func (s *cluster) bound() time.Duration { return max(10*time.Minute, 4*s.lastFault()) }

type cluster struct {
	Config
	rng     *rand.Rand
	now     time.Duration
	queue   events
	seq     int
	coord   *coordinator            // That has the run, or had it last.
	coords  map[string]*coordinator // All that ever were, by name.
	workers []*worker               // In the order of their births.
	rings   map[lifecycle.Generation]*ring
	minters map[rendezvous.Generation]string // Who formed which.
	want    []uint64
	trace   []string
	result  Result
	faults  int // Still to come.
	apart   bool
}

// Run plays a cluster to its end.
func Run(c Config) Result {
	s := &cluster{Config: c, rng: rand.New(rand.NewPCG(c.Seed, 1)), rings: map[lifecycle.Generation]*ring{}, coords: map[string]*coordinator{}, minters: map[rendezvous.Generation]string{}, want: single(c.Steps, c.MicroBatches)}
	s.coord = newCoordinator(s)
	for range c.Workers {
		s.birth()
	}
	s.scheduleFaults()
	for n := 0; len(s.queue) > 0 && !s.coord.finished && s.result.Err == nil; n++ {
		e := heap.Pop(&s.queue).(event)
		s.now = e.at
		e.f()
		if n > maxEvents || s.now > s.lastFault()+s.bound() {
			s.broken("no end %v after the faults: step %d of %d", s.bound(), s.coord.step, c.Steps)
		}
	}
	if s.result.Err == nil {
		s.result.Err = s.verdict()
	}
	s.result.Generations, s.result.Duration, s.result.Trace = s.coord.generation, s.now, s.trace
	return s.result
}

// verdict checks how training ended.
func (s *cluster) verdict() error {
	k := s.coord
	s.result.Digest = k.checkpoint.digest()
	switch {
	case !k.finished:
		return fmt.Errorf("nothing happens any more at step %d of %d", k.step, s.Steps)
	case k.err != nil:
		return fmt.Errorf("training ended with: %w", k.err)
	case s.Stop && s.result.Digest == s.want[k.checkpoint.step]:
		for _, n := range k.m.Members() {
			if h := k.holdings[n]; h.Loaded && h.Applied > k.checkpoint.step {
				return fmt.Errorf("stopped with a checkpoint of step %d, though %s holds %d", k.checkpoint.step, n, h.Applied)
			}
		}
		return nil
	case k.checkpoint.step != s.Steps || s.result.Digest != s.want[s.Steps]:
		return fmt.Errorf("ended at step %d with digest %x, want step %d with %x", k.checkpoint.step, s.result.Digest, s.Steps, s.want[s.Steps])
	case len(k.log) != s.Steps:
		return fmt.Errorf("%d steps stand in the log, want %d", len(k.log), s.Steps)
	case k.log[s.Steps-1] != s.want[s.Steps]:
		return fmt.Errorf("the log ends with digest %x, want %x", k.log[s.Steps-1], s.want[s.Steps])
	}
	return nil
}

// broken notes the first broken invariant.
func (s *cluster) broken(format string, args ...any) {
	if s.result.Err == nil {
		s.result.Err = fmt.Errorf("at %v: %s", s.now, fmt.Sprintf(format, args...))
	}
}

func (s *cluster) note(format string, args ...any) {
	s.trace = append(s.trace, fmt.Sprintf("%12v  ", s.now)+fmt.Sprintf(format, args...))
}

// after has f happen d from now.
func (s *cluster) after(d time.Duration, f func()) {
	s.seq++
	heap.Push(&s.queue, event{s.now + d, s.seq, f})
}

// between draws a time.
func (s *cluster) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(s.rng.Int64N(int64(hi-lo)+1))
}

func (s *cluster) chance(p float64) bool { return s.rng.Float64() < p }

type event struct {
	at  time.Duration
	seq int
	f   func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	old[len(old)-1] = event{}
	*e = old[:len(old)-1]
	return last
}
