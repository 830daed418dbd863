package trust

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// JoinConfig says where and as whom to join. Addr, Token and NodeName are required.
type JoinConfig struct {
	Addr     string // host:port of the bootstrap server.
	Token    string
	NodeName string   // Unique in the cluster; see CheckNodeName.
	Hosts    []string // Names and addresses this node is reached at; empty: the local address of the bootstrap connection.
	Version  string   // The program's version, which must equal the coordinator's.
	Extra    json.RawMessage
}

// Join trades the token for this node's identity. It makes the node's key, and sends the secret
// only after the server proved to be the token's authority. One attempt, bounded by ctx and ten
// seconds; errors match one of the sentinels and say what to do next.
func Join(ctx context.Context, c JoinConfig) (*Identity, error) {
	token, err := ParseToken(c.Token)
	if err != nil {
		return nil, err
	}
	if err := CheckNodeName(c.NodeName); err != nil {
		return nil, err
	}
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		return nil, badRequest("the coordinator's address %q is not HOST:PORT; copy it from the join line", clip(c.Addr))
	}
	if !token.Expires.IsZero() && time.Now().After(token.Expires.Add(clockSkew)) {
		return nil, expired("at " + token.Expires.UTC().Format(time.RFC3339)) // Clocks may differ: the server decides closer calls.
	}
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	conn, err := dialPinned(ctx, c.Addr, token.Fingerprint)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // Everything that matters was read by then.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	return converse(ctx, conn, c, token)
}

// dialPinned connects to addr and returns once the peer has shown a chain that ends in the
// authority with this fingerprint.
func dialPinned(ctx context.Context, addr string, fingerprint [sha256.Size]byte) (*tls.Conn, error) {
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, &Error{Kind: ErrUnreachable, Text: fmt.Sprintf("the coordinator at %s cannot be reached: %v; check the address, the firewall, and that the coordinator runs", addr, cause(err)), Err: err}
	}
	conn := tls.Client(raw, &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ServerName:         BootstrapName,
		InsecureSkipVerify: true, // VerifyConnection does it, against the token's authority instead of the system's.
		VerifyConnection:   func(s tls.ConnectionState) error { return verifyPinned(s.PeerCertificates, fingerprint) },
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // The handshake's error is the one to report.
		return nil, handshakeError(addr, err)
	}
	return conn, nil
}

// verifyPinned checks that chain is a bootstrap certificate signed by the pinned authority, which
// must be in the chain as well.
func verifyPinned(chain []*x509.Certificate, fingerprint [sha256.Size]byte) error {
	for _, ca := range chain {
		sum := sha256.Sum256(ca.Raw)
		if subtle.ConstantTimeCompare(sum[:], fingerprint[:]) != 1 {
			continue
		}
		roots := x509.NewCertPool()
		roots.AddCert(ca)
		if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: BootstrapName, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
			return &Error{Kind: ErrNotBootstrap, Text: fmt.Sprintf("the server belongs to the token's cluster but is not its coordinator (%v); copy the address from the join line, and check this machine's clock", err), Err: err}
		}
		return nil
	}
	return &Error{Kind: ErrFingerprint, Text: fmt.Sprintf("this token belongs to another cluster: it names the authority %x…, and none of the %d certificates shown is that one; get the token and the address from the same \"coordinator token\"", fingerprint[:8], len(chain))}
}

func handshakeError(addr string, err error) error {
	var own *Error
	if errors.As(err, &own) {
		return &Error{Kind: own.Kind, Text: "join at " + addr + ": " + own.Text, Err: own.Err}
	}
	if closedUnheard(err) {
		return busy(addr, err)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return broken(addr, err)
	}
	return &Error{Kind: ErrNotBootstrap, Text: fmt.Sprintf("%s answers, but not as a coordinator does (%v); check the port", addr, cause(err)), Err: err}
}

