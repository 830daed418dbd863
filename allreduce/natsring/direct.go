package natsring

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/nats-io/nats.go"
)

// Direct makes the connections for bulk in one hop; a *bus.Bus is one.
type Direct interface {
	// Offer is what a peer needs for ConnectPeer, at most 512 bytes; "" when it cannot connect.
	Offer() string
	// ConnectPeer connects to the server of the peer that made the offer, ConnectOwn to that of this process. wrap gets the
	// connection as NATS will use it.
	ConnectPeer(ctx context.Context, offer string, wrap func(net.Conn) net.Conn, extra ...nats.Option) (*nats.Conn, error)
	ConnectOwn(wrap func(net.Conn) net.Conn, extra ...nats.Option) (*nats.Conn, error)
}

// link is a tapped connection with its subscription.
type link struct {
	conn *nats.Conn
	tap  *tap
}

func (l *link) close() {
	if l != nil {
		l.conn.Close()
	}
}

// connectOwn makes the connection on which this rank publishes bulk and takes acknowledgements.
func (r *Ring) connectOwn() error {
	l := &link{}
	conn, err := r.config.Direct.ConnectOwn(func(c net.Conn) net.Conn {
		l.tap = newTap(c, r.subject(r.config.Rank, "ack"), r.pool, r.deliver(r.ackFrames))
		return l.tap
	})
	if err != nil {
		return err
	}
	l.conn, r.own = conn, l
	return subscribeTapped(l)
}

// subscribeTapped subscribes to what the tap takes, and waits until the server has it.
func subscribeTapped(l *link) error {
	if _, err := l.conn.Subscribe(string(l.tap.subject), func(*nats.Msg) {}); err != nil {
		return fmt.Errorf("subscribe to %s: %w", l.tap.subject, err)
	}
	if err := l.conn.FlushTimeout(flushTimeout); err != nil {
		return fmt.Errorf("subscribe to %s: %w", l.tap.subject, err)
	}
	return nil
}

// deliver hands frames to the owner until the ring is closed.
func (r *Ring) deliver(queue chan []byte) func([]byte) {
	return func(frame []byte) {
		select {
		case queue <- frame:
		case <-r.closing:
			r.pool.put(frame)
		}
	}
}

// dialled is how a dial ended.
type dialled struct {
	link *link
	err  error
}

var errPullLost = errors.New("the connection to the previous rank's server ended")

// dial connects to the previous rank's server, beside the owner, and tells it of the end of that and of the connection.
func (r *Ring) dial(offer string) {
	r.dials.Go(func() {
		l := &link{}
		lost := make(chan struct{})
		conn, err := r.config.Direct.ConnectPeer(r.ctx, offer, func(c net.Conn) net.Conn {
			context.AfterFunc(r.ctx, func() { _ = c.Close() }) // A frozen peer must not hold up the ring's end.
			l.tap = newTap(c, r.subject(r.config.Rank, "bulk"), r.pool, r.deliver(r.dataFrames))
			return l.tap
		}, nats.ClosedHandler(func(*nats.Conn) { close(lost) }), nats.DisconnectErrHandler(func(*nats.Conn, error) {}))
		if err == nil {
			l.conn = conn
			err = subscribeTapped(l)
		}
		if err != nil {
			l.closeIfMade()
			r.tellDial(dialled{err: err})
			return
		}
		if !r.tellDial(dialled{link: l}) {
			conn.Close()
			return
		}
		select {
		case <-lost:
			r.tellDial(dialled{err: errPullLost})
		case <-r.closing:
		}
	})
}

func (l *link) closeIfMade() {
	if l.conn != nil {
		l.conn.Close()
	}
}

func (r *Ring) tellDial(d dialled) bool {
	select {
	case r.dialResults <- d:
		return true
	case <-r.closing:
		return false
	}
}
