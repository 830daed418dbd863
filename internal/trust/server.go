package trust

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	maxConversations = 128 // At once.
	maxPerSource     = 64  // At once; a host may start many workers together.
	bootstrapCN      = "bootstrap"
)

// Welcome is what a node learns when it is admitted. GossipKeys are secret.
type Welcome struct {
	RunID      string          `json:"run_id"`
	NodeName   string          `json:"node_name"`   // Filled with the admitted name.
	GossipKeys [][]byte        `json:"gossip_keys"` // AES-256; the first encrypts, all decrypt.
	Epoch      uint64          `json:"epoch"`       // Of the coordinator, for signed messages.
	Revoked    []string        `json:"revoked"`     // Names of nodes whose certificates count no more.
	GossipAddr string          `json:"gossip_addr"` // host:port of a memberlist node to join.
	RouteAddrs []string        `json:"route_addrs"` // host:port of NATS routes to dial.
	Extra      json.RawMessage `json:"extra,omitempty"`
}

// String leaves the gossip keys out.
func (w Welcome) String() string { return "welcome of " + w.NodeName + " to run " + w.RunID }

// Request is what a Grant function decides on. The secret has been checked already.
type Request struct {
	NodeName string
	Version  string
	Hosts    []string
	Remote   netip.AddrPort
	Extra    json.RawMessage
}

// ServerConfig configures the bootstrap server. Authority, Grant are required.
type ServerConfig struct {
	Authority *Authority
	Version   string // The program's version; a worker's must be equal.
	// Grant admits a node, or returns the error whose text the worker shows. It may be called
	// concurrently; ctx ends with the conversation's deadline and with Close.
	Grant func(ctx context.Context, r Request) (Welcome, error)
	// OnFailure, when set, reports failed conversations: for each source the first one, and
	// afterwards at most one call a minute with the count since the last call.
	OnFailure func(source netip.Addr, count int, err error)
	Now       func() time.Time // nil: time.Now.
}

// Server answers joining workers until Close.
type Server struct {
	config   ServerConfig
	listener net.Listener
	tls      *tls.Config
	limiter  *limiter
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// Serve starts answering on l, which the server owns from here on.
func Serve(l net.Listener, c ServerConfig) (*Server, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.OnFailure == nil {
		c.OnFailure = func(netip.Addr, int, error) {}
	}
	config, err := bootstrapTLS(c.Authority)
	if err != nil {
		_ = l.Close() // Owned, and of no use any more.
		return nil, err
	}
	s := &Server{config: c, listener: l, tls: config, limiter: newLimiter(c.Now), conns: map[net.Conn]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.wg.Go(s.accept)
	return s, nil
}

// bootstrapTLS makes the server's certificate; its chain carries the authority, which the worker pins.
func bootstrapTLS(a *Authority) (*tls.Config, error) {
	key, _, err := newNodeKey()
	if err != nil {
		return nil, err
	}
	der, err := a.sign(&key.PublicKey, bootstrapCN, nil, BootstrapName)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates:           []tls.Certificate{{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}},
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
	}, nil
}

// Addr is the listener's address.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close stops listening, ends the conversations and waits for them.
func (s *Server) Close() error {
	s.cancel()
	err := s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close() // Ends its reads and writes; the conversation reports.
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			if !s.pause(100 * time.Millisecond) { // Out of file descriptors, say.
				return
			}
			continue
		}
		source := sourceOf(conn)
		if !s.admit(conn, source.Addr()) {
			_ = conn.Close() // Refused unheard: the cheapest answer to a flood.
			continue
		}
		s.wg.Go(func() { s.converse(conn, source) })
	}
}

func (s *Server) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (s *Server) admit(conn net.Conn, source netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil || len(s.conns) >= maxConversations || !s.limiter.begin(source) {
		return false
	}
	s.conns[conn] = struct{}{}
	return true
}

func (s *Server) converse(conn net.Conn, source netip.AddrPort) {
	err := s.answer(conn, source)
	_ = conn.Close() // After the answer there is nothing left to lose.
	s.mu.Lock()
	count := s.limiter.end(source.Addr(), err != nil && s.ctx.Err() == nil)
	s.mu.Unlock()
	if count > 0 {
		s.config.OnFailure(source.Addr(), count, err)
	}
	s.mu.Lock()
	delete(s.conns, conn)
	s.mu.Unlock()
}

// answer holds one conversation. Its error is for the log; the worker got its own text.
func (s *Server) answer(conn net.Conn, source netip.AddrPort) error {
	if err := conn.SetDeadline(time.Now().Add(exchangeTimeout)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, exchangeTimeout)
	defer cancel()
	tc := tls.Server(conn, s.tls)
	if err := tc.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("bootstrap handshake: %w", err)
	}
	var req joinRequest
	if err := readFrame(tc, &req, maxRequestBytes); err != nil {
		return fmt.Errorf("bootstrap request: %w", err)
	}
	res, refused := s.decide(ctx, &req, source)
	if err := writeFrame(tc, res, maxResponseBytes); err != nil {
		return fmt.Errorf("bootstrap answer: %w", err)
	}
	if err := tc.CloseWrite(); err != nil {
		return fmt.Errorf("bootstrap answer: %w", err)
	}
	return refused
}

// decide checks the request. The version comes after the secret: strangers learn nothing.
func (s *Server) decide(ctx context.Context, req *joinRequest, source netip.AddrPort) (*joinResponse, error) {
	if code, text := s.config.Authority.checkSecret(req.Secret, req.Expires); code != "" {
		return s.refuse(code, text)
	}
	if req.Expires != 0 && s.config.Now().Unix() >= req.Expires {
		return s.refuse("expired", "the join token expired at "+time.Unix(req.Expires, 0).UTC().Format(time.RFC3339))
	}
	if req.Protocol != protocolVersion || req.Version != s.config.Version {
		return s.refuse("version", fmt.Sprintf("worker version %q with bootstrap protocol %d, coordinator version %q with protocol %d", clip(req.Version), req.Protocol, s.config.Version, protocolVersion))
	}
	key, err := parseNodeKey(req.PublicKey)
	if err != nil {
		return s.refuse("request", err.Error())
	}
	der, err := s.config.Authority.sign(key, req.NodeName, req.Hosts, NodeServerName)
	if err != nil {
		return s.refuse("request", err.Error())
	}
	if err := s.config.Authority.enroll(req.NodeName, req.PublicKey); err != nil {
		return s.refuse("request", err.Error())
	}
	welcome, err := s.config.Grant(ctx, Request{NodeName: req.NodeName, Version: req.Version, Hosts: req.Hosts, Remote: source, Extra: req.Extra})
	if err != nil {
		return s.refuse("refused", err.Error())
	}
	welcome.NodeName = req.NodeName
	return &joinResponse{Cert: der, Welcome: welcome}, nil
}

func (s *Server) refuse(code, text string) (*joinResponse, error) {
	return &joinResponse{Code: code, Text: text, Version: s.config.Version}, &Error{Kind: refusals[code], Text: text}
}

func sourceOf(conn net.Conn) netip.AddrPort {
	ap, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
