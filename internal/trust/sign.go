package trust

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
)

// A signed message is
//
//	"YS1" | uint16 length of the certificate | certificate (DER) | uint64 epoch | uint64 number |
//	uint16 length of the signature | signature (ECDSA P-256, ASN.1) | body
//
// all big-endian. The signature is over SHA-256 of a label, the context, epoch, number,
// certificate and body, each with its length, so that nothing of a message can be moved to another one.
const (
	signedMagic    = "YS1"
	maxCertBytes   = 4 << 10
	maxSigBytes    = 128
	signedOverhead = len(signedMagic) + 2 + 16 + 2
	messageLabel   = "yohaku message 1"
	answerLabel    = "yohaku answer 1"
)

// Why a signed message is refused; errors.Is finds them.
var (
	// ErrForged: it is malformed, or its signature or certificate is not good here.
	ErrForged = errors.New("message not authentic")
	// ErrReplayed: it was seen before, or is too old to tell.
	ErrReplayed = errors.New("message replayed")
	// ErrEpoch: it belongs to another epoch of the coordinator. The sender learns the epoch and signs anew.
	ErrEpoch = errors.New("message of another epoch")
)

// Signer signs a node's messages with the key of its certificate. It is safe for concurrent use.
type Signer struct {
	key    *ecdsa.PrivateKey
	cert   []byte
	number atomic.Uint64
}

// Signer returns the signer of this node; there is to be one in a process.
func (id *Identity) Signer() (*Signer, error) {
	pair, err := tls.X509KeyPair(id.CertPEM, id.KeyPEM)
	if err != nil {
		return nil, fmt.Errorf("load the certificate of node %q: %w", id.NodeName, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the key of node %q is not ECDSA", id.NodeName)
	}
	return &Signer{key: key, cert: pair.Certificate[0]}, nil
}

// Sign returns body as a signed message for context (its NATS subject), under the next number.
func (s *Signer) Sign(context string, epoch uint64, body []byte) ([]byte, error) {
	return s.sign(messageLabel, context, epoch, s.number.Add(1), body)
}

// SignAnswer returns body as a signed answer to the signed message request.
func (s *Signer) SignAnswer(request, body []byte) ([]byte, error) {
	sum := sha256.Sum256(request)
	return s.sign(answerLabel, string(sum[:]), 0, 0, body)
}

func (s *Signer) sign(label, context string, epoch, number uint64, body []byte) ([]byte, error) {
	m := signed{cert: s.cert, epoch: epoch, number: number, body: body}
	digest := m.digest(label, context)
	var err error
	if m.sig, err = ecdsa.SignASN1(rand.Reader, s.key, digest[:]); err != nil {
		return nil, fmt.Errorf("sign message: %w", err)
	}
	return m.encode(), nil
}

// signed is a message taken apart; its slices are the message's.
type signed struct {
	cert, sig, body []byte
	epoch, number   uint64
}

func (m *signed) encode() []byte {
	b := make([]byte, 0, signedOverhead+len(m.cert)+len(m.sig)+len(m.body))
	b = append(b, signedMagic...)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(m.cert))), m.cert...)
	b = binary.BigEndian.AppendUint64(b, m.epoch)
	b = binary.BigEndian.AppendUint64(b, m.number)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(m.sig))), m.sig...)
	return append(b, m.body...)
}

func decodeSigned(b []byte) (m signed, err error) {
	if len(b) < signedOverhead || string(b[:len(signedMagic)]) != signedMagic {
		return m, errors.New("it is no signed message of this version")
	}
	b = b[len(signedMagic):]
	if m.cert, b, err = cutBytes(b, maxCertBytes); err != nil {
		return m, fmt.Errorf("certificate: %w", err)
	}
	if len(b) < 16 {
		return m, errors.New("it ends early")
	}
	m.epoch, m.number = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	if m.sig, m.body, err = cutBytes(b[16:], maxSigBytes); err != nil {
		return m, fmt.Errorf("signature: %w", err)
	}
	return m, nil
}

// cutBytes takes a uint16 length and that many bytes, at most limit, off b.
func cutBytes(b []byte, limit int) (head, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, errors.New("it ends early")
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > limit || n > len(b)-2 {
		return nil, nil, fmt.Errorf("%d bytes announced, at most %d are allowed and %d are there", n, limit, len(b)-2)
	}
	return b[2 : 2+n], b[2+n:], nil
}

// digest is what the signature is over.
func (m *signed) digest(label, context string) [sha256.Size]byte {
	h := sha256.New()
	var head [24]byte
	for _, part := range [][]byte{[]byte(label), []byte(context), m.cert, m.body} {
		binary.BigEndian.PutUint64(head[:], uint64(len(part)))
		h.Write(head[:8])
		h.Write(part)
	}
	binary.BigEndian.PutUint64(head[:], m.epoch)
	binary.BigEndian.PutUint64(head[8:], m.number)
	h.Write(head[:16])
	return [sha256.Size]byte(h.Sum(nil))
}

// checkCertificate makes sure that der is a certificate of the authority for role, and returns it.
func checkCertificate(der []byte, roots *x509.CertPool, role string) (*x509.Certificate, *ecdsa.PublicKey, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, errors.New("the certificate does not parse")
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: role, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return nil, nil, fmt.Errorf("the certificate is not good for %s: %w", role, err)
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, nil, errors.New("the certificate's key is not ECDSA")
	}
	return cert, key, nil
}
