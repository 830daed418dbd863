package coordinator

import (
	"time"

	"yohaku/internal/logkey"
	"yohaku/internal/wire"
)

// outboxSize bounds the orders that wait for one node to take them.
const outboxSize = 32

// outbox holds the orders for one node. They are sent in order, by a goroutine that ends with the
// node or the coordinator: a frozen node holds nobody up.
type outbox struct {
	orders chan wire.Order
	stop   chan struct{}
}

// unsent is an order that a node did not say that it took: it may have, or not.
type unsent struct {
	node  string
	order wire.Order
	err   error
}

// openOutbox starts the sender of a node.
func (c *Coordinator) openOutbox(node string) *outbox {
	b := &outbox{orders: make(chan wire.Order, outboxSize), stop: make(chan struct{})}
	c.senders.Go(func() {
		for {
			select {
			case <-c.sending.Done():
				return
			case <-b.stop:
				return
			case o := <-b.orders:
				if err := c.order(c.sending, node, o); err != nil {
					c.returnOrder(b, unsent{node, o, err})
				}
			}
		}
	})
	return b
}

// returnOrder tells the owner, after a pause, so that a node which is gone is not asked without end.
func (c *Coordinator) returnOrder(b *outbox, u unsent) {
	select {
	case <-time.After(retryDelay):
	case <-b.stop:
		return
	case <-c.sending.Done():
		return
	}
	select {
	case c.inbox <- event{unsent: &u}:
	case <-b.stop:
	case <-c.sending.Done():
	}
}

// tell sends an order to a node without waiting. One that is given up gets none.
func (c *Coordinator) tell(node string, o wire.Order) {
	n, known := c.nodes[node]
	if !known {
		return
	}
	select {
	case n.outbox.orders <- o:
	default: // It has not taken the ones before either, which is told of them.
		c.log.Debug().Str(logkey.Node, node).Msg("too many orders wait")
	}
}

// tellAll sends an order to nodes.
func (c *Coordinator) tellAll(nodes []string, o wire.Order) {
	for _, node := range nodes {
		c.tell(node, o)
	}
}

// stopSending ends all senders and waits for them.
func (c *Coordinator) stopSending() {
	c.endSending()
	c.senders.Wait()
}
