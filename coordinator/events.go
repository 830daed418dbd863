package coordinator

import (
	"context"
	"fmt"
	"slices"

	"yohaku/coordinator/api"
	"yohaku/coordinator/rendezvous"
	"yohaku/internal/epoch"
	"yohaku/internal/logkey"
	"yohaku/internal/membership"
	"yohaku/internal/wire"
)

// inboxSize bounds the events that wait; a handler whose event finds no place makes its sender wait.
const inboxSize = 256

// event is something that happened outside; exactly one field is set.
type event struct {
	hello  *wire.Hello
	report *wire.Report
	lost   string // A member that is gone.
	cut    string // A member that had no route a while ago.
	back   string // A member that has a route again.
	unsent *unsent
	fault  *api.Fault
	fenced error // Another coordinator has the run.
	stop   bool
	retry  bool       // Something that failed is to be tried again.
	reply  chan error // For hello, report and fault: the answer to the sender.
}

// node is a worker that said hello.
type node struct {
	hello          wire.Hello
	state          string
	rank           int
	itemsPerSecond float64
	outbox         *outbox
	holding        wire.Holding          // What it last said it has in memory.
	trained        rendezvous.Generation // The last that it was in when it said hello.
}

// listen subscribes to what workers say.
func (c *Coordinator) listen() error {
	subjects := c.subjects()
	hello, err := c.calls.Handle(subjects.Hello(), 1, func(ctx context.Context, from string, data []byte) ([]byte, error) {
		var h wire.Hello
		if err := wire.Decode(data, &h); err != nil {
			return nil, err
		}
		if h.Node != from {
			return nil, fmt.Errorf("node %s introduces itself as %q", from, h.Node)
		}
		return c.post(ctx, event{hello: &h})
	})
	if err != nil {
		return fmt.Errorf("listen for workers: %w", err)
	}
	c.handlers = append(c.handlers, hello)
	report, err := c.calls.Handle(subjects.Report(), 1, func(ctx context.Context, from string, data []byte) ([]byte, error) {
		var r wire.Report
		if err := wire.Decode(data, &r); err != nil {
			return nil, err
		}
		if r.Node != from {
			return nil, fmt.Errorf("node %s reports as %q", from, r.Node)
		}
		return c.post(ctx, event{report: &r})
	})
	if err != nil {
		return fmt.Errorf("listen for reports: %w", err)
	}
	c.handlers = append(c.handlers, report)
	return nil
}

