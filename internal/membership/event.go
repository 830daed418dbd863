package membership

import (
	"sync"

	"github.com/hashicorp/memberlist"
)

// Kind says what an event is about.
type Kind int

const (
	// Join: a node is there.
	Join Kind = iota + 1
	// Leave: a node left, or is believed dead.
	Leave
	// Update: a node's metadata changed.
	Update
	// Conflict: a second node uses a living node's name; Node is the second one. When the name is
	// this node's own, this node or the other must end.
	Conflict
	// Resync: events were dropped; compare with Members.
	Resync
)

// String names the kind as in the constants, in lower case.
func (k Kind) String() string {
	switch k {
	case Join:
		return "join"
	case Leave:
		return "leave"
	case Update:
		return "update"
	case Conflict:
		return "conflict"
	case Resync:
		return "resync"
	}
	return "unknown"
}

// Event is one change; Node is empty for Resync.
type Event struct {
	Kind Kind
	Node Node
}

const (
	maxQueued        = 256 // Events that wait for the reader.
	maxKeptConflicts = 16  // Of them, when there is no room for all.
)

// queue passes events from memberlist, which must not be blocked, to a reader of any speed.
type queue struct {
	out  chan Event
	quit chan struct{}
	done chan struct{}
	wake chan struct{}

	mu      sync.Mutex
	waiting []Event
}

func newQueue() *queue {
	q := &queue{out: make(chan Event), quit: make(chan struct{}), done: make(chan struct{}), wake: make(chan struct{}, 1)}
	go q.run()
	return q
}

// add queues an event, or turns a full queue into its first conflicts, which Members does not
// show, and one Resync.
func (q *queue) add(e Event) {
	q.mu.Lock()
	if len(q.waiting) >= maxQueued {
		q.waiting = append(conflictsIn(q.waiting), Event{Kind: Resync})
		if e.Kind == Conflict {
			q.waiting = append(q.waiting, e)
		}
	} else if !(len(q.waiting) > 0 && q.waiting[len(q.waiting)-1].Kind == Resync && e.Kind != Conflict) {
		q.waiting = append(q.waiting, e) // After a Resync that nobody read yet it is covered already.
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func conflictsIn(waiting []Event) []Event {
	var kept []Event
	for _, e := range waiting {
		if e.Kind == Conflict && len(kept) < maxKeptConflicts {
			kept = append(kept, e)
		}
	}
	return kept
}

func (q *queue) take() (Event, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return Event{}, false
	}
	e := q.waiting[0]
	q.waiting = append(q.waiting[:0], q.waiting[1:]...)
	return e, true
}

func (q *queue) run() {
	defer close(q.done)
	defer close(q.out)
	for {
		e, ok := q.take()
		if !ok {
			select {
			case <-q.wake:
				continue
			case <-q.quit:
				return
			}
		}
		select {
		case q.out <- e:
		case <-q.quit:
			return
		}
	}
}

// stop ends the queue and waits for it; events that were not read are dropped.
func (q *queue) stop() {
	close(q.quit)
	<-q.done
}

// events turns memberlist's callbacks into events about other nodes.
type events struct {
	own   string
	queue *queue
}

func (e *events) NotifyJoin(n *memberlist.Node)   { e.add(Join, n) }
func (e *events) NotifyLeave(n *memberlist.Node)  { e.add(Leave, n) }
func (e *events) NotifyUpdate(n *memberlist.Node) { e.add(Update, n) }

func (e *events) add(k Kind, n *memberlist.Node) {
	if n.Name != e.own {
		e.queue.add(Event{Kind: k, Node: nodeOf(n)})
	}
}
