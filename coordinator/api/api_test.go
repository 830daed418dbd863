package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type fake struct {
	stopped bool
	hurt    Fault
	expires time.Time
	calls   []string
	stream  Stream
}

func (f *fake) Status() Status { return Status{RunID: "r1", Step: 3} }
func (f *fake) Token(expires time.Time) Token {
	f.expires = expires
	return Token{Token: "t"}
}
func (f *fake) RotateToken() error { f.calls = append(f.calls, "rotate"); return nil }
func (f *fake) RevokeToken(token string) error {
	f.calls = append(f.calls, "revoke "+token)
	return nil
}
func (f *fake) RevokeNode(name string) error {
	if name != "w1" {
		return errors.New("no node " + name)
	}
	f.calls = append(f.calls, "put out "+name)
	return nil
}

func (f *fake) Points(after, limit int) ([]Point, error) {
	if after > 9 {
		return nil, errors.New("disk on fire")
	}
	return []Point{{Step: after + 1}}[:min(limit, 1)], nil
}

func (f *fake) Stream() *Stream { return &f.stream }

func (f *fake) Stop() { f.stopped = true }

func (f *fake) Events(since time.Time) []Event {
	return []Event{{Time: since, Kind: WorkerGone, Node: "w"}}
}

func (f *fake) Hurt(_ context.Context, fault Fault) error {
	if fault.Node == "" {
		return errors.New("no node")
	}
	f.hurt = fault
	return nil
}

func TestClientFindsTheRunByItsFolder(t *testing.T) {
	out := t.TempDir()
	dir := filepath.Join(out, "r1")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	run := &fake{}
	s, err := Serve("127.0.0.1:0", dir, run, http.NotFoundHandler())
	if err != nil {
		t.Fatal(err)
	}
	for _, find := range []func() (Client, error){
		func() (Client, error) { return Find(dir) },
		func() (Client, error) { return FindByAddress(out, s.Address()) },
	} {
		c, err := find()
		if err != nil {
			t.Fatal(err)
		}
		var got Status
		if err := c.Do(context.Background(), http.MethodGet, "status", &got); err != nil || got.Step != 3 {
			t.Errorf("status %+v, %v", got, err)
		}
		if err := c.Do(context.Background(), http.MethodPost, "stop", &got); err != nil || !run.stopped {
			t.Errorf("stop: %v", err)
		}
	}
	c, since := Client{s.endpoint}, time.Unix(7, 8)
	if got, err := c.Events(context.Background(), since); err != nil || len(got) != 1 || !got[0].Time.Equal(since) || got[0].Kind != WorkerGone {
		t.Errorf("events %+v, %v", got, err)
	}
	fault := Fault{Kind: "freeze", Node: "w-1", Duration: 1500 * time.Millisecond}
	if err := c.Hurt(context.Background(), fault); err != nil || run.hurt != fault {
		t.Errorf("chaos %+v, %v, want %+v", run.hurt, err, fault)
	}
	if err := c.Hurt(context.Background(), Fault{Kind: "kill"}); err == nil || !strings.Contains(err.Error(), "no node") {
		t.Errorf("chaos without a node: %v", err)
	}
	stranger := Client{Endpoint{Address: s.Address(), Bearer: "guess"}}
	if err := stranger.Do(context.Background(), http.MethodGet, "token", &Token{}); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a stranger got %v, want 401", err)
	}
	if info, err := os.Stat(filepath.Join(dir, endpointFile)); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("endpoint file: %v, %v", info, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(dir); err == nil || !strings.Contains(err.Error(), "not going on") {
		t.Errorf("after the end: %v", err)
	}
}

