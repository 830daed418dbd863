package bus_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"yohaku/internal/bus"
)

func TestRoutedBusesTalkOverTLS(t *testing.T) {
	a := newAuthority(t)
	one := start(t, a, bus.Config{NodeName: "one"})
	two := start(t, a, bus.Config{NodeName: "two", RouteListen: "0.0.0.0:0", RouteAdvertise: "127.0.0.1:0", Routes: []string{one.RouteAddr()}})
	if host, port, err := net.SplitHostPort(two.RouteAddr()); err != nil || host != "127.0.0.1" || port == "0" {
		t.Errorf("two advertises %s, want 127.0.0.1 and the bound port", two.RouteAddr())
	}
	three := start(t, a, bus.Config{NodeName: "three"})
	if err := three.AddRoute(one.RouteAddr()); err != nil {
		t.Fatal(err)
	}
	ctx := deadline(t)
	for b, others := range map[*bus.Bus][]string{one: {"three", "two"}, two: {"one", "three"}, three: {"one", "two"}} { // two and three meet by gossip.
		if err := b.WaitPeers(ctx, others...); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(others, names(b.Peers())); diff != "" {
			t.Errorf("peers (-want +got):\n%s", diff)
		}
	}
	h, err := bus.Handle(two.Conn(), "echo", 4, func(_ context.Context, data []byte) ([]byte, error) { return data, nil })
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	want := strings.Repeat("x", bus.MaxPayload)
	got, err := bus.CallReady(ctx, three.Conn(), "echo", []byte(want))
	if err != nil || string(got) != want {
		t.Errorf("got %d bytes, error %v; want the %d sent", len(got), err, len(want))
	}
}

func TestForeignAuthorityGetsNoRoute(t *testing.T) {
	up := make(chan bus.Peer, 8)
	home := start(t, newAuthority(t), bus.Config{NodeName: "home", OnPeer: func(p bus.Peer, _ bool) { up <- p }})
	failed := make(chan string, 64)
	stranger := startLogged(t, newAuthority(t), bus.Config{NodeName: "stranger", Routes: []string{home.RouteAddr()}}, failed)
	waitText(t, failed, "TLS route handshake error")
	if n := len(stranger.Peers()) + len(home.Peers()) + len(up); n != 0 {
		t.Errorf("%d routes, want none", n)
	}
}

// TestPlainRouteIsRefused: a server that talks no TLS, and one with TLS but no certificate.
func TestPlainRouteIsRefused(t *testing.T) {
	logs := make(chan string, 64)
	home := startLogged(t, newAuthority(t), bus.Config{NodeName: "home"}, logs)
	plain, err := net.Dial("tcp", home.RouteAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	if _, err := io.WriteString(plain, "CONNECT {\"verbose\":false,\"name\":\"x\"}\r\nPING\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(plain) // Until the server closes it.
	if strings.Contains(string(answer), "PONG") {
		t.Errorf("the server answered a plain connection: %q", answer)
	}
	waitText(t, logs, "TLS route handshake error")
	bare, err := net.Dial("tcp", home.RouteAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bare.Close() }()
	_, err = io.ReadAll(tls.Client(bare, &tls.Config{InsecureSkipVerify: true}))
	if err == nil || !strings.Contains(err.Error(), "certificate") { // TLS 1.3 tells a client at its first read.
		t.Errorf("read without a certificate: %v, want an error about it", err)
	}
	if got := home.Peers(); len(got) != 0 {
		t.Errorf("peers %v, want none", got)
	}
}

func TestClientListenerIsLoopbackWithPassword(t *testing.T) {
	home := start(t, newAuthority(t), bus.Config{NodeName: "home"})
	url := bus.ClientURL(home)
	if !strings.HasPrefix(url, "nats://127.0.0.1:") {
		t.Fatalf("client listener at %s, want loopback", url)
	}
	if _, err := nats.Connect(url); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("connect without password: %v, want %v", err, nats.ErrAuthorization)
	}
	if _, err := nats.Connect(url, nats.UserInfo("yohaku", "guess")); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("connect with a wrong password: %v, want %v", err, nats.ErrAuthorization)
	}
}

