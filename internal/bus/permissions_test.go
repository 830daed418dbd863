package bus_test

import (
	"context"
	"testing"

	"yohaku/internal/bus"
)

// TestPermissionsHold: a process publishes and hears only what it may, but gets the answers to its
// requests and answers those of others.
func TestPermissionsHold(t *testing.T) {
	a := newAuthority(t)
	home := start(t, a, bus.Config{NodeName: "home"})
	refused := make(chan string, 64)
	guest := startLogged(t, a, bus.Config{NodeName: "guest", Routes: []string{home.RouteAddr()}, Publish: []string{"up.>"}, Subscribe: []string{"down.guest"}}, refused)
	if err := home.WaitPeers(deadline(t), "guest"); err != nil {
		t.Fatal(err)
	}
	echo := func(_ context.Context, data []byte) ([]byte, error) { return data, nil }
	for at, subject := range map[*bus.Bus]string{home: "up.one", guest: "down.guest"} {
		h, err := bus.Handle(at.Conn(), subject, 1, echo)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
	}
	for from, subject := range map[*bus.Bus]string{guest: "up.one", home: "down.guest"} {
		if got, err := bus.CallReady(deadline(t), from.Conn(), subject, []byte("x")); err != nil || string(got) != "x" {
			t.Errorf("call %s: %q, %v", subject, got, err)
		}
	}
	if err := guest.Conn().Publish("down.guest", nil); err != nil {
		t.Fatal(err)
	}
	waitText(t, refused, `Permissions Violation for Publish to \"down.guest\"`)
	for _, subject := range []string{"up.one", "down.other", ">", "_INBOX.>"} {
		if _, err := guest.Conn().SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		waitText(t, refused, `Permissions Violation for Subscription to \"`+subject)
	}
}
