package membership

import (
	"errors"
	"net"
	"strings"
	"sync"

	"github.com/hashicorp/memberlist"
)

const (
	maxStreams       = 64 // Open at once, from all sources.
	streamsPerSource = 16
	maxStreamBytes   = 16 << 20 // Read of one: 600 bytes a node, and more than memberlist takes of 10,000.
	bindAttempts     = 10       // To find a port that is free for both TCP and UDP.
)

// boundTransport is memberlist's own transport with bounds on what strangers can have it hold:
// memberlist reads a stream before it knows whether the key is right.
type boundTransport struct {
	*memberlist.NetTransport
	streams chan net.Conn
	done    chan struct{}
	ended   chan struct{}

	mu   sync.Mutex
	open map[string]int // By source.
	all  int
}

// listen opens the transport that c says, and puts it and its port into c.
func listen(c *memberlist.Config) error {
	attempts := 1
	if c.BindPort == 0 {
		attempts = bindAttempts
	}
	var failed error
	for range attempts {
		t, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{c.BindAddr}, BindPort: c.BindPort, Logger: c.Logger})
		if err != nil {
			failed = err
			if strings.Contains(err.Error(), "in use") {
				continue
			}
			return err
		}
		c.BindPort = t.GetAutoBindPort()
		if c.AdvertisePort == 0 {
			c.AdvertisePort = c.BindPort
		}
		b := &boundTransport{NetTransport: t, streams: make(chan net.Conn), done: make(chan struct{}), ended: make(chan struct{}), open: map[string]int{}}
		go b.pass()
		c.Transport = b
		return nil
	}
	return failed
}

// StreamCh gives the streams that are within the bounds.
func (b *boundTransport) StreamCh() <-chan net.Conn { return b.streams }

// Shutdown ends the transport.
func (b *boundTransport) Shutdown() error {
	close(b.done)
	<-b.ended
	return b.NetTransport.Shutdown()
}

func (b *boundTransport) pass() {
	defer close(b.ended)
	for {
		select {
		case <-b.done:
			return
		case conn := <-b.NetTransport.StreamCh():
			s, ok := b.admit(conn)
			if !ok {
				_ = conn.Close() // Unheard: the cheapest answer to a flood.
				continue
			}
			select {
			case b.streams <- s:
			case <-b.done:
				_ = s.Close() // Nobody reads it any more.
				return
			}
		}
	}
}

func (b *boundTransport) admit(conn net.Conn) (net.Conn, bool) {
	source, _, _ := net.SplitHostPort(conn.RemoteAddr().String()) // "" counts as one source.
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all >= maxStreams || b.open[source] >= streamsPerSource {
		return nil, false
	}
	b.all++
	b.open[source]++
	return &stream{Conn: conn, left: maxStreamBytes, closed: sync.OnceFunc(func() { b.release(source) })}, true
}

func (b *boundTransport) release(source string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all--
	if b.open[source]--; b.open[source] == 0 {
		delete(b.open, source)
	}
}

// stream is a connection that gives a bounded number of bytes.
type stream struct {
	net.Conn
	left   int
	closed func()
}

var errStreamTooLong = errors.New("gossip stream is too long")

func (s *stream) Read(p []byte) (int, error) {
	if s.left <= 0 {
		return 0, errStreamTooLong
	}
	n, err := s.Conn.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}

func (s *stream) Close() error {
	s.closed()
	return s.Conn.Close()
}
