package trust

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"yohaku/internal/atomicfile"
)

const (
	secretsFile     = "secrets.json"
	maxSecretsFile  = 16 << 20
	maxRetired      = 64   // Join keys that are remembered, so that their tokens are told apart from rubbish.
	maxRevokedToken = 1024 // Single tokens revoked under one join key.
	maxGossipKeys   = 3
	maxNodes        = 1 << 16 // Certificates of one authority, and so names revoked.
)

// secrets are what changes in a cluster's life. They stand in secrets.json, mode 0600, from the
// first change on, and count for more there than in cluster.pem.
type secrets struct {
	JoinKey       []byte    `json:"join_key"`
	Retired       []retired `json:"retired,omitempty"`        // Former join keys, the newest last.
	RevokedTokens []retired `json:"revoked_tokens,omitempty"` // SHA-256 of the secrets of single tokens of JoinKey.
	GossipKeys    [][]byte  `json:"gossip_keys"`              // The first encrypts; all decrypt.
	Serial        uint64    `json:"serial"`                   // Of changes.
	Nodes         []named   `json:"nodes,omitempty"`          // Certificates issued to joiners, in order.
}

// retired is a key or digest that is good no more.
type retired struct {
	Key []byte    `json:"key"`
	At  time.Time `json:"at"`
}

// named is a certificate that was issued.
type named struct {
	Name    string    `json:"name"`
	Key     []byte    `json:"key"` // SHA-256 of its public key, PKIX DER.
	At      time.Time `json:"at"`
	Revoked time.Time `json:"revoked,omitzero"`
}

func (s *secrets) check() error {
	if len(s.JoinKey) != keyBytes {
		return fmt.Errorf("the join key has %d bytes, it must have %d", len(s.JoinKey), keyBytes)
	}
	if len(s.Retired) > maxRetired || len(s.RevokedTokens) > maxRevokedToken || len(s.Nodes) > maxNodes {
		return fmt.Errorf("%d former join keys, %d revoked tokens and %d nodes, at most %d, %d and %d are allowed", len(s.Retired), len(s.RevokedTokens), len(s.Nodes), maxRetired, maxRevokedToken, maxNodes)
	}
	return CheckGossipKeys(s.GossipKeys)
}

// CheckGossipKeys makes sure that keys, which may come from the network, are gossip keys.
func CheckGossipKeys(keys [][]byte) error {
	if len(keys) == 0 || len(keys) > maxGossipKeys {
		return fmt.Errorf("%d gossip keys, there must be 1 to %d", len(keys), maxGossipKeys)
	}
	for _, k := range keys {
		if len(k) != keyBytes {
			return fmt.Errorf("a gossip key of %d bytes, it must have %d", len(k), keyBytes)
		}
	}
	return nil
}

// loadSecrets takes what changed since the authority was made, if anything did.
func (a *Authority) loadSecrets() error {
	path := filepath.Join(a.dir, secretsFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the cluster's secrets: %w", err)
	}
	defer func() { _ = f.Close() }() // Read only.
	data, err := io.ReadAll(io.LimitReader(f, maxSecretsFile+1))
	if err != nil {
		return fmt.Errorf("read the cluster's secrets: %w", err)
	}
	s, err := parseSecrets(data)
	if err != nil {
		return fmt.Errorf("read the cluster's secrets: %s: %w; restore the file, or remove it to go back to the first token and gossip key and to forget all revocations", path, err)
	}
	a.secrets = s
	a.revoked.Add(s.revokedNames())
	return nil
}

func parseSecrets(data []byte) (secrets, error) {
	var s secrets
	if len(data) > maxSecretsFile {
		return s, fmt.Errorf("more than %d bytes; it is not a file this program wrote", maxSecretsFile)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, errors.New("it does not parse") // Without details of a secret.
	}
	return s, s.check()
}

// change applies fn to a copy of the secrets, keeps them, and only then lets them count.
func (a *Authority) change(fn func(*secrets) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.secrets
	s.Retired, s.RevokedTokens = slices.Clone(s.Retired), slices.Clone(s.RevokedTokens)
	s.GossipKeys, s.Nodes = slices.Clone(s.GossipKeys), slices.Clone(s.Nodes)
	if err := fn(&s); err != nil {
		return err
	}
	s.Serial++
	if a.dir != "" {
		data, err := json.Marshal(s)
		if err != nil {
			return fmt.Errorf("encode the cluster's secrets: %w", err)
		}
		if err := atomicfile.WriteSecret(filepath.Join(a.dir, secretsFile), append(data, '\n')); err != nil {
			return fmt.Errorf("keep the cluster's secrets: %w", err)
		}
	}
	a.secrets = s
	a.revoked.Add(s.revokedNames())
	return nil
}

func (a *Authority) look() secrets {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.secrets // Slices are replaced, never written: see change.
}

func (s *secrets) revokedNames() []string {
	var names []string
	for _, n := range s.Nodes {
		if !n.Revoked.IsZero() {
			names = append(names, n.Name)
		}
	}
	return names
}

