package membership

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// MaxMeta is the most bytes a node can say of itself.
	MaxMeta = memberlist.MetaMaxSize
	// KeyBytes is the length of the gossip key (AES-256).
	KeyBytes = 32

	// At 200 ms a living node that computed on an overloaded machine was seen declared dead.
	defaultProbeInterval = 500 * time.Millisecond
	maxGossipInterval    = 50 * time.Millisecond
	joinTimeout          = 3 * time.Second // For one address.
)

// ErrNameTaken means that another living node has this node's name. The caller ends, and comes
// back under another name.
var ErrNameTaken = errors.New("node name is taken")

// Config configures Start. NodeName, BindAddr and Keys are required.
type Config struct {
	NodeName string // Unique, at most 128 bytes.
	BindAddr string // IP of this machine; 0.0.0.0 and :: need an AdvertiseAddr.
	BindPort int    // TCP and UDP; 0 picks one.

	AdvertiseAddr string // IP that other nodes use; empty: BindAddr.
	AdvertisePort int    // 0: the bound port.

	Keys [][]byte // AES-256, 32 bytes each: the first encrypts, all decrypt. See SetKeys.
	Meta []byte   // At most MaxMeta bytes.

	// ProbeInterval sets the pace; 0 means 500 ms, at which a killed node is found in about 2 s.
	ProbeInterval time.Duration
	// Log, when set, gets memberlist's own lines: level is "debug", "info", "warn" or "error". It
	// must not block. They are for debugging at any level: what matters comes as an event.
	Log func(level, line string)
}

// Node is one member.
type Node struct {
	Name string
	Addr netip.AddrPort // Its advertised gossip address.
	Meta []byte
}

// Membership is this node's part in the gossip. Its methods are safe for concurrent use.
type Membership struct {
	name   string
	list   *memberlist.Memberlist
	keys   *memberlist.Keyring
	meta   *meta
	queue  *queue
	own    *ownConflict
	closer sync.Once
}

// Start begins to listen; the node is alone until Join, or until another one joins it.
func Start(c Config) (*Membership, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	ring, err := memberlist.NewKeyring(c.Keys, c.Keys[0])
	if err != nil {
		return nil, fmt.Errorf("start membership: %w", err)
	}
	m := &Membership{name: c.NodeName, keys: ring, meta: &meta{data: bytes.Clone(c.Meta)}, queue: newQueue(), own: &ownConflict{}}
	mc := c.memberlist(ring)
	mc.Delegate = m.meta
	mc.Events = &events{own: c.NodeName, queue: m.queue}
	mc.Conflict = &conflicts{own: c.NodeName, queue: m.queue, mine: m.own}
	err = listen(mc)
	var list *memberlist.Memberlist
	if err == nil {
		list, err = memberlist.Create(mc)
	}
	if err != nil {
		m.queue.stop()
		if mc.Transport != nil {
			err = errors.Join(err, mc.Transport.Shutdown())
		}
		return nil, fmt.Errorf("start membership at %s: %w; choose another address or port", net.JoinHostPort(c.BindAddr, strconv.Itoa(c.BindPort)), err)
	}
	m.list = list
	return m, nil
}

func (c *Config) check() error {
	if c.NodeName == "" || len(c.NodeName) > 128 {
		return fmt.Errorf("node name %q has %d bytes, it must have 1 to 128; choose another --name", c.NodeName, len(c.NodeName))
	}
	if err := checkKeys(c.Keys); err != nil {
		return err
	}
	if len(c.Meta) > MaxMeta {
		return metaTooLong(len(c.Meta))
	}
	ip, err := netip.ParseAddr(c.BindAddr)
	if err != nil {
		return fmt.Errorf("gossip bind address %q is not an IP address; give an address of this machine", c.BindAddr)
	}
	if ip.IsUnspecified() && c.AdvertiseAddr == "" {
		return fmt.Errorf("gossip bind address %q is unspecified; set the address that other nodes should use", c.BindAddr)
	}
	if c.AdvertiseAddr != "" {
		if adv, err := netip.ParseAddr(c.AdvertiseAddr); err != nil || adv.IsUnspecified() {
			return fmt.Errorf("gossip advertise address %q is not the IP address of one machine; give the address that other nodes use", c.AdvertiseAddr)
		}
	}
	for _, port := range []int{c.BindPort, c.AdvertisePort} {
		if port < 0 || port > 65535 {
			return fmt.Errorf("gossip port %d is not within 0 to 65535", port)
		}
	}
	return nil
}

