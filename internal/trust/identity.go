package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	// NodeServerName is in every node certificate. Nodes verify it instead of the address they
	// dialled: membership of the cluster is what the authority vouches for, and addresses may
	// differ across network namespaces and address translation.
	NodeServerName = "node.yohaku.internal"
	// BootstrapName is in the bootstrap server's certificate only.
	BootstrapName = "bootstrap.yohaku.internal"

	// CoordinatorName is in a coordinator's certificate beside NodeServerName: only with it are
	// orders signed.
	CoordinatorName = "coordinator.yohaku.internal"
	// CoordinatorPrefix begins the node names of coordinators, which no joiner gets. The rest tells
	// coordinators of one run from each other.
	CoordinatorPrefix = "coordinator_"

	reservedDomain = "yohaku.internal"
	clockSkew      = time.Hour
	nodeYears      = 1
	maxNodeName    = 128
	maxHosts       = 16
	maxHostBytes   = 253
)

// Identity is what a node has after it was admitted. KeyPEM and Welcome.GossipKeys are secrets.
type Identity struct {
	NodeName               string
	CertPEM, KeyPEM, CAPEM []byte
	Revoked                *Revoked // Whose certificates do not count; shared by the configurations of MutualTLS.
	Welcome                Welcome
	LocalIP, CoordinatorIP netip.Addr // The two ends of the bootstrap connection, as the worker saw them; invalid at the coordinator.
}

// String names the node and none of its secrets.
func (id Identity) String() string { return "identity of node " + id.NodeName }

// MutualTLS returns the configuration for both ends of every connection between nodes: TLS 1.3,
// both sides present certificates of this authority that are not revoked at the time.
func (id *Identity) MutualTLS() (*tls.Config, error) {
	pair, err := tls.X509KeyPair(id.CertPEM, id.KeyPEM)
	if err != nil {
		return nil, fmt.Errorf("load the certificate of node %q: %w", id.NodeName, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(id.CAPEM) {
		return nil, fmt.Errorf("load the authority of node %q: it holds no certificate", id.NodeName)
	}
	revoked := id.Revoked
	return &tls.Config{
		Certificates: []tls.Certificate{pair},
		RootCAs:      pool,
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ServerName:   NodeServerName,
		MinVersion:   tls.VersionTLS13,
		// It is called for resumed sessions too, which the other checks of certificates are not.
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return nil // ClientAuth was changed not to ask for one.
			}
			return revoked.Check(s.PeerCertificates[0])
		},
	}, nil
}

// Issue makes a key and a certificate for a node in this process, such as the coordinator and its
// local workers. Hosts are the names and addresses the node is reached at.
func (a *Authority) Issue(nodeName string, hosts []string) (*Identity, error) {
	return a.issue(nodeName, hosts, NodeServerName)
}

// IssueCoordinator is Issue for a coordinator, whose certificate is good for orders. Its name begins
// with CoordinatorPrefix.
func (a *Authority) IssueCoordinator(nodeName string, hosts []string) (*Identity, error) {
	return a.issue(nodeName, hosts, NodeServerName, CoordinatorName)
}

func (a *Authority) issue(nodeName string, hosts []string, roles ...string) (*Identity, error) {
	key, keyPEM, err := newNodeKey()
	if err != nil {
		return nil, err
	}
	der, err := a.sign(&key.PublicKey, nodeName, hosts, roles...)
	if err != nil {
		return nil, err
	}
	return &Identity{NodeName: nodeName, CertPEM: encodeCert(der), KeyPEM: keyPEM, CAPEM: a.CertPEM(), Revoked: a.revoked}, nil
}

// sign issues a certificate for public key pub. Hosts come from the network: they are checked.
func (a *Authority) sign(pub crypto.PublicKey, nodeName string, hosts []string, roles ...string) ([]byte, error) {
	if err := CheckNodeName(nodeName); err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: nodeName},
		NotBefore:    time.Now().Add(-clockSkew),
		NotAfter:     time.Now().AddDate(nodeYears, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:     roles,
	}
	if err := addHosts(template, hosts); err != nil {
		return nil, err
	}
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, pub, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of node %q: %w", nodeName, err)
	}
	return der, nil
}

func addHosts(template *x509.Certificate, hosts []string) error {
	if len(hosts) > maxHosts {
		return badRequest("%d hosts for one node, at most %d are allowed; give only the addresses that other nodes use", len(hosts), maxHosts)
	}
	for _, h := range hosts {
		if ip, err := netip.ParseAddr(h); err == nil {
			template.IPAddresses = append(template.IPAddresses, ip.WithZone("").AsSlice())
			continue
		}
		if !validHostname(h) {
			return badRequest("host %q is neither an IP address nor a host name; give the address that other nodes use", clip(h))
		}
		if name := strings.ToLower(h); name == reservedDomain || strings.HasSuffix(name, "."+reservedDomain) {
			return badRequest("host %q lies in %s, which is reserved; give the address that other nodes use", clip(h), reservedDomain)
		}
		if !slices.Contains(template.DNSNames, h) {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	return nil
}

func validHostname(h string) bool {
	if h == "" || len(h) > maxHostBytes {
		return false
	}
	for label := range strings.SplitSeq(h, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(label, func(r rune) bool { return !isWord(r) && r != '-' }) {
			return false
		}
	}
	return true
}

// CheckNodeName refuses names that are not 1–128 letters, digits, '-', '_' or '.'. The error
// matches ErrRequest.
func CheckNodeName(name string) error {
	if name == "" || len(name) > maxNodeName {
		return badRequest("node name %q has %d characters, it must have 1 to %d; choose another --name", clip(name), len(name), maxNodeName)
	}
	if strings.ContainsFunc(name, func(r rune) bool { return !isWord(r) && r != '-' && r != '.' }) {
		return badRequest("node name %q may hold only letters, digits, '-', '_' and '.'; choose another --name", clip(name))
	}
	return nil
}

func isWord(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_'
}

// clip shortens text from the network for a message.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

func badRequest(format string, args ...any) error {
	return &Error{Kind: ErrRequest, Text: fmt.Sprintf(format, args...)}
}

func newNodeKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generate the node's key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode the node's key: %w", err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCert, Bytes: der})
}

// parseNodeKey reads a worker's public key, PKIX DER, and accepts only ECDSA P-256.
func parseNodeKey(der []byte) (*ecdsa.PublicKey, error) {
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errors.New("the public key does not parse")
	}
	key, ok := pub.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("the public key is not ECDSA P-256")
	}
	return key, nil
}
