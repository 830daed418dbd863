package trust

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// TestWindow holds the window to a plain set: each number counts once, those far below the
// highest never.
func TestWindow(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		w, seen, highest := &window{}, map[uint64]bool{}, uint64(0)
		for range 5000 {
			n := highest + uint64(r.IntN(3*replayWindow/2)) - min(highest, replayWindow)
			if r.IntN(500) == 0 {
				n += uint64(r.IntN(1 << 40))
			}
			want := n > 0 && !seen[n] && n+replayWindow > highest
			if got := w.take(n); got != want {
				t.Fatalf("seed %d: number %d after %d: taken %v, want %v", seed, n, highest, got, want)
			}
			seen[n] = seen[n] || want
			highest = max(highest, n)
		}
	}
	w := &window{}
	if !w.take(1<<64-1) || w.take(1<<64-1) || w.take(5) {
		t.Error("the highest number is not taken exactly once")
	}
}

func TestSignedMessages(t *testing.T) {
	a := newAuthority(t)
	coordinator, err := a.IssueCoordinator(CoordinatorPrefix+"1", nil)
	if err != nil {
		t.Fatal(err)
	}
	worker, err := a.Issue("w1", nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := coordinator.Signer()
	if err != nil {
		t.Fatal(err)
	}
	v, err := worker.Verifier(CoordinatorName, func(uint64) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	message, err := s.Sign("subject", 7, []byte("body"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range message { // Each byte counts.
		bent := bytes.Clone(message)
		bent[i] ^= 1
		if _, err := v.Open("subject", bent); !errors.Is(err, ErrForged) {
			t.Fatalf("byte %d changed: %v, want ErrForged", i, err)
		}
		v.strangers.used = 0 // The limit is another test's.
	}
	if _, err := v.Open("other", message); !errors.Is(err, ErrForged) {
		t.Errorf("on another subject: %v, want ErrForged", err)
	}
	got, err := v.Open("subject", message)
	if err != nil || got.From != CoordinatorPrefix+"1" || got.Epoch != 7 || string(got.Body) != "body" {
		t.Errorf("got %+v, error %v", got, err)
	}
	if _, err := v.Open("subject", message); !errors.Is(err, ErrReplayed) {
		t.Errorf("a second time: %v, want ErrReplayed", err)
	}
	low, err := s.Sign("subject", 6, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Open("subject", low); !errors.Is(err, ErrReplayed) {
		t.Errorf("an epoch back: %v, want ErrReplayed", err)
	}
}

// TestVerifierIsBounded: a flood of wrong signatures and of unknown certificates costs no more
// than a bounded number of checks a second, and a good message is heard in the next one.
func TestVerifierIsBounded(t *testing.T) {
	a := newAuthority(t)
	id, err := a.Issue("w1", nil)
	if err != nil {
		t.Fatal(err)
	}
	v, err := id.Verifier(NodeServerName, func(uint64) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	now := v.now()
	v.now = func() time.Time { return now }
	m := signed{cert: make([]byte, 100), sig: make([]byte, 70)}
	for i := range 10 * strangersPerSecond {
		m.cert[0] = byte(i)
		m.cert[1] = byte(i >> 8)
		if _, err := v.Open("s", m.encode()); !errors.Is(err, ErrForged) {
			t.Fatal(err)
		}
	}
	if v.strangers.used != strangersPerSecond || len(v.known) != 0 || len(v.senders) != 0 {
		t.Errorf("%d certificates checked, %d known, %d senders; want %d, 0, 0", v.strangers.used, len(v.known), len(v.senders), strangersPerSecond)
	}
	now = now.Add(time.Second)
	s, err := id.Signer()
	if err != nil {
		t.Fatal(err)
	}
	good, err := s.Sign("s", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Open("s", good); err != nil {
		t.Errorf("a good message a second later: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	a, err := NewAuthority()
	if err != nil {
		f.Fatal(err)
	}
	id, err := a.Issue("w1", nil)
	if err != nil {
		f.Fatal(err)
	}
	s, err := id.Signer()
	if err != nil {
		f.Fatal(err)
	}
	good, err := s.Sign("s", 1, []byte("body"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(signedMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeSigned(data)
		if err == nil && !bytes.Equal(m.encode(), data) {
			t.Errorf("%x does not encode to itself", data)
		}
		v, err := id.Verifier(NodeServerName, func(uint64) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if got, err := v.Open("s", data); err == nil && string(got.Body) != "body" {
			t.Errorf("a forged message was taken: %q", got.Body)
		}
	})
}
