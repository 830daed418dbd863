package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"yohaku/coordinator/api"
	"yohaku/coordinator/config"
	"yohaku/coordinator/evidence"
	"yohaku/coordinator/health"
	"yohaku/coordinator/metrics"
	"yohaku/coordinator/runstore"
	"yohaku/dataset"
	"yohaku/internal/bus"
	"yohaku/internal/bus/blob"
	"yohaku/internal/logkey"
	"yohaku/internal/membership"
	"yohaku/internal/signed"
	"yohaku/internal/trust"
	"yohaku/internal/wire"
)

// ErrStopped reports that the run was stopped on request before training began. Nothing is lost:
// it can be resumed.
var ErrStopped = errors.New("stopped on request")

// Options are what the command line decides.
type Options struct {
	Config        config.Config
	Version       string
	ModelName     string
	ModelDir      string                 // A diffusers pipeline folder; empty when the model is built in.
	UnpackModel   func(dir string) error // Makes dir the folder of the built-in model, whole or not at all.
	Resolution    int                    // Side of the training pictures, pixels.
	Data          dataset.Set            // Checked and filtered.
	DataName      string
	EvalPrompts   []string // None: no evaluation, for the reason in EvalNote.
	EvalNote      string
	EvalScheduler string   // Class to sample with; empty is the model's own.
	ResumeDir     string   // The run folder to continue, or empty.
	WorkerCommand []string // Starts a local worker; the address to join is appended.
	Log           zerolog.Logger
	LocalStarted  func(*os.Process)                          // Hears of each local worker's process.
	WorkerLog     io.Writer                                  // Where the log of the local workers is repeated, or nil. It is a file of the run folder.
	Takeover      bool                                       // Fence a living coordinator of the run.
	Force         bool                                       // With few of its ranks, too.
	Progress      io.Writer                                  // A terminal for the progress bar, or nil.
	Stop          <-chan struct{}                            // Closed when the run is to end at the next step boundary.
	Announce      func(join, desk string, run *runstore.Run) // The line for workers, and the link for a browser.
}

// Coordinator owns one run. Make it with New, then call Run once.
type Coordinator struct {
	o     Options
	log   zerolog.Logger
	start time.Time
	name  string // Node name.
	epoch uint64 // 0 until the run is claimed.

	record      *runRecord
	heard       []string           // Workers that answered when the run was claimed.
	differences []*wire.Difference // That were heard of; see bring.
	fenced      bool

	run     *runstore.Run
	trust   *trust.Authority
	boot    *trust.Server
	bus     *bus.Bus
	calls   *signed.End
	members *membership.Membership
	blobs   *blob.Folder
	http    *api.Server
	locals  *localWorkers
	offsite *offsite // nil without --checkpoint-store.

	inbox      chan event
	retry      <-chan time.Time // When something that failed is to be tried again, or nil.
	nodes      map[string]*node
	standing   []string        // Node names in the order of joining.
	gone       map[string]bool // Names of workers that were given up.
	handlers   []*bus.Handler
	senders    sync.WaitGroup // Of the nodes' outboxes.
	sending    context.Context
	endSending context.CancelFunc
	served     *blob.Service
	nextJob    int

	model      modelFiles
	shards     []wire.Ref
	stopAsked  bool
	evaluating bool // This is an evaluation: there is no training.
	stopOnce   sync.Once
	stopped    chan struct{} // Closed by Stop of the API.

	progress *progress
	watch    *health.Watch
	metrics  *metrics.Metrics
	stream   api.Stream
	training trainingState

	rotating sync.Mutex // Held while the gossip key changes.
	telling  sync.Mutex // Held while the nodes are told whom to trust.

	mu      sync.Mutex // Guards what the API reads:
	status  api.Status
	history []api.Event // Oldest first.
}

// Run performs the whole run and returns its report. It returns ErrStopped when it was asked to
// end before the first step; a stop during training ends with a checkpoint and a report.
func Run(ctx context.Context, o Options) (evidence.Report, error) {
	c := newCoordinator(ctx, o)
	report, err := c.perform(ctx)
	ended := errors.Join(err, c.close())
	if err != nil && !errors.Is(err, ErrStopped) {
		ended = errors.Join(ended, c.discard())
	}
	return report, ended
}

// newCoordinator returns one that is ready to open its folder and its cluster.
func newCoordinator(ctx context.Context, o Options) *Coordinator {
	c := &Coordinator{
		o: o, log: o.Log.With().Str(logkey.Component, "coordinator").Logger(), start: time.Now(), inbox: make(chan event, inboxSize), nodes: map[string]*node{}, gone: map[string]bool{},
		stopped: make(chan struct{}), progress: newProgress(o.Progress, o.Config.Steps),
		metrics: metrics.New(o.Config.RunID, o.Version, o.Config.Steps),
	}
	c.name = trust.CoordinatorPrefix + uuid.NewString()[:8]
	c.sending, c.endSending = context.WithCancel(context.WithoutCancel(ctx))
	return c
}

