package trust

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAuthorityIsCreatedOnceAndReloaded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trust")
	var wg sync.WaitGroup
	tokens := make([]string, 8)
	for i := range tokens {
		wg.Go(func() {
			a, err := OpenAuthority(dir)
			if err != nil {
				t.Error(err)
				return
			}
			tokens[i] = a.Token(time.Time{}).Encode() + string(a.GossipKeys()[0])
		})
	}
	wg.Wait()
	for i, got := range tokens {
		if got != tokens[0] {
			t.Errorf("open %d gave another authority", i)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("folder holds %v (error %v), want only %s", entries, err, authorityFile)
	}
	info, err := os.Stat(filepath.Join(dir, authorityFile))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); runtime.GOOS != "windows" && got != 0o600 {
		t.Errorf("mode %v, want 0600", got)
	}
}

func TestAuthorityRefusesDamagedFiles(t *testing.T) {
	a := newAuthority(t)
	path := filepath.Join(t.TempDir(), authorityFile)
	if err := a.create(path); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"empty":     {},
		"rubbish":   []byte("rubbish"),
		"truncated": whole[:len(whole)/2],
		"huge":      make([]byte, maxAuthorityFile+1),
		"other key": append(whole, otherKey(t)...),
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, authorityFile)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenAuthority(dir); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one that names the file", name, err)
		}
		if got, _ := os.ReadFile(path); !cmp.Equal(got, data, cmp.Transformer("s", func(b []byte) string { return string(b) })) {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func otherKey(t *testing.T) []byte {
	_, keyPEM, err := newNodeKey()
	if err != nil {
		t.Fatal(err)
	}
	return keyPEM
}

func TestTokenRoundTrip(t *testing.T) {
	a := newAuthority(t)
	for _, expires := range []time.Time{{}, time.Unix(2_000_000_000, 999)} {
		want := a.Token(expires)
		got, err := ParseToken(" " + want.Encode() + "\n")
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("got %v, want %v", got, want)
		}
		for _, text := range []string{fmt.Sprint(got), fmt.Sprintf("%v %+v %#v %s", got, got, got, got)} {
			if strings.Contains(text, strings.Split(want.Encode(), ".")[2]) {
				t.Errorf("printing shows the secret: %s", text)
			}
		}
	}
}

func TestParseTokenRefuses(t *testing.T) {
	good := newAuthority(t).Token(time.Time{}).Encode()
	parts := strings.Split(good, ".")
	for _, s := range []string{
		"", "x", "yohaku1", "yohaku1..", "yohaku2." + parts[1] + "." + parts[2],
		good[:len(good)-1], good + "A", good + ".", good + ".x", good + ".-5", good + ".+5", good + ".0", good + ".1.2",
		"yohaku1." + parts[1] + "=." + parts[2], strings.Repeat("y", 1<<20),
	} {
		_, err := ParseToken(s)
		if !errors.Is(err, ErrMalformedToken) {
			t.Errorf("ParseToken(%.80q): error %v, want ErrMalformedToken", s, err)
		} else if strings.Contains(err.Error(), parts[2][:20]) {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("yohaku1.a.b.1")
	a, err := NewAuthority()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(a.Token(time.Unix(5, 0)).Encode())
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := ParseToken(s)
		if err != nil {
			return
		}
		again, err := ParseToken(tok.Encode())
		if err != nil || again != tok {
			t.Errorf("%q parses to %v, which encodes to %v (error %v)", s, tok, again, err)
		}
	})
}

