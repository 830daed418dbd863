package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Figures are what one side measured for a work.
type Figures struct {
	MS        float64   // Median over the turns; 0 when there is no such side.
	Turns     []float64 // Median of each turn's calls.
	Variant   string    // The fastest, of a side that has several.
	FLOPs     int64
	PeakBytes int64
}

// Result is a row.
type Result struct {
	Work       Work
	Ours, Peer Figures
	PeerError  error   // Why the peer has no figures.
	Others     float64 // Processors that other processes kept busy meanwhile; −1 where the system does not tell.
}

// Comparison runs works on two sides.
type Comparison struct {
	Ours  Command
	Peer  Command // nil: ours alone.
	Turns int     // Of each side, beside the one that does not count.

	shared [2]*process // The processes of kernels.
}

// sides are the indices of everything that each side has.
const (
	ours = iota
	peer
)

// Run compares one work. It returns an error when our side fails; the peer's failure is noted in the result.
func (c *Comparison) Run(ctx context.Context, w Work) (Result, error) {
	r := Result{Work: w}
	seats := c.seats(w)
	load := startLoad(seats)
	var replies [2][]Reply
	for turn := range c.Turns + 1 {
		for _, side := range order(turn, c.Peer != nil && r.PeerError == nil) {
			reply, err := seats[side].turn(ctx, w.Request)
			switch {
			case err != nil && side == ours:
				return r, errors.Join(err, c.leave(w, seats))
			case err != nil:
				r.PeerError = err
			case turn > 0:
				replies[side] = append(replies[side], reply)
			}
		}
	}
	r.Others = load.others(seats)
	r.Ours = figures(replies[ours])
	if r.PeerError == nil {
		r.Peer = figures(replies[peer])
	}
	return r, c.leave(w, seats)
}

// order alternates who goes first, so that a drift of the machine's speed favours none.
func order(turn int, both bool) []int {
	switch {
	case !both:
		return []int{ours}
	case turn%2 == 0:
		return []int{ours, peer}
	}
	return []int{peer, ours}
}

// seat is where a side's process sits for a work.
type seat struct {
	command Command
	fresh   bool // A new process for each turn.
	running *process
	spent   time.Duration // Processor time of the processes that ended.
}

// seats takes the processes that kernels share, or empty seats.
func (c *Comparison) seats(w Work) [2]*seat {
	s := [2]*seat{{command: c.Ours, fresh: w.Large}, {command: c.Peer, fresh: w.Large}}
	if !w.Step {
		s[ours].running, s[peer].running = c.shared[ours], c.shared[peer]
	}
	return s
}

// leave keeps the processes for the next kernel, or ends those of a step.
func (c *Comparison) leave(w Work, seats [2]*seat) error {
	if !w.Step {
		for side, seat := range seats {
			c.shared[side] = seat.running
			if seat.running != nil && seat.running.ended {
				c.shared[side] = nil // The next kernel starts another.
			}
		}
		return nil
	}
	return errors.Join(seats[ours].end(), seats[peer].end())
}

// Close ends the processes.
func (c *Comparison) Close() error {
	var all []error
	for _, p := range c.shared {
		if p != nil {
			_, err := p.close()
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// turn asks for one turn. A fresh process has a call first that does not count.
func (s *seat) turn(ctx context.Context, r Request) (Reply, error) {
	if s.running == nil {
		p, err := start(ctx, s.command)
		if err != nil {
			return Reply{}, err
		}
		s.running = p
		if s.fresh {
			if _, err := p.ask(r); err != nil {
				return Reply{}, err
			}
		}
	}
	reply, err := s.running.ask(r)
	if err == nil && s.fresh {
		err = s.end()
	}
	return reply, err
}

// end ends the process, if there is one.
func (s *seat) end() error {
	if s.running == nil {
		return nil
	}
	spent, err := s.running.close()
	s.running, s.spent = nil, s.spent+spent
	return err
}

func (s *seat) cpu() time.Duration {
	if s.running == nil {
		return s.spent
	}
	return s.spent + s.running.cpu()
}

// load measures what other processes do.
type load struct {
	at         time.Time
	busy, mine time.Duration
}

func startLoad(seats [2]*seat) load {
	return load{at: time.Now(), busy: busy(), mine: seats[ours].cpu() + seats[peer].cpu()}
}

func (l load) others(seats [2]*seat) float64 {
	if l.busy == 0 {
		return -1
	}
	now := startLoad(seats)
	theirs := (now.busy - l.busy) - (now.mine - l.mine)
	return max(0, theirs.Seconds()/now.at.Sub(l.at).Seconds())
}

// figures takes the fastest variant of the replies to counted turns.
func figures(replies []Reply) Figures {
	turns := map[string][]float64{}
	f := Figures{}
	for _, r := range replies {
		f.FLOPs, f.PeakBytes = r.FLOPs, max(f.PeakBytes, r.PeakBytes)
		for variant, calls := range r.MS {
			turns[variant] = append(turns[variant], median(calls))
		}
	}
	for _, variant := range sortedKeys(turns) {
		if m := median(turns[variant]); f.Turns == nil || m < f.MS {
			f.MS, f.Turns, f.Variant = m, turns[variant], variant
		}
	}
	return f
}

func sortedKeys(m map[string][]float64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// median is the middle of x, or the mean of the two in the middle; 0 for none.
func median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(x))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// About starts both sides and tells what they are; a peer that does not start is an error of its own.
func (c *Comparison) About(ctx context.Context) (us, them string, peerError, err error) {
	p, err := start(ctx, c.Ours)
	if err != nil {
		return "", "", nil, fmt.Errorf("start our side: %w", err)
	}
	c.shared[ours] = p
	if c.Peer == nil {
		return p.about, "", nil, nil
	}
	q, peerError := start(ctx, c.Peer)
	if peerError != nil {
		c.Peer = nil
		return p.about, "", peerError, nil
	}
	c.shared[peer] = q
	return p.about, q.about, nil, nil
}
