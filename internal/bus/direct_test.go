package bus_test

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"yohaku/internal/bus"
)

func bare(c net.Conn) net.Conn { return c }

// TestPeerTakesBulkOnly: over TLS, and on loopback without, a peer with an offer gets what the ring needs and nothing else.
func TestPeerTakesBulkOnly(t *testing.T) {
	a := newAuthority(t)
	for name, listen := range map[string]string{"TLS": "0.0.0.0:0", "loopback": "127.0.0.1:0"} {
		t.Run(name, func(t *testing.T) {
			config := func(node string) bus.Config {
				return bus.Config{NodeName: node, RouteListen: listen, RouteAdvertise: "127.0.0.1:0"}
			}
			home, peer := start(t, a, config("home")), start(t, a, config("peer"))
			refused := make(chan error, 8)
			conn, err := peer.ConnectPeer(deadline(t), home.Offer(), bare, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			sub, err := conn.SubscribeSync("yohaku.run.ring.1.7.1.bulk")
			if err != nil {
				t.Fatal(err)
			}
			flush(t, conn)
			if err := home.Conn().Publish("yohaku.run.ring.1.7.1.bulk", []byte("chunk")); err != nil {
				t.Fatal(err)
			}
			if m, err := sub.NextMsgWithContext(deadline(t)); err != nil || string(m.Data) != "chunk" {
				t.Fatalf("message %v, error %v", m, err)
			}
			acks, err := home.Conn().SubscribeSync("yohaku.run.ring.1.7.0.ack")
			if err != nil {
				t.Fatal(err)
			}
			flush(t, home.Conn())
			for _, subject := range []string{"yohaku.run.node.home", "yohaku.other.ring.1.7.0.ack", "yohaku.run.ring.1.7.0.data", "yohaku.run.ring.1.7.0.ack"} {
				if err := conn.Publish(subject, []byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			for _, subject := range []string{"yohaku.run.>", "yohaku.run.ring.1.7.0.ack"} {
				if _, err := conn.SubscribeSync(subject); err != nil {
					t.Fatal(err)
				}
			}
			flush(t, conn)
			if _, err := acks.NextMsgWithContext(deadline(t)); err != nil {
				t.Errorf("acknowledgement: %v", err)
			}
			for range 5 {
				select {
				case err := <-refused:
					if !errors.Is(err, nats.ErrPermissionViolation) {
						t.Errorf("%v, want a permissions violation", err)
					}
				case <-deadline(t).Done():
					t.Fatal("less than 5 were refused")
				}
			}
		})
	}
}

func flush(t *testing.T, c *nats.Conn) {
	t.Helper()
	if err := c.FlushWithContext(deadline(t)); err != nil {
		t.Fatal(err)
	}
}

// TestPeerIsRefused: with a wrong password, of another authority, without TLS, with an offer that is none.
func TestPeerIsRefused(t *testing.T) {
	a := newAuthority(t)
	home := start(t, a, bus.Config{NodeName: "home", RouteListen: "0.0.0.0:0", RouteAdvertise: "127.0.0.1:0"})
	peer := start(t, a, bus.Config{NodeName: "peer"})
	foreign := start(t, newAuthority(t), bus.Config{NodeName: "foreign", RouteListen: "0.0.0.0:0", RouteAdvertise: "127.0.0.1:0"})
	addr, _, _ := strings.Cut(home.Offer(), " ")
	for name, c := range map[string]struct {
		by          *bus.Bus
		offer, want string
	}{
		"password":  {start(t, a, bus.Config{NodeName: "third", RouteListen: "0.0.0.0:0", RouteAdvertise: "127.0.0.1:0"}), addr + " guess", "Authorization"},
		"authority": {foreign, home.Offer(), "certificate"},
		"plain":     {peer, home.Offer(), ""}, // Both on loopback, as the peer thinks: the server asks for TLS.
		"rubbish":   {peer, "x", "ADDRESS PASSWORD"},
		"no port":   {peer, "127.0.0.1 x", "HOST:PORT"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := c.by.ConnectPeer(deadline(t), c.offer, bare)
			if err == nil {
				conn.Close()
				t.Fatal("connected")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q in it", err, c.want)
			}
		})
	}
	if none := start(t, a, bus.Config{NodeName: "alone", RouteListen: "127.0.0.1:0"}); none.Offer() == "" {
		t.Error("a bus with a listener makes no offer")
	}
}
