package bus

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// rescanPeriod is how often routes are looked at when no log line asked for it; a closed route is
// always logged, so this is only a net.
const rescanPeriod = 500 * time.Millisecond

// Peer is a server that this one has a route to.
type Peer struct {
	Name  string    // The peer's node name.
	Addr  string    // The remote end of the route's connection, IP:port.
	Since time.Time // When this route was made; it tells a route from its successor.
	id    string
}

// Peers lists the servers that this one has a route to now, by name. With ExternalURL it is empty.
func (b *Bus) Peers() []Peer {
	if b.server == nil {
		return nil
	}
	return peersOf(b.server)
}

// HasPeer tells whether there is a route to the named server now.
func (b *Bus) HasPeer(name string) bool { return len(absent([]string{name}, b.Peers())) == 0 }

// WaitPeers returns when there is a route to each of the named peers, or when ctx or the bus ends.
// With ExternalURL it returns at once: the servers there are not ours to wait for.
func (b *Bus) WaitPeers(ctx context.Context, names ...string) error {
	if b.server == nil {
		return nil
	}
	for {
		changed := b.watch.changes()
		missing := absent(names, b.Peers())
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for routes to %v: %w", missing, context.Cause(ctx))
		case <-b.watch.done:
			return fmt.Errorf("wait for routes to %v: the bus is closed", missing)
		case <-changed:
		}
	}
}

func absent(names []string, peers []Peer) []string {
	var missing []string
	for _, n := range names {
		if !slices.ContainsFunc(peers, func(p Peer) bool { return p.Name == n }) {
			missing = append(missing, n)
		}
	}
	return missing
}

func peersOf(s *server.Server) []Peer {
	routes, err := s.Routez(nil)
	if err != nil { // It returns none at present.
		return nil
	}
	byID := map[string]Peer{}
	for _, r := range routes.Routes {
		if r.Account == "" { // The system account has a route of its own beside it.
			byID[r.RemoteID] = Peer{Name: r.RemoteName, Addr: hostPort(r.IP, r.Port), Since: r.Start, id: r.RemoteID}
		}
	}
	peers := make([]Peer, 0, len(byID))
	for _, p := range byID {
		peers = append(peers, p)
	}
	slices.SortFunc(peers, func(a, b Peer) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.id, b.id)) })
	return peers
}

// watcher tells what changed between two looks at the server's routes.
type watcher struct {
	server *server.Server
	onPeer func(Peer, bool)
	poke   chan struct{}
	done   chan struct{}
	stopCh chan struct{}

	mu      sync.Mutex
	changed chan struct{} // Closed and replaced at every change.
}

func newWatcher(s *server.Server, onPeer func(Peer, bool)) *watcher {
	if onPeer == nil {
		onPeer = func(Peer, bool) {}
	}
	return &watcher{server: s, onPeer: onPeer, poke: make(chan struct{}, 1), done: make(chan struct{}), stopCh: make(chan struct{}), changed: make(chan struct{})}
}

func (w *watcher) nudge() {
	select {
	case w.poke <- struct{}{}:
	default: // A look is due already.
	}
}

func (w *watcher) start() { go w.run() }

// stop ends the watcher and waits for it.
func (w *watcher) stop() {
	close(w.stopCh)
	<-w.done
}

func (w *watcher) changes() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

func (w *watcher) run() {
	defer close(w.done)
	ticker := time.NewTicker(rescanPeriod)
	defer ticker.Stop()
	known := map[string]Peer{}
	for {
		select {
		case <-w.stopCh:
			return
		case <-w.poke:
		case <-ticker.C:
		}
		w.look(known)
	}
}

// look compares the routes with the known ones. A route that was replaced between two looks is
// reported lost and found: messages on it were lost.
func (w *watcher) look(known map[string]Peer) {
	now := map[string]Peer{}
	for _, p := range peersOf(w.server) {
		now[p.id] = p
	}
	change := false
	for id, p := range known {
		if q, ok := now[id]; !ok || !q.Since.Equal(p.Since) {
			delete(known, id)
			w.onPeer(p, false)
			change = true
		}
	}
	for id, p := range now {
		if _, ok := known[id]; !ok {
			known[id] = p
			w.onPeer(p, true)
			change = true
		}
	}
	if change {
		w.mu.Lock()
		close(w.changed)
		w.changed = make(chan struct{})
		w.mu.Unlock()
	}
}
