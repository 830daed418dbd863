package bus

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"yohaku/internal/logkey"
	"yohaku/internal/throttle"
)

const (
	// MaxPayload is the largest message through embedded servers, bytes.
	MaxPayload = 2 << 20
	// MinPayload is what an external NATS must allow, bytes; it is nats-server's own default.
	MinPayload = 1 << 20

	// A killed peer is noticed at once by its closed connection; pings are for frozen ones. 300 ms
	// and 2 pings, which find those in 0.6–0.9 s, were seen to drop a living peer that computed on
	// a machine with eight times more runnable threads than cores.
	defaultPingInterval  = 500 * time.Millisecond
	defaultMaxPingsOut   = 3
	defaultWriteDeadline = 2 * time.Second
	connectTimeout       = 5 * time.Second
	reconnectWait        = 100 * time.Millisecond
	flushTimeout         = time.Second
)

// Config configures Start. NodeName and RunID are required; the name must be unique in the run,
// since two servers of one name get no route.
type Config struct {
	NodeName string
	RunID    string

	// RouteListen is the host:port that peers' servers connect to; the host is an address of this
	// machine, port 0 picks one. Empty: this process has no peers.
	RouteListen string
	// RouteAdvertise is the host:port told to peers, port 0 meaning the bound one; empty: the
	// address listened on. It is needed when RouteListen's host is unspecified (0.0.0.0 or ::).
	RouteAdvertise string
	Routes         []string    // host:port of peers' routes, dialled until they answer.
	TLS            *tls.Config // Mutual TLS 1.3, see trust.Identity.MutualTLS; nil only on loopback.

	// ExternalURL, when set, is a NATS server to use instead of an embedded one: nats://, tls://,
	// ws:// or wss://, several separated by commas, with user:password@ or token@ if it asks.
	ExternalURL string
	ExternalTLS *tls.Config // Nil: the system's authorities, where the URL or the server asks for TLS.

	// Publish and Subscribe are the subjects that this process may use, beside answers to its own
	// requests and to those of others; nil: all. The embedded server holds its clients to them. With
	// ExternalURL they are the business of who runs the servers.
	Publish, Subscribe []string

	PingInterval  time.Duration // Between servers; 0: 500 ms.
	MaxPingsOut   int           // Unanswered pings that end a route; 0: 3.
	WriteDeadline time.Duration // For a peer to take anything of what was written; 0: 2 s.

	// OnPeer, when set, hears of each peer found and lost. Calls come one at a time from one
	// goroutine, must not block, must not call Close, and end when Close begins. With ExternalURL
	// there are none.
	OnPeer func(p Peer, up bool)
	Log    zerolog.Logger // The zero Logger writes nothing.
}

// Bus is a running bus. Its methods are safe for concurrent use.
type Bus struct {
	config   Config
	log      zerolog.Logger
	server   *server.Server // nil with ExternalURL.
	password string         // Of the embedded server's clients in this process.
	// ringPassword is that of peers that take the ring's bulk, see direct.go.
	ringPassword string
	conn         *nats.Conn
	watch        *watcher // nil with ExternalURL.

	seen   certificates              // Of peers.
	errors throttle.Throttle[string] // What the connections reported.

	mu     sync.Mutex // Guards routes and reloads.
	routes []string
	closed bool
}

// Start starts the embedded server, or connects to the external one. The caller closes the bus.
func Start(c Config) (*Bus, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	b := &Bus{config: c, log: c.Log.With().Str(logkey.Component, "bus").Logger(), routes: append([]string(nil), c.Routes...)}
	if c.ExternalURL == "" {
		if err := b.startServer(); err != nil {
			return nil, err
		}
	}
	conn, err := b.Connect()
	if err != nil {
		b.Close()
		return nil, err
	}
	b.conn = conn
	if limit := conn.MaxPayload(); limit < MinPayload {
		b.Close()
		return nil, fmt.Errorf("NATS at %s allows messages of %d bytes, at least %d are needed; raise its max_payload", conn.ConnectedUrlRedacted(), limit, MinPayload)
	}
	return b, nil
}

// Conn is the process's main connection, which reconnects by itself until Close.
func (b *Bus) Conn() *nats.Conn { return b.conn }

// Connect makes one more connection of the same kind, for traffic that should not queue behind
// the rest. The caller closes it.
func (b *Bus) Connect(extra ...nats.Option) (*nats.Conn, error) {
	options := append(b.clientOptions(), extra...)
	if b.server != nil {
		conn, err := nats.Connect("", append(options, nats.InProcessServer(b.server), nats.UserInfo(embeddedUser, b.password))...)
		if err != nil {
			return nil, fmt.Errorf("connect to the embedded NATS server: %w", err)
		}
		return conn, nil
	}
	if b.config.ExternalTLS != nil {
		options = append(options, nats.Secure(b.config.ExternalTLS.Clone()))
	}
	conn, err := nats.Connect(b.config.ExternalURL, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w; check --nats-url and that the server runs", redact(b.config.ExternalURL), err)
	}
	return conn, nil
}

func (b *Bus) clientOptions() []nats.Option {
	return []nats.Option{
		nats.Name(b.config.NodeName),
		nats.CustomInboxPrefix(b.inbox()),
		nats.Timeout(connectTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // It is nil when the disconnect was asked for.
				b.log.Warn().Err(err).Msg("NATS connection lost")
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { b.log.Info().Msg("NATS connection restored") }),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			subject := ""
			if s != nil {
				subject = s.Subject
			}
			count := b.errors.Count(subject+" "+err.Error(), time.Now())
			if count == 0 {
				return
			}
			event := b.log.Warn().Err(err).Int("count", count)
			if s != nil {
				event = event.Str(logkey.Path, subject)
			}
			event.Msg("NATS connection reported an error")
		}),
	}
}

// RouteAddr is the host:port that peers use, or "" without a route listener.
func (b *Bus) RouteAddr() string {
	if b.server == nil || b.config.RouteListen == "" {
		return ""
	}
	bound := b.server.ClusterAddr()
	if b.config.RouteAdvertise == "" {
		return bound.String()
	}
	host, port, _ := net.SplitHostPort(b.config.RouteAdvertise) // Checked by check.
	if port == "0" {
		return hostPort(host, bound.Port)
	}
	return b.config.RouteAdvertise
}

// Close closes the connection and stops the server, and waits for both. Messages published before
// are flushed for at most a second.
func (b *Bus) Close() {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.closed = true
	b.mu.Unlock()
	if b.watch != nil {
		b.watch.stop() // First: the routes that end below are no lost peers.
	}
	if b.conn != nil {
		_ = b.conn.FlushTimeout(flushTimeout) // Best effort: the peer may be gone.
		b.conn.Close()
	}
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
}

func randomPassword() string {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // It never fails.
	return hex.EncodeToString(raw[:])
}
