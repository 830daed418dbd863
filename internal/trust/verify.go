package trust

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"sync"
	"time"
)

const (
	// replayWindow is how many numbers below a sender's highest may still come, each once: messages
	// may overtake each other.
	replayWindow = 1024
	// maxSenders bounds the senders whose numbers are remembered.
	maxSenders = 1 << 16
	// A stranger's certificate costs about ten times a known one's signature to refuse.
	strangersPerSecond = 100
	forgedPerSecond    = 4000
)

// Message is a signed message that was found good.
type Message struct {
	From  string // Node name.
	Epoch uint64
	Body  []byte
}

// Verifier opens the signed messages of one role. It is safe for concurrent use.
type Verifier struct {
	roots   *x509.CertPool
	role    string
	revoked *Revoked
	epoch   func(uint64) error // Judges a message's epoch, once it is known to be authentic.
	now     func() time.Time

	mu        sync.Mutex
	known     map[[sha256.Size]byte]*knownCert
	senders   map[string]*window
	strangers budget // Of certificates seen for the first time.
	forged    budget // Of signatures that were wrong.
}

// knownCert is a certificate that was checked.
type knownCert struct {
	cert *x509.Certificate
	key  *ecdsa.PublicKey
}

// Verifier opens messages of nodes that hold a certificate for role, NodeServerName or
// CoordinatorName, and are not revoked. Epoch is asked for the epoch of each authentic message,
// with an error that matches ErrEpoch for one that is not to count.
func (id *Identity) Verifier(role string, epoch func(uint64) error) (*Verifier, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(id.CAPEM) {
		return nil, fmt.Errorf("load the authority of node %q: it holds no certificate", id.NodeName)
	}
	return &Verifier{
		roots: roots, role: role, revoked: id.Revoked, epoch: epoch, now: time.Now,
		known: map[[sha256.Size]byte]*knownCert{}, senders: map[string]*window{},
		strangers: budget{perSecond: strangersPerSecond}, forged: budget{perSecond: forgedPerSecond},
	}, nil
}

// Open checks a message for context. Its errors match ErrForged, ErrReplayed, ErrRevoked or
// ErrEpoch; for all but the first the message's sender is returned too.
func (v *Verifier) Open(context string, message []byte) (Message, error) {
	m, from, err := v.check(messageLabel, context, message)
	if err != nil {
		return Message{From: from}, err
	}
	out := Message{From: from, Epoch: m.epoch, Body: m.body}
	if err := v.epoch(m.epoch); err != nil {
		return out, err
	}
	return out, v.fresh(from, m.epoch, m.number)
}

// OpenAnswer checks an answer to the signed message request and returns its sender and body.
func (v *Verifier) OpenAnswer(request, answer []byte) (from string, body []byte, err error) {
	sum := sha256.Sum256(request)
	m, from, err := v.check(answerLabel, string(sum[:]), answer)
	return from, m.body, err
}

func (v *Verifier) check(label, context string, message []byte) (signed, string, error) {
	m, err := decodeSigned(message)
	if err != nil {
		return m, "", fmt.Errorf("%w: %w", ErrForged, err)
	}
	k, err := v.certificate(m.cert)
	if err != nil {
		return m, "", err
	}
	digest := m.digest(label, context)
	if v.spent(&v.forged) {
		return m, "", fmt.Errorf("%w: too many wrong signatures this second", ErrForged)
	}
	if !ecdsa.VerifyASN1(k.key, digest[:], m.sig) {
		v.spend(&v.forged)
		return m, "", fmt.Errorf("%w: the signature is not that of node %q for this message", ErrForged, clip(k.cert.Subject.CommonName))
	}
	return m, k.cert.Subject.CommonName, v.revoked.Check(k.cert)
}

// certificate returns the checked certificate; most were seen before.
func (v *Verifier) certificate(der []byte) (*knownCert, error) {
	sum := sha256.Sum256(der)
	v.mu.Lock()
	k := v.known[sum]
	v.mu.Unlock()
	if k != nil && v.now().Before(k.cert.NotAfter) {
		return k, nil
	}
	if v.spent(&v.strangers) {
		return nil, fmt.Errorf("%w: too many unknown certificates this second", ErrForged)
	}
	v.spend(&v.strangers)
	cert, key, err := checkCertificate(der, v.roots, v.role)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	k = &knownCert{cert, key}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.known) >= maxSenders {
		clear(v.known) // They are checked anew.
	}
	v.known[sum] = k
	return k, nil
}

// fresh notes a sender's number, or returns ErrReplayed.
func (v *Verifier) fresh(from string, epoch, number uint64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	w := v.senders[from]
	if w == nil {
		if len(v.senders) >= maxSenders {
			return fmt.Errorf("%w: %d other senders are remembered, at most %d can be; start the coordinator again", ErrReplayed, len(v.senders), maxSenders)
		}
		w = &window{}
		v.senders[from] = w
	}
	if epoch > w.epoch {
		*w = window{epoch: epoch}
	}
	if epoch < w.epoch || !w.take(number) {
		return fmt.Errorf("%w: number %d of epoch %d of node %q", ErrReplayed, number, epoch, clip(from))
	}
	return nil
}

func (v *Verifier) spent(b *budget) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return b.spent(v.now())
}

func (v *Verifier) spend(b *budget) {
	v.mu.Lock()
	defer v.mu.Unlock()
	b.used++
}

// budget counts what happened in the second under way.
type budget struct {
	perSecond, used int
	second          time.Time
}

func (b *budget) spent(now time.Time) bool {
	if now.Sub(b.second) >= time.Second {
		b.second, b.used = now, 0
	}
	return b.used >= b.perSecond
}

// window remembers which of the last numbers of an epoch were taken.
type window struct {
	epoch, highest uint64
	taken          [replayWindow / 64]uint64 // By number modulo the window.
}

// take notes number, and tells whether it is new.
func (w *window) take(number uint64) bool {
	if number == 0 || number+replayWindow <= w.highest {
		return false
	}
	for w.highest < number { // What falls out of the window makes room.
		if number-w.highest > replayWindow {
			w.taken = [replayWindow / 64]uint64{}
			w.highest = number - replayWindow
		}
		w.highest++
		w.taken[w.highest%replayWindow/64] &^= 1 << (w.highest % 64)
	}
	word, bit := &w.taken[number%replayWindow/64], uint64(1)<<(number%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}