func metaTooLong(n int) error {
	return fmt.Errorf("node metadata has %d bytes, at most %d are allowed", n, MaxMeta)
}

// memberlist translates the configuration; the ratios are those measured to find a killed node
// in four probe intervals.
func (c *Config) memberlist(ring *memberlist.Keyring) *memberlist.Config {
	mc := memberlist.DefaultLANConfig()
	mc.Name = c.NodeName
	mc.BindAddr, mc.BindPort = c.BindAddr, c.BindPort
	mc.AdvertiseAddr, mc.AdvertisePort = cmp.Or(c.AdvertiseAddr, c.BindAddr), cmp.Or(c.AdvertisePort, c.BindPort)
	mc.Keyring = ring
	probe := cmp.Or(c.ProbeInterval, defaultProbeInterval)
	mc.ProbeInterval, mc.ProbeTimeout, mc.GossipInterval = probe, probe/2, min(probe/4, maxGossipInterval)
	mc.SuspicionMult, mc.SuspicionMaxTimeoutMult = 2, 2
	mc.PushPullInterval = 10 * time.Second
	mc.DeadNodeReclaimTime = time.Second // A name is free again soon after its node is dead.
	mc.TCPTimeout = joinTimeout
	mc.LogOutput, mc.Logger = nil, log.New(io.Discard, "", 0)
	if c.Log != nil {
		mc.Logger = log.New(logLines(c.Log), "", 0)
	}
	return mc
}

// Join asks the nodes at addrs (host:port each) to let this one in, and returns when one of them
// did; the others are then found by gossip. It returns ErrNameTaken when this node's name is in
// use. An empty list does nothing.
func (m *Membership) Join(ctx context.Context, addrs []string) error {
	var failed error
	joined := 0
	for _, a := range addrs {
		if ctx.Err() != nil {
			return fmt.Errorf("join the gossip: %w", context.Cause(ctx))
		}
		if _, err := m.list.Join([]string{a}); err != nil {
			failed = errors.Join(failed, fmt.Errorf("join the gossip at %s: %w", a, oneLine(err)))
			continue
		}
		joined++
		if other, ok := m.own.first(); ok {
			return fmt.Errorf("join the gossip at %s: node name %q belongs to the node at %s; choose another --name: %w", a, m.name, other.Addr, ErrNameTaken)
		}
	}
	if joined == 0 && len(addrs) > 0 {
		return failed
	}
	return nil
}

// Events delivers what happens to other nodes, in order; it is closed by Close. A reader that
// falls behind gets one Resync event in place of what it missed.
func (m *Membership) Events() <-chan Event { return m.queue.out }

// Members lists the living nodes by name, this one among them.
func (m *Membership) Members() []Node {
	list := m.list.Members()
	nodes := make([]Node, 0, len(list))
	for _, n := range list {
		nodes = append(nodes, nodeOf(n))
	}
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	return nodes
}

// Has tells whether the named node lives.
func (m *Membership) Has(name string) bool {
	return slices.ContainsFunc(m.list.Members(), func(n *memberlist.Node) bool { return n.Name == name })
}

// Local is this node, with the address it really advertises.
func (m *Membership) Local() Node { return nodeOf(m.list.LocalNode()) }

// SetMeta changes what this node says of itself, and waits at most timeout until it was passed on.
func (m *Membership) SetMeta(data []byte, timeout time.Duration) error {
	if len(data) > MaxMeta {
		return metaTooLong(len(data))
	}
	m.meta.set(bytes.Clone(data))
	if err := m.list.UpdateNode(timeout); err != nil {
		return fmt.Errorf("pass the node metadata on: %w", err)
	}
	return nil
}

// Leave tells the others that this node goes, and waits at most timeout until they were told.
func (m *Membership) Leave(timeout time.Duration) error {
	if err := m.list.Leave(timeout); err != nil {
		return fmt.Errorf("leave the gossip: %w", err)
	}
	return nil
}

// Close stops listening, without a word to the others, and closes Events.
func (m *Membership) Close() error {
	var err error
	m.closer.Do(func() {
		err = m.list.Shutdown()
		m.queue.stop()
	})
	if err != nil {
		return fmt.Errorf("stop membership: %w", err)
	}
	return nil
}

func nodeOf(n *memberlist.Node) Node {
	ip, _ := netip.AddrFromSlice(n.Addr) // The zero address when it is rubbish.
	return Node{Name: n.Name, Addr: netip.AddrPortFrom(ip.Unmap(), n.Port), Meta: bytes.Clone(n.Meta)}
}
