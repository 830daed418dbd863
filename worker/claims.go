package worker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"yohaku/internal/bus"
	"yohaku/internal/logkey"
	"yohaku/internal/wire"
	"yohaku/worker/lifecycle"
)

// claimTimeout is how long an answer to a claim is waited for before the same claim is sent again.
const claimTimeout = time.Second

// claim asks a rank for a micro-batch of its share that it has not begun.
type claim struct {
	Rank    int     `json:"rank"` // Who asks.
	Step    int     `json:"step"`
	Attempt int     `json:"attempt"`
	Number  int     `json:"number"`  // Counts the claims of Rank: a claim that comes again gets the same answer.
	Seconds float64 `json:"seconds"` // Until Rank would have computed it.
}

// given answers a claim.
type given struct {
	MicroBatch int `json:"micro_batch"` // lifecycle.None is a refusal.
}

// pending is a claim that waits for the machine.
type pending struct {
	claim
	reply chan int
}

// claims are what other ranks claim of this one.
type claims struct {
	r        *rank
	arriving chan pending
	waiting  map[int]chan int // Replies, by the id that the machine knows.
	answered map[int]answer   // The last one, by rank.
	ids      int
}

type answer struct{ number, microBatch int }

// hear has the machine answer the claims on the rank's subject, until the handler is closed.
func (r *rank) hear() (*bus.Handler, error) {
	h, err := bus.Handle(r.w.bus.Conn(), r.w.loyal.subjects().Claims(r.job.Epoch, r.job.Generation, r.job.Rank), len(r.job.Nodes), r.claims.handle)
	if err != nil {
		return nil, fmt.Errorf("listen for claims: %w", err)
	}
	return h, nil
}

func newClaims(r *rank) *claims {
	return &claims{r: r, arriving: make(chan pending), waiting: map[int]chan int{}, answered: map[int]answer{}}
}

func (c *claims) handle(ctx context.Context, data []byte) ([]byte, error) {
	p := pending{reply: make(chan int, 1)}
	if err := wire.Decode(data, &p.claim); err != nil {
		return nil, err
	}
	if world := len(c.r.job.Nodes); p.Rank < 0 || p.Rank >= world || p.Rank == c.r.job.Rank || !(p.Seconds >= 0) {
		return nil, fmt.Errorf("%w: claim of rank %d in a world of %d", wire.ErrMessage, p.Rank, world)
	}
	select {
	case c.arriving <- p:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case mb := <-p.reply:
		return wire.Encode(given{mb}), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// event is the machine's view of a claim. A repeated one has its answer already; ok is false then.
func (c *claims) event(p pending) (ev lifecycle.Claim, ok bool) {
	if last, known := c.answered[p.Rank]; known && p.Number <= last.number {
		if p.Number < last.number {
			last.microBatch = lifecycle.None // Nobody waits for it any more.
		}
		p.reply <- last.microBatch
		return ev, false
	}
	c.ids++
	c.waiting[c.ids] = p.reply
	rest, each := c.r.pass.left(c.r.res.seconds())
	c.answered[p.Rank] = answer{p.Number, lifecycle.None}
	return lifecycle.Claim{Step: p.Step, Attempt: p.Attempt, ID: c.ids, Rank: p.Rank, Done: p.Seconds, Rest: rest, Each: each}, true
}

// give answers a claim, once.
func (c *claims) give(g lifecycle.Give) {
	c.waiting[g.ID] <- g.MicroBatch
	delete(c.waiting, g.ID)
	c.answered[g.Rank] = answer{c.answered[g.Rank].number, g.MicroBatch}
}

// ask asks the ranks one after the other, until one gives a micro-batch. It waits as long as it
// takes: what was given may only be lost with the generation.
func (r *rank) ask(ctx context.Context, e lifecycle.Ask, rest float64) (lifecycle.Event, error) {
	none := lifecycle.Answered{Step: e.Step, Attempt: e.Attempt, MicroBatch: lifecycle.None}
	each := r.res.seconds()
	if each == 0 {
		return none, nil // Nobody can tell what there is to win.
	}
	for _, rank := range e.Ranks {
		r.asked++
		mb, err := r.claim(ctx, rank, claim{Rank: r.job.Rank, Step: e.Step, Attempt: e.Attempt, Number: r.asked, Seconds: rest + each})
		if err != nil {
			return nil, err
		}
		if mb != lifecycle.None {
			r.log.Debug().Int("from_rank", rank).Int(logkey.Step, e.Step).Int(logkey.MicroBatch, mb).Msg("micro-batch taken over")
			none.MicroBatch = mb
			break
		}
	}
	return none, nil
}

// claim sends one claim until it is answered.
func (r *rank) claim(ctx context.Context, rank int, c claim) (microBatch int, err error) {
	subject, data := r.w.loyal.subjects().Claims(r.job.Epoch, r.job.Generation, rank), wire.Encode(c)
	for {
		attempt, cancel := context.WithTimeout(ctx, claimTimeout)
		reply, err := bus.Call(attempt, r.w.bus.Conn(), subject, data)
		cancel()
		var said *bus.RemoteError
		switch {
		case ctx.Err() != nil:
			return 0, context.Cause(ctx)
		case errors.Is(err, bus.ErrNoResponders) || errors.As(err, &said):
			return lifecycle.None, nil // It is not in the generation, or not any more.
		case err != nil:
			continue
		}
		var g given
		if err := wire.Decode(reply, &g); err != nil {
			return 0, fmt.Errorf("answer of rank %d to a claim: %w", rank, err)
		}
		if g.MicroBatch < lifecycle.None || g.MicroBatch >= r.job.Hyper.GradientAccumulationSteps {
			return 0, fmt.Errorf("%w: rank %d gives micro-batch %d", wire.ErrMessage, rank, g.MicroBatch)
		}
		return g.MicroBatch, nil
	}
}

// left estimates the seconds that the pass still takes, and those of a further one, when one takes
// about usual seconds. One that takes longer than usual shows that this rank has become slow.
func (p *pass) left(usual float64) (rest, each float64) {
	if p == nil {
		return 0, usual
	}
	select {
	case <-p.over:
		return 0, usual
	default:
	}
	elapsed := time.Since(p.began).Seconds()
	each = math.Max(usual, elapsed)
	return max(0, each-elapsed), each
}
