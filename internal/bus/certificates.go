package bus

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// maxCertificates bounds the peers' certificates that are remembered; further peers get no route.
const maxCertificates = 1 << 16

// maxClients bounds the connections looked at: a process has a few of its own, and one of a ring.
const maxClients = 1 << 12

// certificates remembers the certificates that peers of this process showed, by the name under
// which nats-server pins them: the SHA-256 of the public key, in hex.
type certificates struct {
	mu   sync.Mutex
	seen map[string]*x509.Certificate
}

// watch is a copy of c that notes the peers' certificates once c has accepted them.
func (s *certificates) watch(c *tls.Config) *tls.Config {
	c = c.Clone()
	verify := c.VerifyConnection
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if verify != nil {
			if err := verify(state); err != nil {
				return err
			}
		}
		return s.note(state.PeerCertificates[0])
	}
	return c
}

func (s *certificates) note(cert *x509.Certificate) error {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	id := hex.EncodeToString(sum[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[id] == nil && len(s.seen) >= maxCertificates {
		return fmt.Errorf("%d other certificates were seen here, at most %d are allowed", len(s.seen), maxCertificates)
	}
	if s.seen == nil {
		s.seen = map[string]*x509.Certificate{}
	}
	s.seen[id] = cert
	return nil
}

// kept is the set of the certificates that keep accepts; the others are forgotten.
func (s *certificates) kept(keep func(*x509.Certificate) bool) server.PinnedCertSet {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := server.PinnedCertSet{}
	for id, cert := range s.seen {
		if keep(cert) {
			set[id] = struct{}{}
		} else {
			delete(s.seen, id)
		}
	}
	return set
}

// cutClients ends the connections of clients that showed a certificate which is not in kept: of
// the next rank of a ring, in use here.
func (b *Bus) cutClients(kept server.PinnedCertSet) error {
	conns, err := b.server.Connz(&server.ConnzOptions{Username: true, Limit: maxClients})
	if err != nil {
		return fmt.Errorf("list clients: %w", err)
	}
	for _, c := range conns.Conns {
		if len(c.TLSPeerCerts) == 0 {
			continue // This process's own.
		}
		if _, ok := kept[c.TLSPeerCerts[0].SubjectPKISha256]; !ok {
			_ = b.server.DisconnectClientByID(c.Cid) // It may have ended meanwhile.
		}
	}
	return nil
}

// CutRoutes ends the routes to peers, and the connections of those that are clients here, whose certificates keep refuses. Config.TLS must refuse them
// too by now, or they are back at once.
func (b *Bus) CutRoutes(keep func(*x509.Certificate) bool) error {
	if b.server == nil || b.config.TLS == nil {
		return nil // No routes, or none between machines.
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errors.New("cut routes: the bus is closed")
	}
	// nats-server closes the routes that a new set does not hold, and only then. Without a set it
	// closes none, so that the next joiner, which no set knows, is not kept out.
	pinned := b.options()
	pinned.Cluster.TLSPinnedCerts = b.seen.kept(keep)
	if err := b.server.ReloadOptions(pinned); err != nil {
		return fmt.Errorf("cut routes: %w", err)
	}
	if err := b.server.ReloadOptions(b.options()); err != nil {
		return fmt.Errorf("cut routes: %w", err)
	}
	return b.cutClients(pinned.Cluster.TLSPinnedCerts)
}
