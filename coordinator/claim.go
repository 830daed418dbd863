package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"yohaku/coordinator/rendezvous"
	"yohaku/internal/bus/record"
	"yohaku/internal/epoch"
	"yohaku/internal/logkey"
	"yohaku/internal/wire"
)

// ErrFenced reports that another coordinator has taken the run over. This one ends, and leaves the
// workers to the other.
var ErrFenced = errors.New("another coordinator has taken the run over")

// The keys of the run's record.
const (
	generationKey = "generation"
	addressesKey  = "addresses"
	workersKey    = "workers"
)

// generationRecord is the last generation minted. It is written before its first order goes out.
type generationRecord struct {
	Epoch   uint64                `json:"epoch"`
	Number  uint64                `json:"number"`
	Ranks   []string              `json:"ranks"`
	Rewound rendezvous.Generation `json:"rewound"` // The last that began with an earlier checkpoint: what was held before it is void.
}

// addressRecord are the ports of this run's coordinators, which keep them.
type addressRecord struct {
	Bootstrap int `json:"bootstrap"`
	Route     int `json:"route"`
	Gossip    int `json:"gossip"`
	HTTP      int `json:"http"`
}

// workerRecord says how to reach a worker.
type workerRecord struct {
	Name   string `json:"name"`
	PID    int    `json:"pid"`
	Host   string `json:"host"`
	Local  bool   `json:"local"`  // A coordinator on its host started it.
	Route  string `json:"route"`  // host:port, empty with an external NATS.
	Gossip string `json:"gossip"` // host:port.
}

// runRecord is the run's record as this coordinator knows it.
type runRecord struct {
	store      *record.Store
	revisions  map[string]uint64
	generation generationRecord
	addresses  addressRecord
	workers    []workerRecord
}

func (c *Coordinator) openRecord() error {
	store, err := record.Open(c.run.Path("record"))
	if err != nil {
		return err
	}
	r := &runRecord{store: store, revisions: map[string]uint64{}}
	c.record = r
	for key, v := range map[string]any{generationKey: &r.generation, addressesKey: &r.addresses, workersKey: &r.workers} {
		if r.revisions[key], err = store.Get(key, v); err != nil {
			return err
		}
	}
	m := c.run.Manifest // The record may be gone, or be of a version before it was kept.
	r.generation.Epoch, r.generation.Number = max(r.generation.Epoch, m.Epoch), max(r.generation.Number, m.MaxGeneration)
	return nil
}

func (r *runRecord) put(key string, v any) error {
	next, err := r.store.Put(key, v, r.revisions[key])
	if err == nil {
		r.revisions[key] = next
	}
	return err
}

// Timing of a claim.
const (
	askTimeout  = 500 * time.Millisecond
	askPause    = 100 * time.Millisecond
	reachLimit  = 3 * time.Second // For workers that are recorded and do not answer.
	heldLimit   = 4 * time.Second // For workers to notice that their coordinator is gone.
	metaTimeout = time.Second
)

// claim makes this coordinator the run's: above all generations that the record and the workers know.
func (c *Coordinator) claim(ctx context.Context) error {
	r := c.record
	c.reachWorkers(ctx)
	heard, err := c.askWorkers(ctx)
	if err != nil {
		return err
	}
	last := rendezvous.Record{Generation: rendezvous.Generation{Epoch: r.generation.Epoch, Number: r.generation.Number}, Ranks: r.generation.Ranks}
	g, err := rendezvous.Claim(last, heard, epoch.Tag(c.name), c.o.Takeover, c.o.Force)
	if err != nil {
		return fmt.Errorf("run %s: %w", c.o.Config.RunID, err)
	}
	for _, s := range heard {
		c.heard = append(c.heard, s.Node)
		if s.Alive {
			c.log.Warn().Str(logkey.Node, s.Node).Str("coordinator", s.Coordinator).Msg("taking the run over from a living coordinator")
		}
	}
	r.generation.Epoch, r.generation.Number = g.Epoch, g.Number
	if err := r.put(generationKey, r.generation); err != nil {
		return err
	}
	c.calls.Begin(g.Epoch)
	c.epoch, c.run.Manifest.Epoch, c.run.Manifest.MaxGeneration = g.Epoch, g.Epoch, g.Number
	c.run.Unfinished = false // From here on an end is told.
	if err := c.run.SaveManifest(); err != nil {
		return err
	}
	return c.members.SetMeta(c.meta(), metaTimeout)
}

// reachWorkers joins the gossip of the recorded workers; the bus dials their routes.
func (c *Coordinator) reachWorkers(ctx context.Context) {
	for _, w := range c.record.workers {
		c.senders.Go(func() {
			if err := c.members.Join(ctx, []string{w.Gossip}); err != nil {
				c.log.Debug().Str(logkey.Node, w.Name).Err(err).Msg("recorded worker not reached by gossip")
			}
		})
	}
}

