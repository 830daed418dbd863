package bus

import (
	"net"
	"testing"
)

// FuzzOffer parses what a peer sends as its offer.
func FuzzOffer(f *testing.F) {
	f.Add("127.0.0.1:4222 secret")
	f.Add("[::1]:4222  ")
	f.Fuzz(func(t *testing.T, offer string) {
		addr, _, err := parseOffer(offer)
		if err != nil {
			return
		}
		if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "0" {
			t.Errorf("%q gives address %q", offer, addr)
		}
	})
}
