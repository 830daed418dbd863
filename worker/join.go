package worker

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"time"

	"yohaku/internal/bus"
	"yohaku/internal/logkey"
	"yohaku/internal/membership"
	"yohaku/internal/signed"
	"yohaku/internal/trust"
	"yohaku/internal/wire"
	"yohaku/model/kernel"
)

// join trades the token for an identity, and starts the bus and the membership with it.
func (w *Worker) join(ctx context.Context) error {
	identity, err := trust.Join(ctx, trust.JoinConfig{Addr: w.o.Addr, Token: w.o.Token, NodeName: w.name, Version: w.o.Version})
	if err != nil {
		return err
	}
	w.identity = identity
	w.log = w.log.With().Str(logkey.RunID, identity.Welcome.RunID).Logger()
	var extra wire.WelcomeExtra
	if err := json.Unmarshal(identity.Welcome.Extra, &extra); err != nil {
		return fmt.Errorf("read welcome: %w", err)
	}
	w.loyal, w.absenceLimit = newAllegiance(identity.Welcome.RunID, extra.Coordinator, identity.Welcome.Epoch, w.log), time.Duration(extra.AbsenceLimitMS)*time.Millisecond
	if err := w.startBus(extra.NATSURL); err != nil {
		return err
	}
	return w.startMembership(ctx)
}

func (w *Worker) startBus(natsURL string) error {
	mutual, err := w.identity.MutualTLS()
	if err != nil {
		return fmt.Errorf("prepare TLS: %w", err)
	}
	c := bus.Config{NodeName: w.name, RunID: w.identity.Welcome.RunID, TLS: mutual, ExternalURL: natsURL, Log: w.o.Log.With().Str(logkey.Node, w.name).Str(logkey.RunID, w.identity.Welcome.RunID).Logger()}
	if natsURL == "" {
		c.Publish, c.Subscribe = w.loyal.subjects().Worker(w.name)
		c.RouteListen = net.JoinHostPort(w.identity.LocalIP.String(), "0")
		c.Routes = w.identity.Welcome.RouteAddrs
	}
	if w.bus, err = bus.Start(c); err != nil {
		return fmt.Errorf("start bus: %w", err)
	}
	w.calls, err = signed.Worker(w.bus, w.identity, w.identity.Welcome.Epoch, func(subject, from string, count int, err error) {
		w.log.Warn().Str(logkey.Path, subject).Str(logkey.Peer, from).Int("count", count).Err(err).Msg("message refused")
	})
	if err != nil {
		return fmt.Errorf("prepare signatures: %w", err)
	}
	w.ask = w.calls.Call
	return nil
}

func (w *Worker) startMembership(ctx context.Context) error {
	host := w.identity.LocalIP.String()
	meta := wire.Encode(wire.Meta{Route: w.bus.RouteAddr(), PID: os.Getpid(), Device: w.o.Device, KernelSet: kernel.Set(), Role: wire.RoleWorker})
	var err error
	w.members, err = membership.Start(membership.Config{
		NodeName: w.name, BindAddr: host, AdvertiseAddr: host, Keys: w.identity.Welcome.GossipKeys, Meta: meta,
	})
	if err != nil {
		return fmt.Errorf("start membership: %w", err)
	}
	if err := w.members.Join(ctx, []string{w.identity.Welcome.GossipAddr}); err != nil {
		return fmt.Errorf("join the cluster's gossip at %s: %w; check that TCP and UDP to it are open", w.identity.Welcome.GossipAddr, err)
	}
	return nil
}

// adoptTrust makes a change of trust count here before it is answered.
func (w *Worker) adoptTrust(t wire.Trust) error {
	if err := trust.CheckGossipKeys(t.GossipKeys); err != nil {
		return err
	}
	w.trusting.Lock()
	defer w.trusting.Unlock()
	if t.Serial < w.trusted {
		return nil // Overtaken by a newer one.
	}
	w.trusted = t.Serial
	if err := w.members.SetKeys(t.GossipKeys); err != nil {
		return err
	}
	if !w.identity.Revoked.Add(t.Revoked) {
		return nil
	}
	return w.bus.CutRoutes(func(c *x509.Certificate) bool { return w.identity.Revoked.Check(c) == nil })
}

// hello tells the coordinator, which has written down the steps up to recorded, that this worker is
// ready, and what it holds.
func (w *Worker) hello(ctx context.Context, recorded int) error {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	if err := w.tellHeld(ctx, recorded); err != nil {
		return fmt.Errorf("report the steps in memory to the coordinator: %w", err)
	}
	host, _ := os.Hostname() // Only shown.
	w.hellos++
	h := wire.Hello{
		Protocol: wire.Version, Node: w.name, Version: w.o.Version, PID: os.Getpid(), Host: host,
		Device: w.o.Device, KernelSet: kernel.Set(), Threads: w.threads(), AllowChaos: w.o.AllowChaos,
		Holding: *w.whatIsHeld().Holding, Epoch: w.trained.Epoch, Generation: w.trained.Number, Differ: w.found.latest(), Serial: w.hellos,
	}
	coordinator, err := w.call(ctx, wire.Subjects.Hello, wire.Encode(h))
	if err != nil {
		return fmt.Errorf("say hello to the coordinator: %w", err)
	}
	w.found.told(h.Differ)
	w.greeted = coordinator
	w.log.Info().Str(logkey.KernelSet, h.KernelSet).Int("threads", h.Threads).Bool("trained", h.Holding.Loaded).Msg("joined")
	return nil
}