// converse sends the request and turns the answer into an identity.
func converse(ctx context.Context, conn *tls.Conn, c JoinConfig, token Token) (*Identity, error) {
	local, remote := addrOf(conn.LocalAddr()), addrOf(conn.RemoteAddr())
	if len(c.Hosts) == 0 && local.IsValid() {
		c.Hosts = []string{local.String()}
	}
	key, keyPEM, err := newNodeKey()
	if err != nil {
		return nil, err
	}
	pub, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("encode the node's public key: %w", err)
	}
	req := joinRequest{Protocol: protocolVersion, Version: c.Version, Secret: token.Secret[:], NodeName: c.NodeName, Hosts: c.Hosts, PublicKey: pub, Extra: c.Extra}
	if !token.Expires.IsZero() {
		req.Expires = token.Expires.Unix()
	}
	if err := writeFrame(conn, req, maxRequestBytes); err != nil {
		return nil, exchangeError(ctx, c.Addr, err)
	}
	var res joinResponse
	if err := readFrame(conn, &res, maxResponseBytes); err != nil {
		return nil, exchangeError(ctx, c.Addr, err)
	}
	if res.Code != "" {
		return nil, refusal(c, res)
	}
	ca := authorityIn(conn.ConnectionState().PeerCertificates, token.Fingerprint)
	if err := checkIssued(res, ca, &key.PublicKey); err != nil {
		return nil, &Error{Kind: ErrNotBootstrap, Text: fmt.Sprintf("the coordinator at %s sent an unusable answer: %v; update both programs", c.Addr, err), Err: err}
	}
	revoked := &Revoked{}
	revoked.Add(res.Welcome.Revoked)
	return &Identity{NodeName: c.NodeName, CertPEM: encodeCert(res.Cert), KeyPEM: keyPEM, CAPEM: encodeCert(ca), Revoked: revoked, Welcome: res.Welcome, LocalIP: local, CoordinatorIP: remote}, nil
}

// checkIssued makes sure that the certificate fits the key and the authority before anything
// depends on it, and that the gossip keys are such.
func checkIssued(res joinResponse, ca []byte, key *ecdsa.PublicKey) error {
	cert, err := x509.ParseCertificate(res.Cert)
	if err != nil {
		return fmt.Errorf("parse the certificate: %w", err)
	}
	authority, err := x509.ParseCertificate(ca)
	if err != nil {
		return fmt.Errorf("parse the authority: %w", err)
	}
	if err := cert.CheckSignatureFrom(authority); err != nil {
		return fmt.Errorf("check the certificate: %w", err)
	}
	if !key.Equal(cert.PublicKey) {
		return errors.New("the certificate is for another key")
	}
	if len(res.Welcome.GossipKeys) == 0 {
		return nil
	}
	return CheckGossipKeys(res.Welcome.GossipKeys)
}

func authorityIn(chain []*x509.Certificate, fingerprint [sha256.Size]byte) []byte {
	for _, c := range chain {
		if sha256.Sum256(c.Raw) == fingerprint {
			return c.Raw
		}
	}
	return nil // verifyPinned found it before.
}

func refusal(c JoinConfig, res joinResponse) error {
	kind := refusals[res.Code]
	text := clipText(res.Text)
	switch {
	case errors.Is(kind, ErrSecret):
		text = "the join token's secret is wrong: the cluster is right, but it did not make this token; copy the whole join line that \"coordinator token\" prints"
	case errors.Is(kind, ErrRevoked):
		text += "; get a fresh one from \"coordinator token\""
	case errors.Is(kind, ErrExpired):
		return expired("by the coordinator's clock: " + text)
	case errors.Is(kind, ErrVersion):
		text = "the versions differ: " + text + "; run the same version on both"
	case kind == nil:
		kind = ErrRefused
	}
	return &Error{Kind: kind, Text: "join at " + c.Addr + " as " + c.NodeName + ": " + text}
}

func expired(how string) error {
	return &Error{Kind: ErrExpired, Text: "the join token has expired " + how + "; get a fresh one from \"coordinator token\""}
}

func exchangeError(ctx context.Context, addr string, err error) error {
	if ctx.Err() != nil {
		return broken(addr, context.Cause(ctx))
	}
	if closedUnheard(err) {
		return busy(addr, err)
	}
	return broken(addr, err)
}

func busy(addr string, err error) error {
	return &Error{Kind: ErrBusy, Text: fmt.Sprintf("the coordinator at %s closed the connection unheard, as it does when it is full or after many failed joins from one address; wait a minute and try again", addr), Err: err}
}

func broken(addr string, err error) error {
	return &Error{Kind: ErrUnreachable, Text: fmt.Sprintf("the connection to the coordinator at %s broke: %v; check the network and try again", addr, cause(err)), Err: err}
}

func closedUnheard(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// cause strips the "dial tcp …" around a network error: the message names the address itself.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}

func clipText(s string) string {
	if len(s) > 1024 {
		return s[:1024] + "…"
	}
	return s
}

func addrOf(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
