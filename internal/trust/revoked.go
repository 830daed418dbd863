package trust

import (
	"crypto/x509"
	"maps"
	"slices"
	"sync"
)

// Revoked is a set of node names whose certificates count no more. It only grows. The zero value
// is empty; it is safe for concurrent use.
type Revoked struct {
	mu    sync.RWMutex
	names map[string]bool
}

// Add revokes nodes, and tells whether one of them was not revoked before.
func (r *Revoked) Add(names []string) (fresh bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range names {
		if r.names[n] || len(r.names) >= maxNodes {
			continue
		}
		if r.names == nil {
			r.names = map[string]bool{}
		}
		r.names[n], fresh = true, true
	}
	return fresh
}

// Has tells whether the node is revoked.
func (r *Revoked) Has(name string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.names[name]
}

// Names lists the revoked nodes in order.
func (r *Revoked) Names() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Sorted(maps.Keys(r.names))
}

// Check returns ErrRevoked for a certificate of a revoked node.
func (r *Revoked) Check(cert *x509.Certificate) error {
	if name := cert.Subject.CommonName; r.Has(name) {
		return &Error{Kind: ErrRevoked, Text: revokedText(name)}
	}
	return nil
}

func revokedText(name string) string {
	return "the certificate of node \"" + clip(name) + "\" was revoked; if it is to come back, it joins anew under another --name with a fresh token from \"coordinator token\""
}
