package api

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type fake struct {
	stopped bool
	hurt    Fault
}

func (f *fake) Status() Status { return Status{RunID: "r1", Step: 3} }
func (f *fake) Token() Token   { return Token{Token: "t"} }
func (f *fake) Stop()          { f.stopped = true }

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
