package bus_test

import (
	"crypto/x509"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

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

// TestRevokedRingClientIsCut: a peer that takes the ring's bulk here loses that connection too, and
// this process keeps its own.
func TestRevokedRingClientIsCut(t *testing.T) {
	a := newAuthority(t)
	config := func(node string) bus.Config {
		return bus.Config{NodeName: node, RouteListen: "0.0.0.0:0", RouteAdvertise: "127.0.0.1:0"}
	}
	home := start(t, a, config("home"))
	closed := make(chan string, 2)
	for _, name := range []string{"bad", "good"} {
		conn, err := start(t, a, config(name)).ConnectPeer(deadline(t), home.Offer(), bare, nats.ClosedHandler(func(*nats.Conn) { closed <- name }))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	a.Revoked().Add([]string{"bad"})
	if err := home.CutRoutes(func(c *x509.Certificate) bool { return a.Revoked().Check(c) == nil }); err != nil {
		t.Fatal(err)
	}
	waitText(t, closed, "bad")
	if len(closed) > 0 || !home.Conn().IsConnected() || home.Conn().Statistics.Reconnects > 0 {
		t.Errorf("%d more connections were closed, reconnects %d", len(closed), home.Conn().Statistics.Reconnects)
	}
}
