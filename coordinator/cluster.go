package coordinator

import (
	"context"
	"errors"
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

// openCluster starts everything that workers talk to, and the local workers. Those that are there
// already are asked for the run first, and go on with it until all is ready to take it up.
func (c *Coordinator) openCluster(ctx context.Context) error {
	host, err := c.reachableHost()
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return c.openTrust(host) },
		c.openRecord,
		func() error { return c.openBus(host) },
		func() error { return c.openMembership(host) },
		func() error { return c.claim(ctx) },
		c.openBlobs,
		func() error { return c.openBootstrap(host) },
		c.openAPI,
		c.recordAddresses,
		func() error { return c.prepareModel(ctx) },
		c.openLocals,
		c.listen,
		func() error { return c.takeUp(ctx) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	c.senders.Go(c.rotateGossipAtIntervals)
	c.o.Announce(c.Token(time.Time{}).Join, c.http.SignIn(), c.run)
	return c.locals.startAll(ctx, c.joinAddr(), func() string { return c.Token(time.Time{}).Token })
}

// recordAddresses keeps the ports for the next coordinator of this run: workers find it there.
func (c *Coordinator) recordAddresses() error {
	a := addressRecord{Bootstrap: port(c.boot.Addr().String()), Route: port(c.bus.RouteAddr()), Gossip: port(c.members.Local().Addr.String()), HTTP: port(c.http.Address())}
	if a == c.record.addresses {
		return nil
	}
	c.record.addresses = a
	return c.record.put(addressesKey, a)
}

// port is the port of a HOST:PORT address, or 0.
func port(addr string) int {
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

// portBefore is the port that a coordinator of this run had before, if it is free on the host, or 0.
func (c *Coordinator) portBefore(what, host string, port int) int {
	if port == 0 {
		return 0
	}
	addr := net.JoinHostPort(host, strconv.Itoa(port))
	l, err := net.Listen("tcp", addr)
	if err == nil {
		err = l.Close()
	}
	if err != nil {
		c.log.Warn().Err(err).Str("address", addr).Msg("the " + what + " port of before is taken, using another one")
		return 0
	}
	return port
}

// sameAddress is a flag's HOST:PORT; port 0 is the one of before.
func (c *Coordinator) sameAddress(what, addr string, before int) string {
	host, text, err := net.SplitHostPort(addr)
	if err != nil || text != "0" {
		return addr
	}
	return net.JoinHostPort(host, strconv.Itoa(c.portBefore(what, host, before)))
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
	return nil
}

func (c *Coordinator) openBus(host string) error {
	identity, err := c.trust.IssueCoordinator(c.name, []string{host})
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
	cfg := bus.Config{NodeName: c.name, RunID: c.o.Config.RunID, Log: c.o.Log, TLS: mutual, ExternalURL: c.o.Config.NATSURL, OnPeer: c.routeChanged}
	if cfg.ExternalURL == "" {
		cfg.RouteListen = net.JoinHostPort(bind, strconv.Itoa(c.portBefore("route", bind, c.record.addresses.Route)))
		cfg.RouteAdvertise = net.JoinHostPort(host, "0")
		for _, w := range c.record.workers {
			if w.Route != "" {
				cfg.Routes = append(cfg.Routes, w.Route)
			}
		}
	}
	if c.bus, err = bus.Start(cfg); err != nil && cfg.ExternalURL == "" {
		return fmt.Errorf("--listen %s: start bus: %w", c.o.Config.Listen, err)
	} else if err != nil {
		return fmt.Errorf("start bus: %w", err)
	}
	if c.calls, err = signed.Coordinator(c.bus, identity, c.messageRefused); err != nil {
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
	c.members, err = membership.Start(membership.Config{
		NodeName: c.name, BindAddr: bind, BindPort: c.portBefore("gossip", bind, c.record.addresses.Gossip), AdvertiseAddr: advertise, Keys: c.trust.GossipKeys(), Meta: c.meta(),
	})
	if err != nil {
		return fmt.Errorf("start membership: %w", err)
	}
	return nil
}

// meta is what this node tells in its gossip; its epoch is 0 until it owns the run.
func (c *Coordinator) meta() []byte {
	host, err := c.reachableHost()
	if err != nil {
		host = ""
	}
	return wire.Encode(wire.Meta{Route: c.routeAddr(host), PID: os.Getpid(), Role: wire.RoleCoordinator, Epoch: c.epoch})
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
	c.served, err = blob.Serve(c.bus.Conn(), c.subjects().Blobs(), store)
	return err
}

func (c *Coordinator) openBootstrap(host string) error {
	l, err := net.Listen("tcp", c.sameAddress("join", c.o.Config.Listen, c.record.addresses.Bootstrap))
	if err != nil {
		return fmt.Errorf("--listen %s: %w; name a free port of this machine, or port 0 for any", c.o.Config.Listen, err)
	}
	welcome := func() trust.Welcome {
		return trust.Welcome{
			RunID: c.o.Config.RunID, GossipKeys: c.trust.GossipKeys(), Revoked: c.trust.Revoked().Names(), Epoch: c.epoch, GossipAddr: c.members.Local().Addr.String(),
			RouteAddrs: []string{c.routeAddr(host)}, Extra: wire.Encode(wire.WelcomeExtra{
				NATSURL: c.o.Config.NATSURL, Coordinator: c.name, AbsenceLimitMS: c.o.Config.AbsenceLimit().Milliseconds(),
			}),
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
	server, err := api.Serve(c.sameAddress("API", c.o.Config.HTTP, c.record.addresses.HTTP), c.run.Dir, c, c.metrics.Handler())
	if err != nil {
		return err
	}
	c.http = server
	c.show(func(s *api.Status) {
		s.RunID, s.Steps, s.State, s.Join = c.o.Config.RunID, c.o.Config.Steps, "starting", c.joinAddr()
		s.Epoch = c.epoch
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
	return c.orderBy(ctx, false, name, o)
}

// orderBy is order that may wait until the node listens. One that belongs to another coordinator by
// now ends this one.
func (c *Coordinator) orderBy(ctx context.Context, wait bool, name string, o wire.Order) error {
	call := c.calls.Call
	if wait {
		call = c.calls.CallReady
	}
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	o.Coordinator, o.Epoch = c.name, c.epoch
	_, err := call(ctx, name, c.subjects().Node(name), wire.Encode(o))
	var said *bus.RemoteError
	if errors.As(err, &said) && (said.Code == wire.CodeFenced || said.Code == signed.CodeEpoch) {
		c.tryPost(event{fenced: fmt.Errorf("worker %s: %w", name, err)})
	}
	if err != nil {
		return fmt.Errorf("order to worker %s: %w", name, err)
	}
	return nil
}

func (c *Coordinator) subjects() wire.Subjects {
	return wire.Subjects{RunID: c.o.Config.RunID, Coordinator: c.name}
}
