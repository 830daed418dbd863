package bus_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"yohaku/internal/bus"
	"yohaku/internal/trust"
)

// deadline bounds a test that waits for an event which may never come.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func newAuthority(t *testing.T) *trust.Authority {
	t.Helper()
	a, err := trust.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func mutual(t *testing.T, a *trust.Authority, name string) *tls.Config {
	t.Helper()
	id, err := a.Issue(name, []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := id.MutualTLS()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start starts a bus on loopback, with TLS when a is set, and closes it with the test.
func start(t *testing.T, a *trust.Authority, c bus.Config) *bus.Bus {
	t.Helper()
	c.RunID = "run"
	if c.RouteListen == "" {
		c.RouteListen = "127.0.0.1:0"
	}
	if a != nil {
		c.TLS = mutual(t, a, c.NodeName)
	}
	b, err := bus.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// startLogged is start with the log lines, all levels, sent to lines as long as there is room.
func startLogged(t *testing.T, a *trust.Authority, c bus.Config, lines chan string) *bus.Bus {
	t.Helper()
	c.Log = zerolog.New(writerFunc(func(p []byte) {
		select {
		case lines <- string(p):
		default:
		}
	}))
	return start(t, a, c)
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

func waitText(t *testing.T, from <-chan string, want string) {
	t.Helper()
	ctx := deadline(t)
	for {
		select {
		case got := <-from:
			if strings.Contains(got, want) {
				return
			}
		case <-ctx.Done():
			t.Fatalf("%q did not come", want)
		}
	}
}

func names(peers []bus.Peer) []string {
	var out []string
	for _, p := range peers {
		out = append(out, p.Name)
	}
	return out
}

func closedAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	return l.Addr().String()
}

// proxy passes TCP connections on to target until it is frozen; then it keeps them open and
// passes nothing.
type proxy struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu     sync.Mutex
	frozen bool
	conns  []net.Conn
}

func newProxy(t *testing.T, target string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) freeze() {
	p.mu.Lock()
	p.frozen = true
	p.mu.Unlock()
}

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		p.wg.Go(func() { _, _ = io.Copy(gate{p, out}, in); _ = out.Close() })
		p.wg.Go(func() { _, _ = io.Copy(gate{p, in}, out); _ = in.Close() })
	}
}

// gate drops what is written to a frozen proxy.
type gate struct {
	p *proxy
	w io.Writer
}

func (g gate) Write(b []byte) (int, error) {
	g.p.mu.Lock()
	frozen := g.p.frozen
	g.p.mu.Unlock()
	if frozen {
		return len(b), nil
	}
	return g.w.Write(b)
}