func TestLostPeerIsNoticed(t *testing.T) {
	a := newAuthority(t)
	events := make(chan string, 64)
	home := start(t, a, bus.Config{NodeName: "home", OnPeer: func(p bus.Peer, up bool) { events <- fmt.Sprint(p.Name, " ", up) }})
	peer := start(t, a, bus.Config{NodeName: "peer", Routes: []string{home.RouteAddr()}})
	waitText(t, events, "peer true")
	peer.Close()
	waitText(t, events, "peer false")
	if got := home.Peers(); len(got) != 0 {
		t.Errorf("peers %v, want none", got)
	}
	if _, err := bus.Call(deadline(t), home.Conn(), "nobody", nil); !errors.Is(err, bus.ErrNoResponders) {
		t.Errorf("call: %v, want ErrNoResponders", err)
	}
}

// TestFrozenPeerIsNoticed: the connection stays open and nothing passes, as when a process or a
// machine hangs. Two pings of 100 ms must do.
func TestFrozenPeerIsNoticed(t *testing.T) {
	a := newAuthority(t)
	home := start(t, a, bus.Config{NodeName: "home"})
	pipe := newProxy(t, home.RouteAddr())
	events := make(chan string, 64)
	start(t, a, bus.Config{NodeName: "peer", Routes: []string{pipe.addr()}, PingInterval: 100 * time.Millisecond, OnPeer: func(p bus.Peer, up bool) { events <- fmt.Sprint(p.Name, " ", up) }})
	waitText(t, events, "home true")
	pipe.freeze()
	begin := time.Now()
	waitText(t, events, "home false")
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("noticed after %v, want well under 5 s", took)
	}
}

func TestRemoveRouteStopsDialling(t *testing.T) {
	a := newAuthority(t)
	events := make(chan string, 64)
	home := start(t, a, bus.Config{NodeName: "home"})
	peer := start(t, a, bus.Config{NodeName: "peer", OnPeer: func(p bus.Peer, up bool) { events <- fmt.Sprint(p.Name, " ", up) }})
	for range 3 {
		if err := peer.AddRoute(home.RouteAddr()); err != nil {
			t.Fatal(err)
		}
		waitText(t, events, "home true")
		if err := peer.RemoveRoute(home.RouteAddr()); err != nil {
			t.Fatal(err)
		}
		waitText(t, events, "home false")
	}
}

func TestStartErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for name, tc := range map[string]struct {
		c    bus.Config
		want string
	}{
		"port in use":    {bus.Config{NodeName: "n", RunID: "r", RouteListen: taken.Addr().String()}, "address already in use"},
		"no host":        {bus.Config{NodeName: "n", RunID: "r", RouteListen: ":0"}, "explicit host"},
		"no TLS":         {bus.Config{NodeName: "n", RunID: "r", RouteListen: "192.0.2.1:0"}, "no TLS identity"},
		"unspecified":    {bus.Config{NodeName: "n", RunID: "r", RouteListen: "0.0.0.0:0"}, "unspecified"},
		"weak TLS":       {bus.Config{NodeName: "n", RunID: "r", RouteListen: "127.0.0.1:0", TLS: &tls.Config{}}, "mutual TLS 1.3"},
		"port":           {bus.Config{NodeName: "n", RunID: "r", RouteListen: "127.0.0.1:70000"}, "0 to 65535"},
		"route":          {bus.Config{NodeName: "n", RunID: "r", RouteListen: "127.0.0.1:0", Routes: []string{"x"}}, "HOST:PORT"},
		"routes alone":   {bus.Config{NodeName: "n", RunID: "r", Routes: []string{"x:1"}}, "give both"},
		"node name":      {bus.Config{NodeName: "a b", RunID: "r"}, "a b"},
		"run id":         {bus.Config{NodeName: "n"}, "run id"},
		"scheme":         {bus.Config{NodeName: "n", RunID: "r", ExternalURL: "http://user:secret@h"}, "scheme"},
		"no host in URL": {bus.Config{NodeName: "n", RunID: "r", ExternalURL: "nats://"}, "no host"},
		"nobody answers": {bus.Config{NodeName: "n", RunID: "r", ExternalURL: "nats://user:secret@" + closedAddr(t)}, "--nats-url"},
		"rubbish URL":    {bus.Config{NodeName: "n", RunID: "r", ExternalURL: "nats://secret:%zz@h"}, "not a URL"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := bus.Start(tc.c)
			if err == nil {
				b.Close()
				t.Fatal("no error")
			}
			if text := err.Error(); !strings.Contains(text, tc.want) || strings.Contains(text, "secret") || strings.Contains(text, "\n") {
				t.Errorf("error %q, want one line with %q and no secret", text, tc.want)
			}
		})
	}
}