func TestJoinGivesIdentity(t *testing.T) {
	a := newAuthority(t)
	want := Welcome{RunID: "r1", NodeName: "w1", GossipKeys: a.GossipKeys(), GossipAddr: "127.0.0.1:1", RouteAddrs: []string{"127.0.0.1:2"}, Extra: json.RawMessage(`{"a":1}`)}
	var asked Request
	s := serve(t, ServerConfig{Authority: a, Version: "v1", Grant: func(_ context.Context, r Request) (Welcome, error) {
		asked = r
		w := want
		w.NodeName = ""
		return w, nil
	}})
	id, err := Join(t.Context(), JoinConfig{Addr: s.Addr().String(), Token: a.Token(time.Now().Add(time.Hour)).Encode(), NodeName: "w1", Version: "v1", Hosts: []string{"10.0.0.7", "w1.example"}, Extra: json.RawMessage(`"x"`)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, id.Welcome); diff != "" {
		t.Errorf("welcome (-want +got):\n%s", diff)
	}
	asked.Remote = netip.AddrPort{}
	if diff := cmp.Diff(Request{NodeName: "w1", Version: "v1", Hosts: []string{"10.0.0.7", "w1.example"}, Extra: json.RawMessage(`"x"`)}, asked, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if !id.LocalIP.IsLoopback() || !id.CoordinatorIP.IsLoopback() {
		t.Errorf("addresses %v and %v, want loopback ones", id.LocalIP, id.CoordinatorIP)
	}
	checkCert(t, id)
}

func checkCert(t *testing.T, id *Identity) {
	block, _ := pem.Decode(id.CertPEM)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(id.CAPEM)
	for _, name := range []string{"10.0.0.7", "w1.example", NodeServerName} {
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
			if _, err := cert.Verify(x509.VerifyOptions{DNSName: name, Roots: pool, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
				t.Errorf("verify for %s: %v", name, err)
			}
		}
	}
	if cert.Subject.CommonName != "w1" || cert.IsCA {
		t.Errorf("common name %q, authority %v; want w1, false", cert.Subject.CommonName, cert.IsCA)
	}
	if _, err := cert.Verify(x509.VerifyOptions{DNSName: BootstrapName, Roots: pool}); err == nil {
		t.Error("a node's certificate is good for the bootstrap server")
	}
}

func TestJoinErrors(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	s := serve(t, ServerConfig{Authority: a, Version: "v1", Grant: func(_ context.Context, r Request) (Welcome, error) {
		if r.NodeName == "taken" {
			return Welcome{}, errors.New("node name \"taken\" is in use")
		}
		return Welcome{}, nil
	}})
	addr, good := s.Addr().String(), a.Token(time.Time{}).Encode()
	wrong := a.Token(time.Time{})
	wrong.Secret[31] ^= 1
	altered := a.Token(time.Now().Add(-time.Minute))
	altered.Expires = altered.Expires.Add(time.Hour)
	closed := listen(t)
	_ = closed.Close()
	for name, tc := range map[string]struct {
		c    JoinConfig
		want error
		text string
	}{
		"malformed":      {JoinConfig{Addr: addr, Token: "x", NodeName: "w"}, ErrMalformedToken, "copy the whole token"},
		"other cluster":  {JoinConfig{Addr: addr, Token: other.Token(time.Time{}).Encode(), NodeName: "w", Version: "v1"}, ErrFingerprint, "another cluster"},
		"wrong secret":   {JoinConfig{Addr: addr, Token: wrong.Encode(), NodeName: "w", Version: "v1"}, ErrSecret, "coordinator token"},
		"altered expiry": {JoinConfig{Addr: addr, Token: altered.Encode(), NodeName: "w", Version: "v1"}, ErrSecret, "secret"},
		"expired":        {JoinConfig{Addr: addr, Token: a.Token(time.Now().Add(-time.Minute)).Encode(), NodeName: "w", Version: "v1"}, ErrExpired, "fresh one"},
		"long expired":   {JoinConfig{Addr: addr, Token: a.Token(time.Unix(1e9, 0)).Encode(), NodeName: "w", Version: "v1"}, ErrExpired, "2001-09-09"},
		"unreachable":    {JoinConfig{Addr: closed.Addr().String(), Token: good, NodeName: "w", Version: "v1"}, ErrUnreachable, closed.Addr().String()},
		"version":        {JoinConfig{Addr: addr, Token: good, NodeName: "w", Version: "v2"}, ErrVersion, "v2"},
		"refused":        {JoinConfig{Addr: addr, Token: good, NodeName: "taken", Version: "v1"}, ErrRefused, "in use"},
		"node name":      {JoinConfig{Addr: addr, Token: good, NodeName: "a b", Version: "v1"}, ErrRequest, "--name"},
		"address":        {JoinConfig{Addr: "nowhere", Token: good, NodeName: "w", Version: "v1"}, ErrRequest, "HOST:PORT"},
		"reserved host":  {JoinConfig{Addr: addr, Token: good, NodeName: "w", Version: "v1", Hosts: []string{"Bootstrap.Yohaku.internal"}}, ErrRequest, "reserved"},
		"bad host":       {JoinConfig{Addr: addr, Token: good, NodeName: "w", Version: "v1", Hosts: []string{"a b"}}, ErrRequest, "a b"},
		"many hosts":     {JoinConfig{Addr: addr, Token: good, NodeName: "w", Version: "v1", Hosts: make([]string, 17)}, ErrRequest, "17"},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := Join(t.Context(), tc.c)
			if !errors.Is(err, tc.want) || id != nil {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if text := err.Error(); !strings.Contains(text, tc.text) || strings.Contains(text, "\n") || strings.Contains(text, strings.Split(good, ".")[2]) {
				t.Errorf("text %q, want one line with %q and no secret", text, tc.text)
			}
		})
	}
}

// TestNodeCannotPoseAsCoordinator: a worker's certificate must not be able to collect secrets.
func TestNodeCannotPoseAsCoordinator(t *testing.T) {
	a := newAuthority(t)
	id, err := a.Issue("w1", []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(id.CertPEM, id.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	pair.Certificate = append(pair.Certificate, a.cert.Raw)
	l := tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13})
	got := make(chan int, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			got <- -1
			return
		}
		b, _ := io.ReadAll(conn)
		_ = conn.Close()
		got <- len(b)
	}()
	_, err = Join(t.Context(), JoinConfig{Addr: l.Addr().String(), Token: a.Token(time.Time{}).Encode(), NodeName: "w2"})
	if !errors.Is(err, ErrNotBootstrap) {
		t.Errorf("error %v, want ErrNotBootstrap", err)
	}
	if n := <-got; n != 0 {
		t.Errorf("the impostor read %d bytes, want none", n)
	}
}