// RotateToken replaces the join key: all tokens given out before are refused as revoked.
func (a *Authority) RotateToken() error {
	return a.change(func(s *secrets) error {
		s.Retired = append(s.Retired, retired{s.JoinKey, now()})
		if extra := len(s.Retired) - maxRetired; extra > 0 {
			s.Retired = s.Retired[extra:]
		}
		s.JoinKey, s.RevokedTokens = randomBytes(keyBytes), nil
		return nil
	})
}

// RevokeToken ends one token, as given by its text. A token that this authority would refuse
// anyway is refused here too.
func (a *Authority) RevokeToken(text string) error {
	t, err := ParseToken(text)
	if err != nil {
		return err
	}
	if t.Fingerprint != a.Fingerprint() {
		return &Error{Kind: ErrFingerprint, Text: "the token to revoke belongs to another cluster; revoke it there"}
	}
	return a.change(func(s *secrets) error {
		var unix int64
		if !t.Expires.IsZero() {
			unix = t.Expires.Unix()
		}
		if want := joinSecret(s.JoinKey, unix); want != t.Secret {
			return &Error{Kind: ErrSecret, Text: "the token to revoke is not one of those that are good now: it was never made here, or was revoked before"}
		}
		sum := sha256.Sum256(t.Secret[:])
		if slices.ContainsFunc(s.RevokedTokens, func(r retired) bool { return bytes.Equal(r.Key, sum[:]) }) {
			return nil
		}
		if len(s.RevokedTokens) >= maxRevokedToken {
			return badRequest("%d single tokens are revoked already; --rotate revokes all at once", len(s.RevokedTokens))
		}
		s.RevokedTokens = append(s.RevokedTokens, retired{sum[:], now()})
		return nil
	})
}

// RevokeNode ends the certificate of the node called name, and all tokens, one of which it may
// have: it can neither stay nor come back. It returns ErrRequest for a name that never joined.
func (a *Authority) RevokeNode(name string) error {
	err := a.change(func(s *secrets) error {
		i := slices.IndexFunc(s.Nodes, func(n named) bool { return n.Name == name })
		if i < 0 {
			return badRequest("no node %q has joined this cluster; \"coordinator status\" lists the nodes", clip(name))
		}
		if s.Nodes[i].Revoked.IsZero() {
			s.Nodes[i].Revoked = now()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return a.RotateToken()
}

// enroll notes that name gets a certificate for key. A name belongs to the first key that came
// with it for ever: no joiner can take the name of another node.
func (a *Authority) enroll(name string, key []byte) error {
	if name == bootstrapCN || strings.HasPrefix(name, CoordinatorPrefix) {
		return badRequest("node name %q is a coordinator's; choose another --name", name)
	}
	sum := sha256.Sum256(key)
	return a.change(func(s *secrets) error {
		i := slices.IndexFunc(s.Nodes, func(n named) bool { return n.Name == name })
		switch {
		case i < 0 && len(s.Nodes) >= maxNodes:
			return badRequest("%d nodes have joined this cluster, at most %d can; start a new run", len(s.Nodes), maxNodes)
		case i < 0:
			s.Nodes = append(s.Nodes, named{Name: name, Key: sum[:], At: now()})
		case !s.Nodes[i].Revoked.IsZero():
			return &Error{Kind: ErrRevoked, Text: revokedText(name)}
		case !bytes.Equal(s.Nodes[i].Key, sum[:]):
			return badRequest("node name %q belongs to a node that joined on %s; choose another --name", name, s.Nodes[i].At.Format(time.RFC3339))
		}
		return nil
	})
}

// Snapshot returns, as of one moment, the gossip keys, the names of revoked nodes, and a serial
// number that grows with every change.
func (a *Authority) Snapshot() (gossipKeys [][]byte, revoked []string, serial uint64) {
	s := a.look()
	return s.GossipKeys, s.revokedNames(), s.Serial
}

// GossipKeys are the cluster's AES-256 gossip keys, the one that encrypts first. They are secret.
func (a *Authority) GossipKeys() [][]byte { return a.look().GossipKeys }

// AddGossipKey draws a new gossip key, which everybody learns to read before anybody uses it.
func (a *Authority) AddGossipKey() error {
	return a.change(func(s *secrets) error {
		s.GossipKeys = [][]byte{s.GossipKeys[0], randomBytes(keyBytes)}
		return nil
	})
}

// UseGossipKey makes the newest gossip key the one that encrypts.
func (a *Authority) UseGossipKey() error {
	return a.change(func(s *secrets) error { slices.Reverse(s.GossipKeys); return nil })
}

// DropGossipKeys forgets all gossip keys but the one that encrypts.
func (a *Authority) DropGossipKeys() error {
	return a.change(func(s *secrets) error { s.GossipKeys = s.GossipKeys[:1]; return nil })
}

// Revoked is the set of nodes whose certificates count no more; it is kept up to date.
func (a *Authority) Revoked() *Revoked { return a.revoked }

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }
