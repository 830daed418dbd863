package coordinator

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"yohaku/internal/logkey"
	"yohaku/internal/wire"
)

const (
	// gossipKeyLife is how long a gossip key encrypts.
	gossipKeyLife = 12 * time.Hour
	// gossipOverlap is how long the former key still decrypts: for joiners that were given it.
	gossipOverlap = 3 * time.Second
	// farewell bounds the last word to a revoked node, which may be anything.
	farewell = 500 * time.Millisecond
	// tellAttempts bounds how often a node is told of a change of trust; one that returns from
	// silence is told at its hello.
	tellAttempts = 2
)

// trustNow is what nodes are to trust at this moment.
func (c *Coordinator) trustNow() *wire.Trust {
	keys, revoked, serial := c.trust.Snapshot()
	return &wire.Trust{Serial: serial, GossipKeys: keys, Revoked: revoked}
}

// RotateToken makes all join tokens given out before count no more, and changes the gossip key.
func (c *Coordinator) RotateToken() error {
	if err := c.trust.RotateToken(); err != nil {
		return err
	}
	c.log.Info().Msg("join token rotated")
	c.senders.Go(c.rotateGossip)
	return nil
}

// RevokeToken makes one join token count no more.
func (c *Coordinator) RevokeToken(token string) error {
	if err := c.trust.RevokeToken(token); err != nil {
		return err
	}
	c.log.Info().Msg("join token revoked")
	return nil
}

// RevokeNode puts a node out for good: no node accepts its certificate any more, its routes end,
// the tokens that it may know are refused, and the gossip key changes. When it returns, the nodes
// that can be reached have cut it off.
func (c *Coordinator) RevokeNode(name string) error {
	if err := c.trust.RevokeNode(name); err != nil {
		return err
	}
	c.log.Warn().Str(logkey.Node, name).Msg("node revoked")
	ctx, cancel := context.WithTimeout(c.sending, farewell)
	defer cancel()
	if err := c.order(ctx, name, wire.Order{Revoked: true}); err != nil {
		c.log.Debug().Str(logkey.Node, name).Err(err).Msg("revoked node not told")
	}
	err := c.bus.CutRoutes(func(cert *x509.Certificate) bool { return c.trust.Revoked().Check(cert) == nil })
	select {
	case c.inbox <- event{lost: name}:
	case <-c.sending.Done():
		return errors.New("the run is ending")
	}
	c.tellTrust()
	c.senders.Go(c.rotateGossip)
	return err
}

// tellTrust tells all nodes what to trust now, and waits until each has taken it or was asked
// often enough.
func (c *Coordinator) tellTrust() {
	c.telling.Lock()
	defer c.telling.Unlock()
	order := wire.Order{Trust: c.trustNow()}
	var wg sync.WaitGroup
	for _, n := range c.Status().Nodes {
		if c.trust.Revoked().Has(n.Name) {
			continue
		}
		wg.Go(func() {
			var err error
			for range tellAttempts {
				if err = c.order(c.sending, n.Name, order); err == nil || c.sending.Err() != nil {
					return
				}
			}
			c.log.Warn().Str(logkey.Node, n.Name).Err(err).Msg("worker not told whom to trust")
		})
	}
	wg.Wait()
}

// rotateGossip changes the gossip key in three rounds, so that nobody gets a message that it
// cannot read: all learn the new key, all use it, all forget the old one.
func (c *Coordinator) rotateGossip() {
	c.rotating.Lock()
	defer c.rotating.Unlock()
	start := time.Now()
	for i, round := range []func() error{c.trust.AddGossipKey, c.trust.UseGossipKey, c.trust.DropGossipKeys} {
		if i == 2 && !c.pause(gossipOverlap) {
			return
		}
		err := round()
		if err == nil {
			err = c.members.SetKeys(c.trust.GossipKeys())
		}
		if err != nil {
			c.log.Error().Err(fmt.Errorf("rotate the gossip key: %w; the former one stays in use", err)).Msg("gossip key not rotated")
			return
		}
		c.tellTrust()
	}
	c.log.Info().Dur(logkey.DurationMS, time.Since(start)).Msg("gossip key rotated")
}

// rotateGossipAtIntervals gives each gossip key a limited life.
func (c *Coordinator) rotateGossipAtIntervals() {
	for c.pause(gossipKeyLife) {
		c.rotateGossip()
	}
}

// pause waits, and tells whether the coordinator still runs.
func (c *Coordinator) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.sending.Done():
		return false
	}
}
