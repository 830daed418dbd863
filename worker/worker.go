package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"yohaku/internal/bus"
	"yohaku/internal/logkey"
	"yohaku/internal/membership"
	"yohaku/internal/signed"
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
	Memory  int64  // Bytes that the process may take while it trains; 0 is no bound.
	Profile string // Folder for profiles of training; empty for none.
	Version string
	Log     zerolog.Logger
	Fault   Fault // For tests.

	AllowChaos bool // Take orders to kill, freeze or cut off this worker; see chaos.
}

// Timing of the conversation with the coordinator.
const (
	helloTimeout   = 30 * time.Second
	attemptTimeout = 3 * time.Second // For one answer.
	attemptPause   = 50 * time.Millisecond
	leaveTimeout   = 2 * time.Second
	// handOverLimit is how long a worker that is asked to leave waits for the step boundary.
	handOverLimit = 25 * time.Second
)

// Worker is a member of one cluster.
type Worker struct {
	o        Options
	log      zerolog.Logger
	name     string
	identity *trust.Identity
	loyal    *allegiance
	found    findings
	bus      *bus.Bus
	calls    *signed.End
	members  *membership.Membership
	handler  *bus.Handler
	backend  *cpu.Backend
	files    *files
	orders   chan wire.Order
	outbox   *outbox
	job      *running
	trusting sync.Mutex    // Guards trusted.
	trusted  uint64        // Serial of the last change of trust.
	again    chan struct{} // The coordinator has given this worker up: it says hello again.
	greeted  string        // The coordinator that heard its last hello.
	hellos   uint64        // Said so far.
	sending  sync.WaitGroup

	// absenceLimit is how long the worker goes on without a coordinator.
	absenceLimit time.Duration

	ask func(ctx context.Context, node, subject string, data []byte) ([]byte, error) // Signed, by the bus.

	listener func(wire.StepReport) error // Takes the steps of a worker without a cluster; see Recompute.

	life context.Context // Ends when the worker leaves: reports are not waited for any more.
	bye  context.CancelFunc

	faults sync.WaitGroup // Ordered ones that are under way.

	// Of the job in hand; jobs run one after the other.
	open     openPipeline
	scorer   openScorer
	encoders *encoders
	resident *resident
	follower *follower // Catches the resident up with a ring, until the next job takes it.
	wanted   wanted
	feeder   *bus.Handler
	trained  lifecycle.Generation // The last that this worker was in.
}

// running is the job in hand.
type running struct {
	id     string
	cancel context.CancelCauseFunc
	forget context.CancelFunc // Nobody waits for its result.
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
	w := &Worker{o: o, orders: make(chan wire.Order, 16), again: make(chan struct{}, 1), outbox: newOutbox()}
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
	if w.files, err = newFiles(w.bus, func() string { return w.loyal.subjects().Blobs() }); err != nil {
		return err
	}
	w.backend = cpu.New(w.threads())
	if err := w.listen(); err != nil {
		return err
	}
	if err := w.hello(ctx, 0); err != nil {
		return err
	}
	w.sending.Go(w.deliverAll)
	return w.serve(ctx)
}

func (w *Worker) threads() int {
	if w.o.Threads > 0 {
		return w.o.Threads
	}
	return runtime.NumCPU()
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
			if err := w.askToLeave(); err != nil {
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
			if o.Revoked {
				return fmt.Errorf("node %s was revoked by the coordinator; to come back, join anew with a fresh token from `coordinator token`", w.name)
			}
			if err := w.take(work, o); err != nil {
				return err
			}
			if o.Hello && w.greeted != "" {
				absent = nil
			}
		case <-w.again:
			if w.greeted != w.loyal.subjects().Coordinator {
				continue // It never heard of this worker: it asks by itself for what that holds.
			}
			if err := w.rejoin(work, wire.Order{Forget: true}); err != nil {
				return err
			}
		case ev := <-w.members.Events():
			absent = w.memberEvent(ev, absent)
		case <-absent:
			return w.orphaned()
		}
	}
}

// rejoin says hello to the coordinator again. One that has taken the run over gets what this worker
// holds, and makes a generation of it; one that gave this worker up gets nothing, as its log may
// have been cut back since.
func (w *Worker) rejoin(ctx context.Context, o wire.Order) error {
	if !o.Forget && o.Coordinator == w.greeted {
		return nil // It was asked for twice.
	}
	if o.Forget {
		w.log.Warn().Msg("given up by the coordinator, joining again")
	}
	w.endJob(errCalledBack)
	select {
	case <-w.again: // Of the job's last word.
	default:
	}
	if o.Forget {
		if err := removeAll(w.outbox.clear()); err != nil {
			return fmt.Errorf("remove checkpoint that nobody wants: %w", err)
		}
		if w.resident != nil {
			w.resident.forget()
		}
	}
	w.outbox.retry()
	w.greeted = ""
	err := w.hello(ctx, o.Recorded)
	var refused *bus.RemoteError
	if errors.As(err, &refused) && refused.Code != wire.CodeUnknownNode {
		return err
	}
	if err != nil {
		w.log.Warn().Err(err).Msg("coordinator gone again") // Until it, or another one, asks again.
	}
	return nil
}

// askToLeave tells the coordinator that this worker wants to go.
func (w *Worker) askToLeave() error {
	ctx, cancel := context.WithTimeout(w.life, leaveTimeout)
	defer cancel()
	return w.report(ctx, wire.Report{Leaving: true})
}

// orphaned says why a worker ends whose coordinator did not come back.
func (w *Worker) orphaned() error {
	steps, checkpoints := w.outbox.left()
	return fmt.Errorf("the coordinator has been gone for %v, with %d steps and %d checkpoints not delivered: ending; continue the run with `coordinator up --resume %s`, from its last checkpoint",
		w.absenceLimit, steps, checkpoints, w.loyal.runID)
}

// delivered is the last step that the coordinator has, of those up to last.
func (w *Worker) delivered(last int) int {
	if w.listener != nil {
		return last
	}
	return w.outbox.delivered(last)
}

// memberEvent starts or stops the clock of the coordinator's absence.
func (w *Worker) memberEvent(ev membership.Event, absent <-chan time.Time) <-chan time.Time {
	if ev.Node.Name == w.loyal.subjects().Coordinator {
		if ev.Kind != membership.Leave {
			return nil
		}
		w.log.Warn().Dur("limit_ms", w.absenceLimit).Msg("coordinator gone, going on without it for a while")
		return time.After(w.absenceLimit)
	}
	return absent
}

// close ends everything that was started, in reverse order.
func (w *Worker) close() error {
	w.bye()
	w.faults.Wait()
	w.endJob(errors.New("worker is leaving"))
	w.sending.Wait()
	w.stopFollowing()
	errs := []error{w.dropResident()}
	for _, h := range []*bus.Handler{w.handler, w.feeder} {
		if h != nil {
			h.Close()
		}
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