func TestJoinAtOtherServers(t *testing.T) {
	token := newAuthority(t).Token(time.Time{}).Encode()
	for name, answer := range map[string]struct {
		say  string
		want error
	}{
		"http":   {"HTTP/1.1 400 Bad Request\r\n\r\n", ErrNotBootstrap},
		"silent": {"", ErrBusy},
	} {
		l := listen(t)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, answer.say)
			_ = conn.Close()
		}()
		if _, err := Join(t.Context(), JoinConfig{Addr: l.Addr().String(), Token: token, NodeName: "w"}); !errors.Is(err, answer.want) {
			t.Errorf("%s: error %v, want %v", name, err, answer.want)
		}
	}
}

func TestJoinEndsWithContext(t *testing.T) {
	l := listen(t) // Accepts by the backlog, and never answers.
	ctx, cancel := context.WithCancel(t.Context())
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			accepted <- conn
		}
		cancel()
	}()
	if _, err := Join(ctx, JoinConfig{Addr: l.Addr().String(), Token: newAuthority(t).Token(time.Time{}).Encode(), NodeName: "w"}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("error %v, want ErrUnreachable", err)
	}
	_ = (<-accepted).Close()
}

// TestServerLimitsFailures: the source that keeps failing is refused unheard, one report a minute
// is made of it, and it is heard again when its minute is over.
func TestServerLimitsFailures(t *testing.T) {
	a := newAuthority(t)
	var mu sync.Mutex
	now, reports := time.Unix(1_800_000_000, 0), []int{}
	s := serve(t, ServerConfig{
		Authority: a,
		Now:       func() time.Time { mu.Lock(); defer mu.Unlock(); return now },
		Grant:     func(context.Context, Request) (Welcome, error) { return Welcome{}, nil },
		OnFailure: func(_ netip.Addr, count int, err error) {
			mu.Lock()
			defer mu.Unlock()
			if !errors.Is(err, ErrSecret) {
				t.Errorf("reported %v, want ErrSecret", err)
			}
			reports = append(reports, count)
		},
	})
	wrong := a.Token(time.Time{})
	wrong.Secret[0] ^= 1
	bad := JoinConfig{Addr: s.Addr().String(), Token: wrong.Encode(), NodeName: "w"}
	good := JoinConfig{Addr: s.Addr().String(), Token: a.Token(time.Time{}).Encode(), NodeName: "w"}
	for i := range maxFailures {
		if _, err := Join(t.Context(), bad); !errors.Is(err, ErrSecret) {
			t.Fatalf("join %d: %v, want ErrSecret", i, err)
		}
		s.idle(t)
	}
	if _, err := Join(t.Context(), good); !errors.Is(err, ErrBusy) {
		t.Errorf("after %d failures: %v, want ErrBusy", maxFailures, err)
	}
	mu.Lock()
	now = now.Add(limitWindow)
	mu.Unlock()
	if _, err := Join(t.Context(), good); err != nil {
		t.Errorf("a minute later: %v", err)
	}
	if _, err := Join(t.Context(), bad); !errors.Is(err, ErrSecret) {
		t.Errorf("a minute later: %v, want ErrSecret", err)
	}
	s.idle(t)
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]int{1, maxFailures}, reports); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}

// idle waits until no conversation is open, so that the counts are settled.
func (s *Server) idle(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		s.mu.Lock()
		n := len(s.conns)
		s.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d conversations are still open", n)
		}
	}
}

func TestServerBoundsRequests(t *testing.T) {
	a := newAuthority(t)
	failed := make(chan error, 8)
	s := serve(t, ServerConfig{Authority: a, Grant: func(context.Context, Request) (Welcome, error) { return Welcome{}, nil }, OnFailure: func(_ netip.Addr, _ int, err error) { failed <- err }})
	conn, err := dialPinned(t.Context(), s.Addr().String(), a.Fingerprint())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte{0xff, 0xff, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !strings.Contains(err.Error(), "4294967295 bytes announced") {
		t.Errorf("reported %v", err)
	}
	_ = conn.Close()
}

func TestCloseEndsConversations(t *testing.T) {
	a := newAuthority(t)
	s := serve(t, ServerConfig{Authority: a, Grant: func(context.Context, Request) (Welcome, error) { return Welcome{}, nil }})
	conn, err := dialPinned(t.Context(), s.Addr().String(), a.Fingerprint())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("read succeeded after Close")
	}
	_ = conn.Close()
}

func TestMutualTLSRefusesStrangers(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	server := mutual(t, a, "s")
	for name, tc := range map[string]struct {
		client *tls.Config
		good   bool
	}{
		"same authority":  {mutual(t, a, "c"), true},
		"other authority": {mutual(t, other, "c"), false},
		"no certificate":  {&tls.Config{InsecureSkipVerify: true}, false},
	} {
		l := tls.NewListener(listen(t), server)
		seen := make(chan error, 1)
		go func() {
			conn, err := l.Accept()
			if err == nil {
				err = conn.(*tls.Conn).HandshakeContext(t.Context())
				_ = conn.Close()
			}
			seen <- err
		}()
		conn, err := tls.Dial("tcp", l.Addr().String(), tc.client)
		if err == nil {
			_ = conn.Close()
		}
		if err := <-seen; (err == nil) != tc.good {
			t.Errorf("%s: server's handshake error %v, want success %v", name, err, tc.good)
		}
	}
}

func mutual(t *testing.T, a *Authority, name string) *tls.Config {
	id, err := a.Issue(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := id.MutualTLS()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newAuthority(t *testing.T) *Authority {
	t.Helper()
	a, err := NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func serve(t *testing.T, c ServerConfig) *Server {
	t.Helper()
	s, err := Serve(listen(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
