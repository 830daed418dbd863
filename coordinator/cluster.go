package coordinator

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"yohaku/coordinator/api"
	"yohaku/internal/bus"
	"yohaku/internal/bus/blob"
	"yohaku/internal/logkey"
	"yohaku/internal/membership"
	"yohaku/internal/signed"
	"yohaku/internal/trust"
	"yohaku/internal/wire"
)

// coordinatorName is the coordinator's node name.
const coordinatorName = trust.CoordinatorNode

// openCluster starts everything that workers talk to, and the local workers.
func (c *Coordinator) openCluster(ctx context.Context) error {
	host, err := c.reachableHost()
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return c.openTrust(host) },
		func() error { return c.openBus(host) },
		func() error { return c.openMembership(host) },
		c.openBlobs,
		c.listen,
		func() error { return c.openBootstrap(host) },
		c.openAPI,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	c.senders.Go(c.rotateGossipAtIntervals)
	c.o.Announce(c.Token(time.Time{}).Join, c.run)
	c.locals = startLocalWorkers(ctx, c.o, c.run, c.joinAddr(), func() string { return c.Token(time.Time{}).Token })
	return c.locals.err
}

// reachableHost is the address under which other nodes reach this one.
func (c *Coordinator) reachableHost() (string, error) {
	if c.o.Config.Advertise != "" {
		return c.o.Config.Advertise, nil
	}
	host, _, err := net.SplitHostPort(c.o.Config.Listen)
	if err != nil {
		return "", fmt.Errorf("--listen: %w", err)
	}
	return host, nil
}

// bindHost is the IP address that listeners bind to.
func (c *Coordinator) bindHost() (string, error) {
	host, _, err := net.SplitHostPort(c.o.Config.Listen)
	if err != nil {
		return "", fmt.Errorf("--listen: %w", err)
	}
	if host == "" {
		return "0.0.0.0", nil
	}
	return resolve("listen", host)
}

func (c *Coordinator) openTrust(string) error {
	authority, err := trust.OpenAuthority(c.run.Path("trust"))
	if err != nil {
		return fmt.Errorf("open cluster authority: %w", err)
	}
	c.trust = authority
	if c.epoch, err = authority.BeginEpoch(); err != nil {
		return fmt.Errorf("begin an epoch: %w", err)
	}
	return nil
}

func (c *Coordinator) openBus(host string) error {
	identity, err := c.trust.IssueCoordinator([]string{host})
	if err != nil {
		return fmt.Errorf("issue certificate: %w", err)
	}
	mutual, err := identity.MutualTLS()
	if err != nil {
		return fmt.Errorf("prepare TLS: %w", err)
	}
	bind, err := c.bindHost()
	if err != nil {
		return err
	}
	cfg := bus.Config{NodeName: coordinatorName, RunID: c.o.Config.RunID, Log: c.o.Log, TLS: mutual, ExternalURL: c.o.Config.NATSURL, OnPeer: c.routeChanged}
	if cfg.ExternalURL == "" {
		cfg.RouteListen = net.JoinHostPort(bind, "0")
		cfg.RouteAdvertise = net.JoinHostPort(host, "0")
	}
	if c.bus, err = bus.Start(cfg); err != nil && cfg.ExternalURL == "" {
		return fmt.Errorf("--listen %s: start bus: %w", c.o.Config.Listen, err)
	} else if err != nil {
		return fmt.Errorf("start bus: %w", err)
	}
	if c.calls, err = signed.Coordinator(c.bus, identity, c.epoch, c.messageRefused); err != nil {
		return fmt.Errorf("prepare signatures: %w", err)
	}
	return nil
}

// messageRefused hears of messages that were not authentic, or not new: once per source and minute.
func (c *Coordinator) messageRefused(subject, from string, count int, err error) {
	c.log.Warn().Str(logkey.Path, subject).Str(logkey.Peer, from).Int("count", count).Err(err).Msg("message refused")
}

// routeAddr is the address of this node's route under the host that others reach.
func (c *Coordinator) routeAddr(host string) string {
	_, port, err := net.SplitHostPort(c.bus.RouteAddr())
	if err != nil {
		return "" // An external NATS: there are no routes.
	}
	return net.JoinHostPort(host, port)
}