func TestExternalServer(t *testing.T) {
	a := newAuthority(t)
	secure := mutual(t, a, "external").Clone()
	secure.ClientAuth = tls.NoClientCert
	clientTLS := mutual(t, a, "client")
	for name, tc := range map[string]struct {
		options server.Options
		auth    string
		scheme  string
	}{
		"plain": {server.Options{}, "", "nats"},
		"token": {server.Options{Authorization: "to-ken"}, "to-ken@", "nats"},
		"user":  {server.Options{Username: "u", Password: "p"}, "u:p@", "nats"},
		"tls":   {server.Options{TLSConfig: secure, Username: "u", Password: "p"}, "u:p@", "tls"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := external(t, tc.options)
			var buses [2]*bus.Bus
			for i := range buses {
				b, err := bus.Start(bus.Config{NodeName: fmt.Sprint("n", i), RunID: "r", ExternalURL: tc.scheme + "://" + tc.auth + addr, ExternalTLS: map[bool]*tls.Config{true: clientTLS}[tc.scheme == "tls"]})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(b.Close)
				buses[i] = b
			}
			h, err := bus.Handle(buses[0].Conn(), "echo", 1, func(_ context.Context, data []byte) ([]byte, error) { return data, nil })
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			if got, err := bus.Call(deadline(t), buses[1].Conn(), "echo", []byte("hi")); err != nil || string(got) != "hi" {
				t.Errorf("got %q, error %v", got, err)
			}
			if tc.auth != "" {
				_, err := bus.Start(bus.Config{NodeName: "n", RunID: "r", ExternalURL: tc.scheme + "://wrong@" + addr, ExternalTLS: clientTLS})
				if err == nil || strings.Contains(err.Error(), "wrong") {
					t.Errorf("wrong credentials: %v, want an error that does not repeat them", err)
				}
			}
		})
	}
}

func TestExternalServerWithSmallPayload(t *testing.T) {
	addr := external(t, server.Options{MaxPayload: 4096})
	if _, err := bus.Start(bus.Config{NodeName: "n", RunID: "r", ExternalURL: "nats://" + addr}); err == nil || !strings.Contains(err.Error(), "max_payload") {
		t.Errorf("error %v, want one that names max_payload", err)
	}
}

func external(t *testing.T, o server.Options) string {
	o.Host, o.Port, o.NoSigs, o.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("external server does not start")
	}
	return s.Addr().String()
}

type codedError struct{}

func (codedError) Error() string { return "first\nsecond" }
func (codedError) Code() string  { return "gone" }

func TestHandlerErrorsTravel(t *testing.T) {
	b := start(t, nil, bus.Config{NodeName: "n"})
	h, err := bus.Handle(b.Conn(), "s", 1, func(context.Context, []byte) ([]byte, error) { return nil, fmt.Errorf("do it: %w", codedError{}) })
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	_, err = bus.Call(deadline(t), b.Conn(), "s", nil)
	var remote *bus.RemoteError
	if !errors.As(err, &remote) {
		t.Fatalf("error %v, want a RemoteError", err)
	}
	if diff := cmp.Diff(&bus.RemoteError{Subject: "s", Text: "do it: first second", Code: "gone"}, remote); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestHandlerIsBounded: never more than two at a time, and Close cancels and waits.
func TestHandlerIsBounded(t *testing.T) {
	b := start(t, nil, bus.Config{NodeName: "n"})
	var mu sync.Mutex
	running, most, ended := 0, 0, 0
	entered := make(chan struct{}, 8)
	h, err := bus.Handle(b.Conn(), "s", 2, func(ctx context.Context, _ []byte) ([]byte, error) {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		entered <- struct{}{}
		<-ctx.Done()
		mu.Lock()
		running--
		ended++
		mu.Unlock()
		return nil, ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 8 {
		if err := b.Conn().PublishRequest("s", "nowhere", nil); err != nil {
			t.Fatal(err)
		}
	}
	<-entered
	<-entered
	h.Close()
	mu.Lock()
	defer mu.Unlock()
	if most != 2 || running != 0 || ended != 2 {
		t.Errorf("most %d, running %d, ended %d; want 2, 0, 2", most, running, ended)
	}
}

func TestCloseTwice(t *testing.T) {
	b := start(t, nil, bus.Config{NodeName: "n"})
	b.Close()
	b.Close()
	if err := b.AddRoute("127.0.0.1:1"); err == nil {
		t.Error("AddRoute after Close succeeded")
	}
}
