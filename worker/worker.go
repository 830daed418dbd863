package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"yohaku/internal/bus"
	"yohaku/internal/logkey"
	"yohaku/internal/membership"
	"yohaku/internal/trust"
	"yohaku/internal/wire"
	"yohaku/model/backend/cpu"
	"yohaku/model/kernel"
	"yohaku/worker/lifecycle"
)

// Options are what the command line decides.
type Options struct {
	Addr    string // Where to join: host:port.
	Token   string
	Name    string // A short unique part is appended.
	Device  string // "cpu".
	Threads int    // 0: one for each core.
	Version string
	Log     zerolog.Logger
}

// Timing of the conversation with the coordinator.
const (
	helloTimeout    = 30 * time.Second
	reportTimeout   = 60 * time.Second
	attemptTimeout  = 3 * time.Second // For one answer.
	attemptPause    = 100 * time.Millisecond
	leaveTimeout    = 2 * time.Second
	coordinatorName = "coordinator"
	// absenceLimit is how long a worker waits for a coordinator that is gone.
	absenceLimit = 30 * time.Second
	// handOverLimit is how long a worker that is asked to leave waits for the step boundary.
	handOverLimit = 25 * time.Second
)

// Worker is a member of one cluster.
type Worker struct {
	o        Options
	log      zerolog.Logger
	name     string
	identity *trust.Identity
	subjects wire.Subjects
	bus      *bus.Bus
	members  *membership.Membership
	handler  *bus.Handler
	backend  *cpu.Backend
	files    *files
	orders   chan wire.Order
	job      *running
	again    chan struct{} // The coordinator has given this worker up: it says hello again.

	listener func(wire.Report) error // Takes the reports of a worker without a cluster; see Recompute.

	life context.Context // Ends when the worker leaves: reports are not waited for any more.
	bye  context.CancelFunc

	// Of the job in hand; jobs run one after the other.
	open       openPipeline
	encoders   *encoders
	resident   *resident
	generation atomic.Uint64 // The last that this worker was in, or is not to begin.
}

// running is the job in hand.
type running struct {
	id     string
	cancel context.CancelCauseFunc
	wish   wish
	done   chan struct{}
}

// wish is what the coordinator asks of training that is under way.
type wish struct{ pause, save atomic.Bool }

// asked tells whether to end at the next step boundary, and whether with a checkpoint.
func (w *wish) asked() (pause, save bool) {
	save = w.save.Load() // Before pause, which is set after it.
	return w.pause.Load(), save
}

// errCalledBack is the cause of a job that the coordinator cancelled.
var errCalledBack = errors.New("called back by the coordinator")

// Run joins the cluster and works until the coordinator lets it go, or ctx ends. It returns nil
// when it was let go.
func Run(ctx context.Context, o Options) error {
	w := &Worker{o: o, orders: make(chan wire.Order, 16), again: make(chan struct{}, 1)}
	w.life, w.bye = context.WithCancel(context.WithoutCancel(ctx))
	if err := kernel.CheckSet(); err != nil {
		return err
	}
	w.name = nodeName(o.Name)
	w.log = o.Log.With().Str(logkey.Component, "worker").Str(logkey.Node, w.name).Logger()
	err := w.work(ctx)
	return errors.Join(err, w.close())
}

// nodeName makes a unique node name of what the user called it.
func nodeName(name string) string {
	if name == "" {
		name, _ = os.Hostname() // An empty name is as good as any.
	}
	clean := strings.Map(func(r rune) rune {
		if wire.ValidToken(string(r)) {
			return r
		}
		return '-'
	}, name)
	return clean[:min(len(clean), 48)] + "-" + uuid.NewString()[:8]
}

func (w *Worker) work(ctx context.Context) error {
	if err := w.join(ctx); err != nil {
		return err
	}
	var err error
	if w.files, err = newFiles(w.bus, w.subjects.Blobs()); err != nil {
		return err
	}
	w.backend = cpu.New(w.threads())
	if err := w.listen(); err != nil {
		return err
	}
	if err := w.hello(ctx); err != nil {
		return err
	}
	return w.serve(ctx)
}

func (w *Worker) threads() int {
	if w.o.Threads > 0 {
		return w.o.Threads
	}
	return runtime.NumCPU()
}

// join trades the token for an identity, and starts the bus and the membership with it.
func (w *Worker) join(ctx context.Context) error {
	identity, err := trust.Join(ctx, trust.JoinConfig{Addr: w.o.Addr, Token: w.o.Token, NodeName: w.name, Version: w.o.Version})
	if err != nil {
		return err
	}
	w.identity = identity
	w.subjects = wire.Subjects{RunID: identity.Welcome.RunID}
	w.log = w.log.With().Str(logkey.RunID, identity.Welcome.RunID).Logger()
	var extra wire.WelcomeExtra
	if err := json.Unmarshal(identity.Welcome.Extra, &extra); err != nil {
		return fmt.Errorf("read welcome: %w", err)
	}
	if err := w.startBus(extra.NATSURL); err != nil {
		return err
	}
	return w.startMembership(ctx)
}

