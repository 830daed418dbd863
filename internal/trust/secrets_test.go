package trust

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestTokensEnd: a rotated and a revoked token are refused by name of the cause, others go on to
// count, also after the authority was opened anew.
func TestTokensEnd(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	first, hour := a.Token(time.Time{}).Encode(), a.Token(time.Now().Add(time.Hour)).Encode()
	if err := a.RevokeToken(hour); err != nil {
		t.Fatal(err)
	}
	if err := a.RevokeToken(newAuthority(t).Token(time.Time{}).Encode()); !errors.Is(err, ErrFingerprint) {
		t.Errorf("revoke another cluster's: %v, want ErrFingerprint", err)
	}
	day := a.Token(time.Now().Add(24 * time.Hour)).Encode()
	expectJoins(t, open(t, dir), map[string]error{first: nil, day: nil, hour: ErrRevoked})

	if err := a.RotateToken(); err != nil {
		t.Fatal(err)
	}
	if err := a.RevokeToken(first); !errors.Is(err, ErrSecret) {
		t.Errorf("revoke a token that is refused already: %v, want ErrSecret", err)
	}
	a = open(t, dir)
	expectJoins(t, a, map[string]error{first: ErrRevoked, day: ErrRevoked, hour: ErrRevoked, a.Token(time.Time{}).Encode(): nil})

	info, err := os.Stat(filepath.Join(dir, secretsFile))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); runtime.GOOS != "windows" && got != 0o600 {
		t.Errorf("mode %v, want 0600", got)
	}
}

func expectJoins(t *testing.T, a *Authority, tokens map[string]error) {
	t.Helper()
	s := serve(t, ServerConfig{Authority: a, Version: "v1", Grant: func(context.Context, Request) (Welcome, error) { return Welcome{}, nil }})
	for token, want := range tokens {
		_, err := Join(t.Context(), JoinConfig{Addr: s.Addr().String(), Token: token, NodeName: fmt.Sprint("w", len(a.look().Nodes)), Version: "v1"})
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("join: %v, want %v", err, want)
		} else if want != nil && (!strings.Contains(err.Error(), "revoked at") || !strings.Contains(err.Error(), "coordinator token") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("refusal %q, want one line with the cause and the next step", err)
		}
	}
}

func TestNodeIsRevoked(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	s := serve(t, ServerConfig{Authority: a, Grant: func(context.Context, Request) (Welcome, error) {
		return Welcome{Revoked: a.Revoked().Names(), GossipKeys: a.GossipKeys()}, nil
	}})
	token := a.Token(time.Time{}).Encode()
	ids := map[string]*Identity{}
	for _, name := range []string{"w1", "w2"} {
		id, err := Join(t.Context(), JoinConfig{Addr: s.Addr().String(), Token: token, NodeName: name})
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = id
	}
	if _, err := Join(t.Context(), JoinConfig{Addr: s.Addr().String(), Token: token, NodeName: "w1"}); !errors.Is(err, ErrRequest) {
		t.Errorf("a second w1: %v, want ErrRequest", err)
	}
	if _, err := Join(t.Context(), JoinConfig{Addr: s.Addr().String(), Token: token, NodeName: CoordinatorPrefix + "1"}); !errors.Is(err, ErrRequest) {
		t.Errorf("a joiner with the coordinator's name: %v, want ErrRequest", err)
	}
	if err := a.RevokeNode("w3"); !errors.Is(err, ErrRequest) {
		t.Errorf("revoke a stranger: %v, want ErrRequest", err)
	}
	if err := a.RevokeNode("w1"); err != nil {
		t.Fatal(err)
	}
	if _, err := Join(t.Context(), JoinConfig{Addr: s.Addr().String(), Token: token, NodeName: "w9"}); !errors.Is(err, ErrRevoked) {
		t.Errorf("join with a token that the revoked node may know: %v, want ErrRevoked", err)
	}
	late, err := Join(t.Context(), JoinConfig{Addr: s.Addr().String(), Token: a.Token(time.Time{}).Encode(), NodeName: "late"})
	if err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	server, err := again.Issue(CoordinatorPrefix+"1", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []*Identity{server, late} { // One that was there, and one that learned it with its welcome.
		for name, good := range map[string]bool{"w1": false, "w2": true} {
			if err := shake(t, end, ids[name]); (err == nil) != good || err != nil && !errors.Is(err, ErrRevoked) {
				t.Errorf("%s at %s: %v, want success %v or ErrRevoked", name, end.NodeName, err, good)
			}
		}
	}
}

// shake makes a TLS connection and returns what the server's end thought of it.
func shake(t *testing.T, server, client *Identity) error {
	t.Helper()
	accept, err := server.MutualTLS()
	if err != nil {
		t.Fatal(err)
	}
	dial, err := client.MutualTLS()
	if err != nil {
		t.Fatal(err)
	}
	l := tls.NewListener(listen(t), accept)
	seen := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = conn.(*tls.Conn).HandshakeContext(t.Context())
			_ = conn.Close()
		}
		seen <- err
	}()
	if conn, err := tls.Dial("tcp", l.Addr().String(), dial); err == nil {
		_ = conn.Close()
	}
	return <-seen
}

// TestGossipKeysRotate: the three rounds, kept in between.
func TestGossipKeysRotate(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	old := a.GossipKeys()[0]
	for i, step := range []func() error{a.AddGossipKey, a.UseGossipKey, a.DropGossipKeys} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		keys := open(t, dir).GossipKeys()
		if diff := cmp.Diff(a.GossipKeys(), keys); diff != "" {
			t.Errorf("round %d, reopened (-want +got):\n%s", i, diff)
		}
		if want := []int{2, 2, 1}[i]; len(keys) != want || bytes.Equal(keys[0], old) != (i == 0) {
			t.Errorf("round %d: %d keys, the old one first %v; want %d, %v", i, len(keys), bytes.Equal(keys[0], old), want, i == 0)
		}
	}
}

func TestDamagedSecretsAreRefused(t *testing.T) {
	for name, data := range map[string]string{"rubbish": "rubbish", "empty": "", "short key": `{"join_key":"AA=="}`, "no gossip key": `{"join_key":"` + strings.Repeat("A", 43) + `="}`} {
		dir := t.TempDir()
		open(t, dir)
		path := filepath.Join(dir, secretsFile)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenAuthority(dir); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one that names the file", name, err)
		}
	}
}

func open(t *testing.T, dir string) *Authority {
	t.Helper()
	a, err := OpenAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
