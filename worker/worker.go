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
	helloTimeout    = 30 * time.Second
	reportTimeout   = 60 * time.Second
	attemptTimeout  = 3 * time.Second // For one answer.
	attemptPause    = 100 * time.Millisecond
	leaveTimeout    = 2 * time.Second
	coordinatorName = trust.CoordinatorNode
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
	calls    *signed.End
	members  *membership.Membership
	handler  *bus.Handler
	backend  *cpu.Backend
	files    *files
	orders   chan wire.Order
	job      *running
	trusting sync.Mutex    // Guards trusted.
	trusted  uint64        // Serial of the last change of trust.
	again    chan struct{} // The coordinator has given this worker up: it says hello again.

	listener func(wire.Report) error // Takes the reports of a worker without a cluster; see Recompute.

	life context.Context // Ends when the worker leaves: reports are not waited for any more.
	bye  context.CancelFunc

	faults sync.WaitGroup // Ordered ones that are under way.

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
			if o.Revoked {
				return fmt.Errorf("node %s was revoked by the coordinator; to come back, join anew with a fresh token from `coordinator token`", w.name)
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

// close ends everything that was started, in reverse order.
func (w *Worker) close() error {
	w.bye()
	w.faults.Wait()
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
