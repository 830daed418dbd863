package bus

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	embeddedUser   = "yohaku"
	maxPending     = 128 << 20 // Bytes queued for a local client that does not read, before it is cut.
	tlsTimeout     = 5.0       // Seconds; a machine under full load is slow to shake hands.
	routeRetries   = 10        // For peers learned from peers; configured routes are dialled for ever.
	startTimeout   = 10 * time.Second
	startPoll      = 50 * time.Millisecond
	routeScheme    = "nats-route"
	clusterName    = "yohaku-"
	clientListenIP = "127.0.0.1"
)

// startServer starts the embedded server with its routes.
func (b *Bus) startServer() error {
	b.password, b.ringPassword = randomPassword(), randomPassword()
	logger := newServerLog(b.log)
	s, err := server.NewServer(b.options())
	if err != nil {
		return fmt.Errorf("start the embedded NATS server: %w", err)
	}
	s.SetLoggerV2(logger, false, false, false)
	b.watch = newWatcher(s, b.config.OnPeer)
	logger.nudge = b.watch.nudge
	b.server = s
	s.Start()
	if err := waitReady(s, logger); err != nil {
		s.Shutdown()
		s.WaitForShutdown()
		return err
	}
	b.watch.start()
	return nil
}

func waitReady(s *server.Server, logger *serverLog) error {
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		if s.ReadyForConnections(startPoll) {
			return nil
		}
		select {
		case text := <-logger.fatal:
			return fmt.Errorf("start the embedded NATS server: %s; choose another address or port", text)
		default:
		}
	}
	return fmt.Errorf("start the embedded NATS server: it does not listen after %v", startTimeout)
}

// options makes nats-server's options from the configuration and the present routes.
func (b *Bus) options() *server.Options {
	o := &server.Options{
		ServerName: b.config.NodeName,
		Host:       clientListenIP,
		Port:       server.RANDOM_PORT,
		Users:      b.users(),
		NoSigs:     true,
		NoLog:      true,
		MaxPayload: MaxPayload,
		MaxPending: maxPending,
	}
	if b.config.RouteListen == "" {
		o.DontListen = true
		return o
	}
	host, port, _ := net.SplitHostPort(b.config.RouteListen) // Checked by check.
	if !b.listensLocally() {
		o.Host, o.TLSConfig, o.TLSTimeout = host, b.seen.watch(b.config.TLS), tlsTimeout
	}
	o.Cluster = server.ClusterOpts{
		Name:           clusterName + b.config.RunID,
		Host:           host,
		Port:           portOrRandom(port),
		Advertise:      b.config.RouteAdvertise,
		NoAdvertise:    true, // Of client URLs: the client listener is for the next rank of the ring alone.
		ConnectRetries: routeRetries,
		PoolSize:       1,
		Compression:    server.CompressionOpts{Mode: server.CompressionOff}, // Useless on gradients.
		PingInterval:   orDefault(b.config.PingInterval, defaultPingInterval),
		MaxPingsOut:    orDefault(b.config.MaxPingsOut, defaultMaxPingsOut),
		WriteDeadline:  orDefault(b.config.WriteDeadline, defaultWriteDeadline),
		WriteTimeout:   server.WriteTimeoutPolicyRetry, // A peer that takes something is slow, one that takes nothing is gone.
		TLSTimeout:     tlsTimeout,
	}
	if b.config.TLS != nil {
		o.Cluster.TLSConfig = b.seen.watch(b.config.TLS)
	}
	for _, r := range b.routes {
		o.Routes = append(o.Routes, &url.URL{Scheme: routeScheme, Host: r})
	}
	return o
}

func portOrRandom(port string) int {
	n, _ := strconv.Atoi(port) // Checked by check.
	if n == 0 {
		return server.RANDOM_PORT
	}
	return n
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// AddRoute starts dialling a peer's route at host:port, and keeps on until RemoveRoute. Adding a
// present one does nothing. Peers of peers are found without it.
func (b *Bus) AddRoute(addr string) error {
	if err := checkHostPort("route", addr, 1); err != nil {
		return err
	}
	return b.changeRoutes(func(routes []string) []string {
		if slices.Contains(routes, addr) {
			return routes
		}
		return append(slices.Clip(routes), addr)
	})
}

// RemoveRoute stops dialling a peer, and closes the route if this side dialled it.
func (b *Bus) RemoveRoute(addr string) error {
	return b.changeRoutes(func(routes []string) []string {
		return slices.DeleteFunc(slices.Clone(routes), func(r string) bool { return r == addr })
	})
}

func (b *Bus) changeRoutes(change func([]string) []string) error {
	if b.server == nil || b.config.RouteListen == "" {
		return errors.New("change routes: this bus has no route listener")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errors.New("change routes: the bus is closed")
	}
	before := b.routes
	b.routes = change(before)
	if slices.Equal(before, b.routes) {
		return nil
	}
	if err := b.server.ReloadOptions(b.options()); err != nil {
		b.routes = before
		return fmt.Errorf("change routes to %v: %w", b.routes, err)
	}
	return nil
}
