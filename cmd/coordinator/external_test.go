//go:build unix

package main

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// TestExternalNATS: a run goes through a NATS server that was there before, and no process of the
// run has a route.
func TestExternalNATS(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, Username: "u", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	url := "nats://u:secret@" + net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Addr().(*net.TCPAddr).Port))
	c := newCluster(t)
	p := c.up("run", "--local-workers", "2", "--nats-url", url, "--steps", "6")
	p.committed(t, 1)
	if n := s.NumClients(); n < 3 {
		t.Errorf("%d clients of the NATS server, want the coordinator and two workers", n)
	}
	c.ends(p)
	checkQuiet(t, p)
	checkRunFolder(t, c.out+"/run")
	if in := s.NumSubscriptions(); in > 100 {
		t.Errorf("%d subscriptions are left", in)
	}
}