func (w *Worker) startBus(natsURL string) error {
	mutual, err := w.identity.MutualTLS()
	if err != nil {
		return fmt.Errorf("prepare TLS: %w", err)
	}
	c := bus.Config{NodeName: w.name, RunID: w.identity.Welcome.RunID, TLS: mutual, ExternalURL: natsURL, Log: w.o.Log.With().Str(logkey.Node, w.name).Str(logkey.RunID, w.identity.Welcome.RunID).Logger()}
	if natsURL == "" {
		c.RouteListen = net.JoinHostPort(w.identity.LocalIP.String(), "0")
		c.Routes = w.identity.Welcome.RouteAddrs
	}
	if w.bus, err = bus.Start(c); err != nil {
		return fmt.Errorf("start bus: %w", err)
	}
	return nil
}

func (w *Worker) startMembership(ctx context.Context) error {
	host := w.identity.LocalIP.String()
	meta := wire.Encode(wire.Meta{Route: w.bus.RouteAddr(), PID: os.Getpid(), Device: w.o.Device, KernelSet: kernel.Set(), Role: "worker"})
	var err error
	w.members, err = membership.Start(membership.Config{
		NodeName: w.name, BindAddr: host, AdvertiseAddr: host, Key: w.identity.Welcome.GossipKey, Meta: meta,
	})
	if err != nil {
		return fmt.Errorf("start membership: %w", err)
	}
	if err := w.members.Join(ctx, []string{w.identity.Welcome.GossipAddr}); err != nil {
		return fmt.Errorf("join the cluster's gossip at %s: %w; check that TCP and UDP to it are open", w.identity.Welcome.GossipAddr, err)
	}
	return nil
}