// askWorkers asks the recorded workers, and those they lead to, whom they belong to. It waits for
// those that do not answer yet, and for those that may not have noticed yet that their coordinator
// is gone.
func (c *Coordinator) askWorkers(ctx context.Context) ([]rendezvous.Standing, error) {
	var missing []string
	for _, w := range c.record.workers {
		if !w.Local || w.Host != hostname() || processAlive(w.PID) {
			missing = append(missing, w.Name)
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	c.log.Info().Int("workers", len(missing)).Msg("looking for the run's workers")
	start := time.Now()
	for {
		heard := c.askAll(ctx, c.withPeers(missing))
		silent := slices.DeleteFunc(slices.Clone(missing), func(name string) bool {
			return slices.ContainsFunc(heard, func(s rendezvous.Standing) bool { return s.Node == name })
		})
		held := slices.ContainsFunc(heard, func(s rendezvous.Standing) bool { return s.Alive })
		waited := time.Since(start)
		if (len(silent) == 0 || waited > reachLimit) && (!held || waited > heldLimit) {
			return heard, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(askPause):
		}
	}
}

// withPeers adds the nodes that have a route here.
func (c *Coordinator) withPeers(names []string) []string {
	all := slices.Clone(names)
	for _, p := range c.bus.Peers() {
		if !slices.Contains(all, p.Name) {
			all = append(all, p.Name)
		}
	}
	return all
}

// askAll asks nodes at the same time, and returns the answers of those that are workers.
func (c *Coordinator) askAll(ctx context.Context, names []string) []rendezvous.Standing {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var heard []rendezvous.Standing
	question := wire.Encode(wire.Order{Coordinator: c.name, Ask: true})
	for _, name := range names {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			data, err := c.calls.Call(ctx, name, c.subjects().Node(name), question)
			var s wire.Standing
			if err != nil || wire.Decode(data, &s) != nil || s.Node != name {
				return // Not there, or no worker.
			}
			mu.Lock()
			defer mu.Unlock()
			heard = append(heard, rendezvous.Standing{
				Node: s.Node, Coordinator: s.Coordinator, Alive: s.Alive, Highest: rendezvous.Generation{Epoch: s.Epoch, Number: s.Generation}, Ranks: s.Ranks,
			})
		})
	}
	wg.Wait()
	return heard
}

// recordWorkers writes down how to reach the workers that are there.
func (c *Coordinator) recordWorkers() {
	if c.record == nil {
		return
	}
	members := map[string]workerRecord{}
	for _, m := range c.members.Members() {
		var meta wire.Meta
		if wire.Decode(m.Meta, &meta) == nil {
			members[m.Name] = workerRecord{Route: meta.Route, Gossip: m.Addr.String()}
		}
	}
	all := make([]workerRecord, 0, len(c.standing))
	for _, name := range c.standing {
		h := c.nodes[name].hello
		w := members[name]
		w.Name, w.PID, w.Host, w.Local = name, h.PID, h.Host, c.locals.started(h)
		all = append(all, w)
	}
	if err := c.record.put(workersKey, all); err != nil {
		c.log.Warn().Err(err).Msg("workers not recorded: a coordinator that takes the run up will not find them")
	}
}

// takeUpLimit bounds the wait for workers that were heard: one may be in a long micro-batch.
const takeUpLimit = time.Minute

// takeUp has the workers that were heard say hello, with what they hold.
func (c *Coordinator) takeUp(ctx context.Context) error {
	for _, name := range c.heard {
		c.summon(name, false)
	}
	for deadline := time.Now().Add(takeUpLimit); time.Now().Before(deadline); {
		if !slices.ContainsFunc(c.heard, func(name string) bool { return c.nodes[name] == nil && c.sees(name) }) {
			break
		}
		c.retry = time.After(askPause)
		if _, err := c.next(ctx); err != nil {
			return err
		}
	}
	c.orderStanding()
	for _, w := range c.record.workers {
		if c.nodes[w.Name] == nil && w.Route != "" && c.o.Config.NATSURL == "" {
			if err := c.bus.RemoveRoute(w.Route); err != nil {
				return err
			}
		}
	}
	if len(c.nodes) > 0 {
		c.log.Info().Int(logkey.WorldSize, len(c.nodes)).Int(logkey.Step, c.training.step).Str("epoch", epoch.String(c.epoch)).Msg("took up the run with its living workers")
	}
	return nil
}

// orderStanding puts those who were ranks first, in their order: rank 0 has the checkpoints that were
// due meanwhile, and stays what it is.
func (c *Coordinator) orderStanding() {
	place := func(name string) int {
		if rank := slices.Index(c.record.generation.Ranks, name); rank >= 0 {
			return rank
		}
		return len(c.record.generation.Ranks)
	}
	slices.SortStableFunc(c.standing, func(a, b string) int { return place(a) - place(b) })
}

// sees tells whether a node is connected.
func (c *Coordinator) sees(name string) bool {
	if c.o.Config.NATSURL == "" {
		return c.bus.HasPeer(name)
	}
	return c.members.Has(name)
}

// summon has a worker say hello; with forget it was given up, and what it holds is void.
func (c *Coordinator) summon(name string, forget bool) {
	recorded := c.training.step
	c.senders.Go(func() {
		ctx, cancel := context.WithTimeout(c.sending, orderTimeout)
		defer cancel()
		if err := c.orderBy(ctx, true, name, wire.Order{Hello: true, Forget: forget, Recorded: recorded}); err != nil {
			c.log.Debug().Str(logkey.Node, name).Err(err).Msg("worker does not answer yet")
		}
	})
}

// holders tells whether a worker holds the state of training.
func (c *Coordinator) holders() bool {
	for _, n := range c.nodes {
		if n.holding.Loaded {
			return true
		}
	}
	return false
}