func (c *Coordinator) openMembership(host string) error {
	advertise, err := resolve("advertise", host)
	if err != nil {
		return err
	}
	bind, err := c.bindHost()
	if err != nil {
		return err
	}
	meta := wire.Encode(wire.Meta{Route: c.routeAddr(host), PID: os.Getpid(), Role: "coordinator"})
	c.members, err = membership.Start(membership.Config{
		NodeName: coordinatorName, BindAddr: bind, AdvertiseAddr: advertise, Keys: c.trust.GossipKeys(), Meta: meta,
	})
	if err != nil {
		return fmt.Errorf("start membership: %w", err)
	}
	return nil
}

// resolve gives the IP address of the host that a flag names.
func resolve(flag, host string) (string, error) {
	if _, err := netip.ParseAddr(host); err == nil {
		return host, nil
	}
	ip, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return "", fmt.Errorf("--%s: resolve %q: %w; give an IP address of this machine", flag, host, err)
	}
	return ip.String(), nil
}

func (c *Coordinator) openBlobs() error {
	store, err := blob.OpenFolder(c.run.Path("blobs"))
	if err != nil {
		return fmt.Errorf("open blobs: %w", err)
	}
	c.blobs = store
	c.served, err = blob.Serve(c.bus.Conn(), wire.Subjects{RunID: c.o.Config.RunID}.Blobs(), store)
	return err
}

func (c *Coordinator) openBootstrap(host string) error {
	l, err := net.Listen("tcp", c.o.Config.Listen)
	if err != nil {
		return fmt.Errorf("--listen %s: %w; name a free port of this machine, or port 0 for any", c.o.Config.Listen, err)
	}
	welcome := func() trust.Welcome {
		return trust.Welcome{
			RunID: c.o.Config.RunID, GossipKeys: c.trust.GossipKeys(), Revoked: c.trust.Revoked().Names(), Epoch: c.epoch, GossipAddr: c.members.Local().Addr.String(),
			RouteAddrs: []string{c.routeAddr(host)}, Extra: wire.Encode(wire.WelcomeExtra{NATSURL: c.o.Config.NATSURL}),
		}
	}
	c.boot, err = trust.Serve(l, trust.ServerConfig{
		Authority: c.trust, Version: c.o.Version,
		Grant: func(context.Context, trust.Request) (trust.Welcome, error) { return welcome(), nil },
		OnFailure: func(source netip.Addr, count int, err error) {
			c.log.Warn().Stringer(logkey.Peer, source).Int("count", count).Err(err).Msg("joiner refused")
		},
	})
	if err != nil {
		return fmt.Errorf("start bootstrap server: %w", err)
	}
	return nil
}

func (c *Coordinator) openAPI() error {
	server, err := api.Serve(c.o.Config.HTTP, c.run.Dir, c)
	if err != nil {
		return err
	}
	c.http = server
	c.show(func(s *api.Status) {
		s.RunID, s.Steps, s.State, s.Join = c.o.Config.RunID, c.o.Config.Steps, "starting", c.joinAddr()
		s.PID = os.Getpid()
		s.Host, _ = os.Hostname() // Only compared.
		s.Nodes = []api.Node{}
	})
	return nil
}

// joinAddr is the address that workers join at.
func (c *Coordinator) joinAddr() string {
	host, err := c.reachableHost()
	if err != nil {
		return ""
	}
	return net.JoinHostPort(host, strconv.Itoa(c.boot.Addr().(*net.TCPAddr).Port))
}

// joinLine is the line to paste on another machine.
func (c *Coordinator) joinLine(token string) string {
	return fmt.Sprintf("worker join %s --token %s", c.joinAddr(), token)
}

// orderTimeout bounds the answer to an order, which a worker gives at once.
const orderTimeout = 2 * time.Second

// order sends an order to a node and waits until it is taken.
func (c *Coordinator) order(ctx context.Context, name string, o wire.Order) error {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	if _, err := c.calls.Call(ctx, name, wire.Subjects{RunID: c.o.Config.RunID}.Node(name), wire.Encode(o)); err != nil {
		return fmt.Errorf("order to worker %s: %w", name, err)
	}
	return nil
}