// listen takes orders. An order is answered once it is in the owner's queue.
func (w *Worker) listen() error {
	var err error
	w.handler, err = bus.Handle(w.bus.Conn(), w.subjects.Node(w.name), 1, func(ctx context.Context, data []byte) ([]byte, error) {
		var o wire.Order
		if err := wire.Decode(data, &o); err != nil {
			return nil, err
		}
		if o.Job != nil {
			if err := o.Job.Validate(); err != nil {
				return nil, err
			}
		}
		select {
		case w.orders <- o:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	if err != nil {
		return fmt.Errorf("listen for orders: %w", err)
	}
	return nil
}

// hello tells the coordinator that this worker is ready.
func (w *Worker) hello(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	host, _ := os.Hostname() // Only shown.
	h := wire.Hello{
		Protocol: wire.Version, Node: w.name, Version: w.o.Version, PID: os.Getpid(), Host: host,
		Device: w.o.Device, KernelSet: kernel.Set(), Threads: w.threads(),
	}
	if _, err := bus.CallReady(ctx, w.bus.Conn(), w.subjects.Hello(), wire.Encode(h)); err != nil {
		return fmt.Errorf("say hello to the coordinator: %w", err)
	}
	w.log.Info().Str(logkey.KernelSet, h.KernelSet).Int("threads", h.Threads).Msg("joined")
	return nil
}

// serve does what the coordinator orders until it lets the worker go. When ctx ends, the worker
// first hands over what it has in hand.
func (w *Worker) serve(ctx context.Context) error {
	var absent, late <-chan time.Time
	asked := ctx.Done()
	work := context.WithoutCancel(ctx)
	for {
		select {
		case <-asked:
			asked, late = nil, time.After(handOverLimit)
			w.log.Info().Msg("leaving on request, at the next step boundary")
			if err := w.reportWithin(leaveTimeout, wire.Report{Leaving: true}); err != nil {
				w.log.Warn().Err(err).Msg("leaving without a word")
				return nil
			}
		case <-late:
			w.log.Warn().Dur(logkey.DurationMS, handOverLimit).Msg("work not handed over in time, leaving")
			return nil
		case o := <-w.orders:
			if o.Leave {
				return nil
			}
			if err := w.take(work, o); err != nil {
				return err
			}
		case <-w.again:
			if err := w.rejoin(work); err != nil {
				return err
			}
		case ev := <-w.members.Events():
			absent = w.memberEvent(ev, absent)
		case <-absent:
			return fmt.Errorf("the coordinator has been gone for %v; start this worker again once it is back", absenceLimit)
		}
	}
}

// rejoin comes back as a new member, after the coordinator gave this worker up. What it was doing
// belongs to a generation that is over.
func (w *Worker) rejoin(ctx context.Context) error {
	w.log.Warn().Msg("given up by the coordinator, joining again")
	w.endJob(errCalledBack)
	select {
	case <-w.again: // Of the job's last word.
	default:
	}
	if r := w.resident; r != nil { // Of a log that may have been cut back since; the graph stays.
		r.holding, r.steps = lifecycle.Holding{}, nil
	}
	return w.hello(ctx)
}

// memberEvent starts or stops the clock of the coordinator's absence.
func (w *Worker) memberEvent(ev membership.Event, absent <-chan time.Time) <-chan time.Time {
	if ev.Node.Name == coordinatorName {
		if ev.Kind != membership.Leave {
			return nil
		}
		w.log.Warn().Msg("coordinator gone")
		return time.After(absenceLimit)
	}
	return absent
}

// take carries an order out.
func (w *Worker) take(ctx context.Context, o wire.Order) error {
	switch {
	case o.Hello:
		return w.rejoin(ctx)
	case o.Job != nil:
		w.endJob(errCalledBack) // A new job replaces one that the coordinator gave up.
		w.startJob(ctx, *o.Job)
	case o.Cancel != "":
		w.callBack(o)
	case w.job == nil:
	case o.Pause == w.job.id:
		w.job.wish.save.Store(o.Save)
		w.job.wish.pause.Store(true)
	}
	return nil
}

// callBack cancels a job. One that is not in hand, or has ended without the coordinator hearing
// of it, is answered here.
func (w *Worker) callBack(o wire.Order) {
	if w.job != nil && w.job.id == o.Cancel {
		select {
		case <-w.job.done:
		default:
			w.job.cancel(errCalledBack)
			return
		}
	}
	if o.Generation < w.generation.Load() {
		return // What is in hand is newer.
	}
	w.endJob(errCalledBack)
	w.generation.Store(o.Generation)
	done := w.whatIsHeld()
	if err := w.reportWithin(attemptTimeout, wire.Report{JobID: o.Cancel, Done: &done}); err != nil {
		w.log.Warn().Err(err).Msg("result not delivered")
	}
}

func (w *Worker) startJob(ctx context.Context, j wire.Job) {
	ctx, cancel := context.WithCancelCause(ctx)
	r := &running{id: j.ID, cancel: cancel, done: make(chan struct{})}
	w.job = r
	go func() {
		defer close(r.done)
		done := w.do(ctx, j, &r.wish)
		if err := w.report(wire.Report{JobID: j.ID, Done: &done}); err != nil {
			event := w.log.Warn() // The coordinator is gone, or has given the job up.
			if w.life.Err() != nil {
				event = w.log.Debug() // It let this worker go.
			}
			event.Err(err).Msg("result not delivered")
		}
	}()
}

// endJob cancels the job in hand, if any, and waits for its end.
func (w *Worker) endJob(cause error) {
	if w.job == nil {
		return
	}
	w.job.cancel(cause)
	<-w.job.done
	w.job = nil
}

// report sends r to the coordinator and waits until it is kept.
func (w *Worker) report(r wire.Report) error { return w.reportWithin(reportTimeout, r) }

func (w *Worker) reportWithin(limit time.Duration, r wire.Report) error {
	if w.listener != nil {
		return w.listener(r)
	}
	ctx, cancel := context.WithTimeout(w.life, limit)
	defer cancel()
	r.Node = w.name
	err := w.deliver(ctx, wire.Encode(r))
	var said *bus.RemoteError
	if errors.As(err, &said) && said.Code == wire.CodeUnknownNode {
		select {
		case w.again <- struct{}{}:
		default: // It is about to.
		}
	}
	if err != nil {
		return fmt.Errorf("report to the coordinator: %w", err)
	}
	return nil
}

// deliver sends a report until it is answered: a question or an answer is lost with its route.
// So the coordinator may get it twice.
func (w *Worker) deliver(ctx context.Context, report []byte) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		_, err := bus.CallReady(attempt, w.bus.Conn(), w.subjects.Report(), report)
		cancel()
		var said *bus.RemoteError
		if err == nil || errors.As(err, &said) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(attemptPause):
		}
	}
}

// close ends everything that was started, in reverse order.
func (w *Worker) close() error {
	w.bye()
	w.endJob(errors.New("worker is leaving"))
	errs := []error{w.dropResident()}
	if w.handler != nil {
		w.handler.Close()
	}
	if w.members != nil {
		errs = append(errs, w.members.Leave(leaveTimeout), w.members.Close())
	}
	if w.bus != nil {
		w.bus.Close()
	}
	if w.backend != nil {
		w.backend.Close()
	}
	if w.files != nil {
		errs = append(errs, w.files.close())
	}
	return errors.Join(errs...)
}