// discard removes the folder of a new run that failed before it held anything worth keeping:
// training had not begun and no pair was encoded.
func (c *Coordinator) discard() error {
	if c.run == nil || c.o.ResumeDir != "" || c.training.generation > 0 {
		return nil
	}
	if shards, err := filepath.Glob(c.run.Path("latents", "*.safetensors")); err != nil || len(shards) > 0 {
		return err
	}
	if err := os.RemoveAll(c.run.Dir); err != nil {
		return fmt.Errorf("remove the folder of the failed run: %w", err)
	}
	return nil
}

// perform runs the phases in order.
func (c *Coordinator) perform(ctx context.Context) (evidence.Report, error) {
	for _, phase := range []func(context.Context) error{
		c.openRun, c.openOffsite, c.withholdFinal, c.startWatch, c.openCluster, c.gather, c.encode, c.train, c.storeLast,
	} {
		if err := phase(ctx); err != nil {
			return evidence.Report{}, err
		}
	}
	return c.report(ctx)
}

// openRun creates the run folder, or opens the one to resume.
func (c *Coordinator) openRun(context.Context) error {
	if c.o.ResumeDir != "" {
		return c.resumeRun()
	}
	run, err := runstore.Create(c.o.Config.Out, c.manifest())
	if err != nil {
		return err
	}
	c.run = run
	if err := runstore.WriteLines(run, "rejected.jsonl", c.o.Data.Rejects); err != nil {
		return err
	}
	return nil
}

func (c *Coordinator) manifest() runstore.Manifest {
	licenses, origins := map[string]int{}, map[string]int{}
	for _, p := range c.o.Data.Pairs {
		if p.License != "" {
			licenses[p.License]++
		}
		if p.Origin != "" {
			origins[p.Origin]++
		}
	}
	return runstore.Manifest{
		Licenses: licenses, Origins: origins,
		RunID: c.o.Config.RunID, Version: c.o.Version, Created: c.start.UTC().Truncate(time.Second), Config: wire.Encode(c.o.Config),
		Seed: c.o.Config.Seed, DataName: c.o.DataName, DataDigest: c.o.Data.Digest, Pairs: len(c.o.Data.Pairs),
		Ties: c.o.Data.Ties, RejectedRows: len(c.o.Data.Rejects),
	}
}

func (c *Coordinator) resumeRun() error {
	run, err := runstore.Open(c.o.ResumeDir)
	if err != nil {
		return err
	}
	c.run = run
	if got, want := c.o.Data.Digest, run.Manifest.DataDigest; got != want {
		return fmt.Errorf("--resume %s: the data has digest %.12s…, the run was started on %.12s…; give the same --data and filters, or start a new run", run.Manifest.RunID, got, want)
	}
	if run.Unfinished {
		c.log.Warn().Str(logkey.Path, run.Dir).Msg("taking up an unfinished run, whose coordinator was killed")
	}
	run.Manifest.Config = wire.Encode(c.o.Config) // The number of steps may be another one now.
	if err := run.SaveManifest(); err != nil {
		return err
	}
	c.training.last, err = run.LastStep()
	c.training.step = c.training.last.Step
	return err
}

// Status is what the API shows.
func (c *Coordinator) Status() api.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Token is the join token and the line to paste.
func (c *Coordinator) Token(expires time.Time) api.Token {
	token := c.trust.Token(expires).Encode()
	return api.Token{Token: token, Join: c.joinLine(token)}
}

// Stop asks for an end at the next step boundary.
func (c *Coordinator) Stop() { c.stopOnce.Do(func() { close(c.stopped) }) }

// show changes what the API shows.
func (c *Coordinator) show(change func(*api.Status)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.status)
	c.stream.Publish("status", c.status)
}

// Stream is what the API passes on as it happens.
func (c *Coordinator) Stream() *api.Stream { return &c.stream }

// close ends everything that was started, in reverse order. It may be called at any stage.
func (c *Coordinator) close() error {
	var errs []error
	c.progress.end()
	c.offsite.close()
	if c.http != nil {
		errs = append(errs, c.http.Close())
	}
	for _, h := range c.handlers {
		h.Close() // First: it answers workers that wait for one that nobody will give.
	}
	c.stopSending()
	if !c.fenced && c.epoch > 0 {
		c.dismissWorkers()
	}
	if c.locals != nil {
		errs = append(errs, c.locals.close())
	}
	if c.boot != nil {
		errs = append(errs, c.boot.Close())
	}
	if c.served != nil {
		c.served.Close()
	}
	if c.members != nil {
		errs = append(errs, c.members.Close())
	}
	if c.bus != nil {
		c.bus.Close()
	}
	if c.record != nil {
		c.record.store.Close()
	}
	if c.run != nil {
		errs = append(errs, c.run.Close())
	}
	return errors.Join(errs...)
}
