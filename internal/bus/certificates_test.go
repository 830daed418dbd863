package bus_test

import (
	"crypto/x509"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/internal/bus"
)

// TestRevokedPeerIsCut: of two peers, one that dialled and one that was dialled, each loses its
// route when its certificate is revoked, does not come back, and the other one stays.
func TestRevokedPeerIsCut(t *testing.T) {
	for _, revoked := range []string{"dialled", "dialling"} {
		t.Run(revoked, func(t *testing.T) {
			a := newAuthority(t)
			events, refusals := make(chan string, 64), make(chan string, 256)
			dialled := start(t, a, bus.Config{NodeName: "dialled"})
			home := startLogged(t, a, bus.Config{NodeName: "home", Routes: []string{dialled.RouteAddr()}, OnPeer: func(p bus.Peer, up bool) { events <- fmt.Sprint(p.Name, " ", up) }}, refusals)
			dialling := start(t, a, bus.Config{NodeName: "dialling", Routes: []string{home.RouteAddr()}})
			waitText(t, events, "true") // Told of both, so that it tells of their loss.
			waitText(t, events, "true")
			a.Revoked().Add([]string{revoked})
			if err := home.CutRoutes(func(c *x509.Certificate) bool { return a.Revoked().Check(c) == nil }); err != nil {
				t.Fatal(err)
			}
			waitText(t, events, revoked+" false")
			if err := dialling.AddRoute(dialled.RouteAddr()); err != nil {
				t.Fatal(err)
			}
			waitText(t, refusals, "was revoked") // It, or home, tried again.
			start(t, a, bus.Config{NodeName: "late", Routes: []string{home.RouteAddr()}})
			if err := home.WaitPeers(deadline(t), "late"); err != nil {
				t.Errorf("a joiner after the cut: %v", err)
			}
			other := map[string]string{"dialled": "dialling", "dialling": "dialled"}[revoked]
			if diff := cmp.Diff([]string{other, "late"}, names(home.Peers())); diff != "" {
				t.Errorf("peers (-want +got):\n%s", diff)
			}
		})
	}
}