func TestTrustCalls(t *testing.T) {
	dir := t.TempDir()
	run := &fake{}
	s, err := Serve("127.0.0.1:0", dir, run, http.NotFoundHandler())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	c, err := Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range []struct {
		method, path string
		in           any
		refused      string
	}{
		{http.MethodPost, "token/rotate?expires=24h", struct{}{}, ""},
		{http.MethodPost, "token/revoke", RevokeToken{Token: "abc"}, ""},
		{http.MethodPost, "node/revoke", RevokeNode{Node: "w1"}, ""},
		{http.MethodPost, "node/revoke", RevokeNode{Node: "w2"}, "no node w2"},
		{http.MethodPost, "node/revoke", map[string]string{"name": "w1"}, "unknown field"},
		{http.MethodPost, "token/revoke", RevokeToken{Token: strings.Repeat("x", maxRequestBytes)}, "too large"},
		{http.MethodPost, "token/rotate?expires=-1h", struct{}{}, "expires must be"},
		{http.MethodPost, "token/rotate?expires=soon", struct{}{}, "expires must be"},
	} {
		var got Token
		err := c.Post(context.Background(), call.path, call.in, &got)
		if call.refused == "" && (err != nil || got.Token != "t") {
			t.Errorf("%s: %+v, %v", call.path, got, err)
		}
		if call.refused != "" && (err == nil || !strings.Contains(err.Error(), call.refused)) {
			t.Errorf("%s: error %v, want %q", call.path, err, call.refused)
		}
	}
	if diff := cmp.Diff([]string{"rotate", "revoke abc", "put out w1"}, run.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if err := c.Do(context.Background(), http.MethodGet, "token?expires=1h", &Token{}); err != nil || time.Until(run.expires) < 59*time.Minute {
		t.Errorf("token until %v, error %v; want in an hour", run.expires, err)
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	run := &fake{}
	figures := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("yohaku_steps_total 3")) })
	routes := (&Server{endpoint: Endpoint{Bearer: "operator", Viewer: "viewer"}}).routes(run, figures)
	for _, c := range []struct {
		bearer, method, path string
		code                 int
		says                 string
	}{
		{"", "GET", "/healthz", 200, "alive"},
		{"", "GET", "/readyz", 503, "ask again"}, // The fake has no state.
		{"", "GET", "/metrics", 401, "endpoint.json"},
		{"", "GET", "/api/v1/none", 401, "endpoint.json"},
		{"guess", "GET", "/api/v1/status", 401, "endpoint.json"},
		{"viewer", "GET", "/metrics", 200, "yohaku_steps_total"},
		{"viewer", "GET", "/api/v1/status", 200, "r1"},
		{"viewer", "GET", "/api/v1/token", 403, "operator"},
		{"viewer", "POST", "/api/v1/stop", 403, "operator"},
		{"operator", "GET", "/metrics", 200, "yohaku_steps_total"},
		{"operator", "GET", "/api/v1/../../etc/passwd", 404, "there is no"},
		{"viewer", "GET", "/api/v1/steps?after=4", 200, `"step":5`},
		{"viewer", "GET", "/api/v1/steps?after=10", 500, "disk on fire"},
		{"viewer", "GET", "/api/v1/steps?after=-1", 400, "whole number"},
		{"viewer", "GET", "/api/v1/steps?limit=1e9", 400, "whole number"},
		{"viewer", "GET", "/api/v1/me", 200, "false"},
		{"operator", "GET", "/api/v1/me", 200, "true"},
		{"", "GET", "/", 200, "<title>"},
		{"", "GET", "/favicon.ico", 200, "<svg"},
		{"", "GET", "/desk/../../go.mod", 401, "endpoint.json"},
		{"", "GET", "/desk/none.js", 404, ""},
		{"operator", "DELETE", "/api/v1/status", 404, "there is no"},
		{"operator", "POST", "/api/v1/stop", 200, "r1"},
	} {
		r := httptest.NewRequest(c.method, "http://127.0.0.1"+c.path, nil)
		if c.bearer != "" {
			r.Header.Set("Authorization", "Bearer "+c.bearer)
		}
		w := httptest.NewRecorder()
		routes.ServeHTTP(w, r)
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s %s as %q: %d %s, want %d and %q", c.method, c.path, c.bearer, w.Code, w.Body, c.code, c.says)
		}
		if kind := w.Header().Get("Content-Type"); w.Code >= 400 && c.says != "" && kind != "application/problem+json" {
			t.Errorf("%s %s as %q: %s, want problem details", c.method, c.path, c.bearer, kind)
		}
	}
	if !run.stopped {
		t.Error("the operator's stop had no effect")
	}
}