// post puts ev into the inbox and waits for the owner's answer.
func (c *Coordinator) post(ctx context.Context, ev event) ([]byte, error) {
	ev.reply = make(chan error, 1)
	select {
	case c.inbox <- ev:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case err := <-ev.reply:
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// next waits for an event, after doing what every phase does with it: keeping the table of nodes.
// What a phase gets has effect: a hello of a node that was let in, a report of a known node, a
// node that is gone, or the wish to stop.
func (c *Coordinator) next(ctx context.Context) (event, error) {
	for {
		var ev event
		select {
		case <-ctx.Done():
			return event{}, context.Cause(ctx)
		case <-c.unlessAsked(c.o.Stop):
			return c.stopEvent(), nil
		case <-c.unlessAsked(c.stopped):
			return c.stopEvent(), nil
		case <-c.retry:
			c.retry = nil
			return event{retry: true}, nil
		case member := <-c.members.Events():
			ev = c.memberEvent(member)
		case exit := <-c.locals.exits():
			if err := c.localExit(exit); err != nil {
				return event{}, err
			}
			ev.lost = c.localNode(exit.name, exit.pid)
		case ev = <-c.inbox:
		}
		if ev.fenced != nil {
			c.fenced = true
			return event{}, fmt.Errorf("%w: %w; this one ends, and leaves the workers to it", ErrFenced, ev.fenced)
		}
		ev = c.routeEvent(ev)
		concerns, err := c.accept(ev)
		if err != nil {
			return event{}, err
		}
		if !concerns {
			continue
		}
		if ev.report != nil && ev.report.Leaving && !c.training.active {
			c.tell(ev.report.Node, wire.Order{Leave: true})
			continue
		}
		return ev, nil
	}
}

// stopEvent notes the wish to stop; it is heard once.
func (c *Coordinator) stopEvent() event {
	c.stopAsked = true
	c.log.Info().Msg("stopping at the next step boundary; a second Ctrl-C ends at once")
	return event{stop: true}
}

// unlessAsked is ch, or nil when the wish to stop was heard already.
func (c *Coordinator) unlessAsked(ch <-chan struct{}) <-chan struct{} {
	if c.stopAsked {
		return nil
	}
	return ch
}

// memberEvent turns a gossip event into one of ours. Routes need no help: the servers' own gossip
// makes them.
func (c *Coordinator) memberEvent(m membership.Event) event {
	if err := c.superseded(m.Node); err != nil && (m.Kind == membership.Join || m.Kind == membership.Update) {
		return event{fenced: err}
	}
	switch m.Kind {
	case membership.Join:
		return event{back: m.Node.Name}
	case membership.Leave:
		return event{lost: m.Node.Name}
	case membership.Resync:
		return c.missing()
	case membership.Conflict:
		c.log.Error().Str(logkey.Peer, m.Node.Name).Msg("a second node has the name of a living one; end one of them")
		return event{}
	}
	return event{}
}

// superseded tells of a coordinator whose epoch is higher.
func (c *Coordinator) superseded(n membership.Node) error {
	var meta wire.Meta
	if wire.Decode(n.Meta, &meta) != nil || meta.Role != wire.RoleCoordinator || n.Name == c.name || meta.Epoch <= c.epoch || c.epoch == 0 {
		return nil
	}
	return fmt.Errorf("%s at %v, process %d, has epoch %s, this one %s", n.Name, n.Addr.Addr(), meta.PID, epoch.String(meta.Epoch), epoch.String(c.epoch))
}

// missing finds a known node that gossip no longer lists, after events were dropped. Further ones
// are found by the next Resync, or by the job that fails on them.
func (c *Coordinator) missing() event {
	present := map[string]bool{}
	for _, n := range c.members.Members() {
		present[n.Name] = true
	}
	for _, name := range c.standing {
		if !present[name] {
			return event{lost: name}
		}
	}
	return event{}
}

// accept keeps the table of nodes and answers the sender. It tells whether ev concerns the phase.
func (c *Coordinator) accept(ev event) (bool, error) {
	switch {
	case ev.hello != nil:
		err := c.welcome(*ev.hello)
		ev.reply <- err
		return err == nil, nil
	case ev.report != nil:
		return c.acceptReport(ev)
	case ev.fault != nil:
		ev.reply <- c.fault(*ev.fault)
		return false, nil
	case ev.unsent != nil:
		_, known := c.nodes[ev.unsent.node]
		return known, nil
	case ev.lost != "":
		n, known := c.nodes[ev.lost]
		if !known {
			return false, nil
		}
		close(n.outbox.stop)
		delete(c.nodes, ev.lost)
		c.gone[ev.lost] = true
		c.standing = slices.DeleteFunc(c.standing, func(n string) bool { return n == ev.lost })
		c.log.Warn().Str(logkey.Node, ev.lost).Int(logkey.WorldSize, len(c.nodes)).Msg("worker gone")
		c.remember(api.Event{Kind: api.WorkerGone, Node: ev.lost})
		c.recordWorkers()
		c.showNodes()
		return true, nil
	}
	return false, nil
}

// acceptReport keeps what a report brings before it is answered: nothing that was acknowledged is
// lost. Steps are taken from workers, too, that are about to say hello.
func (c *Coordinator) acceptReport(ev event) (bool, error) {
	r := ev.report
	_, known := c.nodes[r.Node]
	var err error
	switch {
	case !known && (c.gone[r.Node] || r.Steps == nil && r.Held == nil && r.Checkpoint == nil):
		ev.reply <- unknownNodeError{r.Node}
		return false, nil
	case r.Held != nil:
		c.hold(r.Node, r.Held)
	case r.Steps != nil:
		err = c.keepSteps(r.Steps)
	case r.Checkpoint != nil && !c.training.active:
		ev.reply <- laterError{}
		return false, nil
	case r.Checkpoint != nil:
		err = c.keepCheckpoint(*r.Checkpoint)
	}
	ev.reply <- err
	return true, err
}

// laterError refuses what cannot be taken yet.
type laterError struct{}

func (laterError) Error() string { return "the coordinator cannot take this yet" }

// Code tells the worker what to do.
func (laterError) Code() string { return wire.CodeLater }

// welcome lets a worker in, or says why not.
func (c *Coordinator) welcome(h wire.Hello) error {
	if h.Protocol != wire.Version || h.Version != c.o.Version {
		return fmt.Errorf("worker %s is version %s (protocol %d), the coordinator is %s (%d): install the same version on both", h.Node, h.Version, h.Protocol, c.o.Version, wire.Version)
	}
	if !wire.ValidToken(h.Node) {
		return fmt.Errorf("worker name %q must be 1 to 64 letters, digits, '-' or '_': give another --name", h.Node)
	}
	if c.trust.Revoked().Has(h.Node) {
		return fmt.Errorf("worker %s was revoked: start it anew with a fresh token from `coordinator token`", h.Node)
	}
	if err := c.admitKernels(h); err != nil {
		return err
	}
	if _, known := c.nodes[h.Node]; known {
		return nil // The same hello, once more: its answer was lost.
	}
	delete(c.gone, h.Node)
	c.standing = append(c.standing, h.Node)
	n := &node{hello: h, state: "idle", rank: -1, outbox: c.openOutbox(h.Node), holding: h.Holding, trained: rendezvous.Generation{Epoch: h.Epoch, Number: h.Generation}}
	c.nodes[h.Node] = n
	c.bring(h.Node, h.Differ)
	c.locals.adopt(h)
	c.recordWorkers()
	c.log.Info().Str(logkey.Node, h.Node).Str(logkey.Device, h.Device).Str(logkey.KernelSet, h.KernelSet).Int(logkey.WorldSize, len(c.nodes)).Msg("worker ready")
	c.remember(api.Event{Kind: api.WorkerReady, Node: h.Node})
	c.showNodes()
	c.tell(h.Node, wire.Order{Trust: c.trustNow()}) // It may have changed since the worker joined.
	return nil
}

// showNodes copies the table of nodes into the status.
func (c *Coordinator) showNodes() {
	nodes := c.table()
	c.show(func(s *api.Status) { s.Nodes = nodes })
}

// table lists the nodes, ranks first.
func (c *Coordinator) table() []api.Node {
	nodes := make([]api.Node, 0, len(c.standing))
	for _, name := range c.standing {
		n := c.nodes[name]
		nodes = append(nodes, api.Node{
			Name: name, Rank: n.rank, PID: n.hello.PID, Host: n.hello.Host, Device: n.hello.Device,
			KernelSet: n.hello.KernelSet, ItemsPerSecond: n.itemsPerSecond, State: n.state, AllowChaos: n.hello.AllowChaos,
		})
	}
	slices.SortStableFunc(nodes, func(a, b api.Node) int { return rankOrder(a.Rank) - rankOrder(b.Rank) })
	return nodes
}

// rankOrder puts those that stand by last.
func rankOrder(rank int) int {
	if rank < 0 {
		return 1 << 30
	}
	return rank
}
