package natsring

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"yohaku/allreduce"
	"yohaku/allreduce/fixedpoint"
	"yohaku/internal/logkey"
)

// Config says which ring a Ring is part of, and as which rank.
type Config struct {
	Conn       *nats.Conn // Not closed by the ring. May be nil in a world of one.
	RunID      string     // One token of a NATS subject.
	Names      []string   // The nodes by rank; its length is the world size.
	Rank       int
	Epoch      uint64 // Of the coordinator that made the generation: two of them may give one number.
	Generation uint64
	// Direct, when set, makes connections on which bulk takes one hop: each rank connects to its previous rank's server.
	// Without it, or where that fails, all goes through Conn.
	Direct Direct
	Format fixedpoint.Format // Of sums on the wire; Int32 by default.

	Window         int           // Chunks in flight to the next rank, 1 to 1,024; default 128.
	SilenceTimeout time.Duration // A neighbour is lost after so long without any frame; default 5 s, at least 100 ms.
	JoinTimeout    time.Duration // A neighbour that never was heard is lost so long after an operation began; default 30 s.
	Log            zerolog.Logger
}

// Operation says when in the run a collective happens. All ranks give the same one, and only go
// forward: by step, then attempt; within these the order of the calls is the same at all ranks.
type Operation struct {
	Step    int
	Attempt int // Raised after an error, when the step's operations are called again.
	Bucket  int // Tells several AllReduces, or AllGathers of one name, of an attempt apart.
}

// Ring is one rank of one generation. Its operations may be called from any goroutine and run one at a time.
type Ring struct {
	config  Config
	log     zerolog.Logger
	machine *machine
	warned  bool // That frames were dropped.
	inRow   int  // Chunks taken since the owner looked at all queues.

	prefix, toNext, toPrevious, bulk string // Subjects: up to the rank, and where frames go.

	data, acks chan *nats.Msg
	subs       []*nats.Subscription

	// Of direct connections:
	ctx                   context.Context // Ends with the ring.
	cancelDials           context.CancelFunc
	own, pull             *link // To this process's server and the previous rank's; nil: none.
	ackFrames, dataFrames chan []byte
	pool                  *pool
	dials                 sync.WaitGroup
	dialResults           chan dialled

	calls     chan *call
	handovers chan handover
	inspect   chan func(*machine) // For tests: the owner calls it.
	reduce    reduceJob           // Used by the owner's running call only.
	scratch   []byte

	closeOnce sync.Once
	closing   chan struct{}
	closed    chan struct{} // Closed by the owner goroutine when it ends.
}

// call is one operation on its way to the owner.
type call struct {
	ctx   context.Context
	key   key
	start func() job
	reply chan error
}

const (
	defaultWindow  = 128
	defaultSilence = 5 * time.Second
	defaultJoin    = 30 * time.Second
	maxWindow      = 1024
	tickPeriod     = 25 * time.Millisecond // At most; less for a short silence limit.
	// queueSlack is the room for beats, acks and aborts beside the chunks.
	queueSlack = 256
)

// New subscribes and starts the ring's owner goroutine. The other ranks need not be there yet.
// Close ends it.
func New(c Config) (*Ring, error) {
	if err := c.complete(); err != nil {
		return nil, fmt.Errorf("ring config: %w", err)
	}
	offer := ""
	if c.Direct != nil && len(c.Names) > 1 {
		offer = c.Direct.Offer()
	}
	r := &Ring{config: c, prefix: fmt.Sprintf("yohaku.%s.ring.%d.%d.", c.RunID, c.Epoch, c.Generation),
		machine: newMachine(settings{generation: c.Generation, rank: c.Rank, world: len(c.Names), window: c.Window, silence: c.SilenceTimeout, join: c.JoinTimeout,
			offer: offer, pulls: offer != ""}),
		data: make(chan *nats.Msg, stashWindows*c.Window+queueSlack), acks: make(chan *nats.Msg, queueSlack),
		calls: make(chan *call), handovers: make(chan handover), inspect: make(chan func(*machine)), scratch: make([]byte, lineRoom+maxFrameBytes+2),
		ackFrames: make(chan []byte, queueSlack), dataFrames: make(chan []byte, stashWindows*c.Window+queueSlack), pool: &pool{}, dialResults: make(chan dialled),
		closing: make(chan struct{}), closed: make(chan struct{})}
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithCancel(context.Background())
	r.cancelDials = cancel
	r.log = c.Log.With().Str(logkey.Component, "ring").Str(logkey.RunID, c.RunID).Str(logkey.Node, c.Names[c.Rank]).
		Int(logkey.Rank, c.Rank).Int(logkey.WorldSize, len(c.Names)).Uint64(logkey.Generation, c.Generation).Logger()
	r.toNext, r.toPrevious, r.bulk = r.subject(r.machine.next(), "data"), r.subject(r.machine.prev(), "ack"), r.subject(r.machine.next(), "bulk")
	if len(c.Names) > 1 {
		if err := r.connect(offer != ""); err != nil {
			r.unsubscribe()
			r.own.close()
			return nil, err
		}
	}
	go r.run()
	return r, nil
}

