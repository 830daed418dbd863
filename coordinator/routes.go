package coordinator

import (
	"fmt"
	"strings"
	"time"

	"yohaku/internal/bus"
	"yohaku/internal/epoch"
	"yohaku/internal/wire"
)

// routeGrace is how long a worker without a route is taken for alive: a killed process refuses the
// connection at once, a dropped connection is back by then.
const routeGrace = 400 * time.Millisecond

// unknownNodeError refuses a report of a worker that was given up.
type unknownNodeError struct{ node string }

func (e unknownNodeError) Error() string {
	return fmt.Sprintf("worker %s was given up: say hello again", e.node)
}

// Code tells the worker what to do.
func (unknownNodeError) Code() string { return wire.CodeUnknownNode }

// routeChanged hears of routes from the bus, in its goroutine. It must not wait: gossip tells too,
// only later.
func (c *Coordinator) routeChanged(p bus.Peer, up bool) {
	if up {
		c.tryPost(event{back: p.Name})
		return
	}
	time.AfterFunc(routeGrace, func() { c.tryPost(event{cut: p.Name}) })
}

func (c *Coordinator) tryPost(ev event) {
	select {
	case c.inbox <- ev:
	default:
	}
}

// routeEvent turns the news of a route into a loss, if it is one. A worker that was given up and is
// back is told to say hello again, and one that this coordinator has not met is asked for what it holds. A
// worker that says hello a second time, because it was told so twice, has left the job that it was given
// after the first: it is lost, and is welcome as a new one when it asks again.
func (c *Coordinator) routeEvent(ev event) event {
	switch {
	case ev.hello != nil && c.saidAgain(*ev.hello):
		ev.reply <- laterError{}
		return event{lost: ev.hello.Node}
	case ev.cut != "":
		if !c.bus.HasPeer(ev.cut) {
			return event{lost: ev.cut}
		}
	case ev.back != "" && c.gone[ev.back]:
		c.summon(ev.back, true)
	case ev.back != "" && c.nodes[ev.back] == nil && c.epoch > epoch.First:
		c.summon(ev.back, false) // It may belong to a coordinator before this one.
	}
	return ev
}

func (c *Coordinator) saidAgain(h wire.Hello) bool {
	n, known := c.nodes[h.Node]
	return known && h.Serial > n.hello.Serial
}

// localNode is the node of the local worker process called name, or "".
func (c *Coordinator) localNode(name string, pid int) string {
	for node, n := range c.nodes {
		if n.hello.PID == pid && strings.HasPrefix(node, name+"-") {
			return node
		}
	}
	return ""
}
