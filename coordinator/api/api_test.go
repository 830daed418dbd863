package api

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type fake struct{ stopped bool }

func (f *fake) Status() Status { return Status{RunID: "r1", Step: 3} }
func (f *fake) Token() Token   { return Token{Token: "t"} }
func (f *fake) Stop()          { f.stopped = true }

func TestClientFindsTheRunByItsFolder(t *testing.T) {
	out := t.TempDir()
	dir := filepath.Join(out, "r1")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	run := &fake{}
	s, err := Serve("127.0.0.1:0", dir, run)
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
