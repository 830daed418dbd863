package trust

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"

	"yohaku/internal/atomicfile"
)

const (
	authorityFile    = "cluster.pem"
	authorityYears   = 10
	maxAuthorityFile = 64 << 10
	keyBytes         = 32 // Join key and gossip key (AES-256).
)

// The PEM block types of an authority's file.
const (
	pemCert   = "CERTIFICATE"
	pemKey    = "PRIVATE KEY"
	pemJoin   = "YOHAKU JOIN KEY"
	pemGossip = "YOHAKU GOSSIP KEY"
)

// Authority is a cluster's root of trust: its certificate authority (ECDSA P-256), and what
// changes in a cluster's life, see secrets. It is safe for concurrent use.
type Authority struct {
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	dir     string // Where changes are kept; "" in memory only.
	revoked *Revoked

	mu      sync.Mutex
	secrets secrets
}

// OpenAuthority loads the authority kept in dir, or creates the folder and a new authority in it.
// All secrets are in one file, written whole with mode 0600.
func OpenAuthority(dir string) (*Authority, error) {
	path := filepath.Join(dir, authorityFile)
	a, err := loadAuthority(path)
	if err == nil {
		return a, a.loadSecrets()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the cluster's secrets folder: %w", err)
	}
	a, err = NewAuthority()
	if err != nil {
		return nil, err
	}
	err = a.create(path)
	if errors.Is(err, fs.ErrExist) {
		return OpenAuthority(dir) // Another process was quicker; its authority is the cluster's.
	}
	if err != nil {
		return nil, fmt.Errorf("keep the cluster's secrets: %w", err)
	}
	a.dir = dir
	return a, nil
}

// NewAuthority makes an authority that lives in memory only.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate the cluster's key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "yohaku cluster"},
		NotBefore:             time.Now().Add(-clockSkew),
		NotAfter:              time.Now().AddDate(authorityYears, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // Node certificates sign nothing.
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("create the cluster's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse the cluster's certificate: %w", err)
	}
	return &Authority{cert: cert, key: key, revoked: &Revoked{}, secrets: secrets{JoinKey: randomBytes(keyBytes), GossipKeys: [][]byte{randomBytes(keyBytes)}}}, nil
}

// Fingerprint is the SHA-256 of the authority's certificate, which tokens carry.
func (a *Authority) Fingerprint() [sha256.Size]byte { return sha256.Sum256(a.cert.Raw) }

// CertPEM is the authority's certificate.
func (a *Authority) CertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCert, Bytes: a.cert.Raw})
}

// Token returns the join token that is good until expires, rounded down to a second; the zero
// time means always. The same join key and expiry give the same token.
func (a *Authority) Token(expires time.Time) Token {
	t := Token{Fingerprint: a.Fingerprint()}
	var unix int64
	if !expires.IsZero() {
		unix = expires.Unix()
		t.Expires = time.Unix(unix, 0)
	}
	t.Secret = joinSecret(a.look().JoinKey, unix)
	return t
}

// create writes the authority to path, which must not exist yet (else fs.ErrExist).
func (a *Authority) create(path string) error {
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	for _, b := range []pem.Block{{Type: pemCert, Bytes: a.cert.Raw}, {Type: pemKey, Bytes: key}, {Type: pemJoin, Bytes: a.secrets.JoinKey}, {Type: pemGossip, Bytes: a.secrets.GossipKeys[0]}} {
		if err := pem.Encode(&buf, &b); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+authorityFile+".*.tmp") // Mode 0600.
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // The name below is the one that stays.
	if err := writeSync(f, buf.Bytes()); err != nil {
		return err
	}
	// A link, unlike a rename, does not replace what another process may just have put there.
	if err := os.Link(f.Name(), path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := os.Rename(f.Name(), path); err != nil { // File systems without hard links.
			return err
		}
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}

func writeSync(f *os.File, data []byte) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

func loadAuthority(path string) (*Authority, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the cluster's secrets: %w", err)
	}
	if info.Size() > maxAuthorityFile {
		return nil, fmt.Errorf("read the cluster's secrets: %s has %d bytes, at most %d are allowed; it is not a file this program wrote", path, info.Size(), maxAuthorityFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the cluster's secrets: %w", err)
	}
	a, err := parseAuthority(data)
	if err == nil {
		a.dir = filepath.Dir(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the cluster's secrets: %s: %w; restore the file, or remove it to start a new cluster (old tokens and certificates end then)", path, err)
	}
	return a, nil
}

func parseAuthority(data []byte) (*Authority, error) {
	blocks := map[string][]byte{}
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			break
		}
		blocks[b.Type] = b.Bytes
	}
	for _, want := range []string{pemCert, pemKey, pemJoin, pemGossip} {
		if len(blocks[want]) == 0 {
			return nil, fmt.Errorf("the block %q is missing", want)
		}
	}
	a := &Authority{revoked: &Revoked{}, secrets: secrets{JoinKey: blocks[pemJoin], GossipKeys: [][]byte{blocks[pemGossip]}}}
	if err := a.secrets.check(); err != nil {
		return nil, err
	}
	var err error
	if a.cert, err = x509.ParseCertificate(blocks[pemCert]); err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(blocks[pemKey])
	if err != nil {
		return nil, errors.New("the private key does not parse") // Without details of a secret.
	}
	var ok bool
	if a.key, ok = key.(*ecdsa.PrivateKey); !ok || !a.key.PublicKey.Equal(a.cert.PublicKey) {
		return nil, errors.New("the private key does not belong to the certificate")
	}
	if time.Now().After(a.cert.NotAfter) {
		return nil, fmt.Errorf("the authority ended on %s", a.cert.NotAfter.Format(time.DateOnly))
	}
	return a, nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // It never fails: crypto/rand ends the process instead.
	return b
}

func serial() *big.Int {
	b := randomBytes(16)
	b[0] &= 0x7f // Positive, at most 20 bytes (RFC 5280, 4.1.2.2).
	b[0] |= 0x01
	return new(big.Int).SetBytes(b)
}