// complete fills in the defaults and checks the rest.
func (c *Config) complete() error {
	setDefault(&c.Window, defaultWindow)
	setDefault(&c.SilenceTimeout, defaultSilence)
	setDefault(&c.JoinTimeout, defaultJoin)
	world := len(c.Names)
	switch {
	case world == 0 || c.Rank < 0 || c.Rank >= world:
		return fmt.Errorf("rank must be from 0 to %d, the number of names less one, got %d", world-1, c.Rank)
	case world > math.MaxUint16:
		return fmt.Errorf("a ring holds at most %d ranks, got %d", math.MaxUint16, world)
	case c.Conn == nil && world > 1:
		return fmt.Errorf("a world of %d needs a NATS connection", world)
	case c.Format != fixedpoint.Int32 && c.Format != fixedpoint.Int16:
		return fmt.Errorf("wire format must be int32 (0) or int16 (1), got %d", c.Format)
	case c.Window < 1 || c.Window > maxWindow:
		return fmt.Errorf("window must be from 1 to %d chunks, got %d", maxWindow, c.Window)
	case c.SilenceTimeout < 100*time.Millisecond || c.JoinTimeout < 100*time.Millisecond:
		return fmt.Errorf("timeouts must be at least 100ms, got silence %v, join %v", c.SilenceTimeout, c.JoinTimeout)
	}
	return checkToken(c.RunID)
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// checkToken refuses a run id that would change the shape of the subjects.
func checkToken(id string) error {
	for i := range len(id) {
		if b := id[i]; b <= ' ' || b >= 0x7f || b == '.' || b == '*' || b == '>' {
			return fmt.Errorf("run id must be printable ASCII without blanks, '.', '*' and '>', got %q", id)
		}
	}
	if len(id) == 0 || len(id) > 128 {
		return fmt.Errorf("run id must have 1 to 128 characters, got %d", len(id))
	}
	return nil
}

func (r *Ring) subject(rank int, what string) string { return fmt.Sprint(r.prefix, rank, ".", what) }

// connect subscribes, and connects to this process's server for bulk.
func (r *Ring) connect(direct bool) error {
	if direct {
		if err := r.connectOwn(); err != nil {
			return err
		}
	}
	return r.subscribe()
}

// subscribe makes the queues. They hold all that neighbours with credit can send, so NATS never finds them full.
func (r *Ring) subscribe() error {
	for _, s := range []struct {
		what  string
		queue chan *nats.Msg
	}{{"data", r.data}, {"ack", r.acks}} {
		if s.what == "ack" && r.own != nil {
			continue // They come on that connection.
		}
		sub, err := r.config.Conn.ChanSubscribe(r.subject(r.config.Rank, s.what), s.queue)
		if err != nil {
			return fmt.Errorf("subscribe to %s: %w", r.subject(r.config.Rank, s.what), err)
		}
		r.subs = append(r.subs, sub)
	}
	return nil
}

func (r *Ring) unsubscribe() {
	for _, s := range r.subs {
		if err := s.Unsubscribe(); err != nil && !r.config.Conn.IsClosed() {
			r.log.Debug().Err(err).Msg("ring subject not unsubscribed")
		}
	}
}

// AllReduce is Begin, with all handed over at once, and Wait. Nothing is counted.
func (r *Ring) AllReduce(ctx context.Context, op Operation, sums []int32, exps []int8, outSums []int32, outExps []int8) error {
	v := Vectors{Sums: sums, Needed: exps, OutSums: outSums, OutNeeded: outExps}
	reduction, err := r.Begin(ctx, op, v, allreduce.Whole(len(sums), len(exps), wholeElements))
	if err != nil {
		return err
	}
	reduction.HandOver(len(reduction.buckets))
	return reduction.Wait()
}

// AllGather returns every rank's byte string, at most 1 MiB each, in rank order. All ranks give the
// same name. Errors are as for AllReduce.
func (r *Ring) AllGather(ctx context.Context, op Operation, name string, mine []byte) ([][]byte, error) {
	if len(mine) > maxGatherBytes {
		return nil, fmt.Errorf("all-gather %s step %d: a rank's part must be at most %d bytes, got %d", name, op.Step, maxGatherBytes, len(mine))
	}
	gather := newGatherJob(r.config.Rank, len(r.config.Names), mine)
	if err := r.do(ctx, op, gatherID(name), func() job { return gather }); err != nil {
		return nil, fmt.Errorf("all-gather %s step %d: %w", name, op.Step, err)
	}
	return gather.items, nil
}

// gatherID is a gather's job number, from its name and above jobReduce.
func gatherID(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name)) // Never fails.
	return h.Sum32() | 1<<31
}

// do has the owner run one operation after the one that may be running, and waits until it has ended
// and no longer touches the caller's memory.
func (r *Ring) do(ctx context.Context, op Operation, id uint32, start func() job) error {
	c, err := newCall(ctx, op, id, start)
	if err != nil {
		return err
	}
	select {
	case r.calls <- c: // Even when ctx has ended: the other ranks are to be told.
	case <-r.closed:
		return ErrClosed
	}
	return <-c.reply
}

func newCall(ctx context.Context, op Operation, id uint32, start func() job) (*call, error) {
	if op.Step < 0 || op.Attempt < 0 || op.Bucket < 0 || int64(op.Attempt) > math.MaxUint32 || int64(op.Bucket) > math.MaxUint32 {
		return nil, fmt.Errorf("step, attempt and bucket must be from 0, the last two below 2^32, got %+v", op)
	}
	return &call{ctx: ctx, start: start, reply: make(chan error, 1),
		key: key{position: position{uint64(op.Step), uint32(op.Attempt)}, bucket: uint32(op.Bucket), job: id}}, nil
}

// Close ends the ring and waits for its goroutine. A running operation returns ErrClosed, and the
// other ranks are told. It may be called more than once.
func (r *Ring) Close() error {
	r.closeOnce.Do(func() { close(r.closing) })
	<-r.closed
	r.dials.Wait()
	return nil
}
