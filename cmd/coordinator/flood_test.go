//go:build unix

package main

import (
	"strings"
	"testing"
	"time"

	"yohaku/cmd/internal/cli"
	"yohaku/internal/bus"
	"yohaku/internal/trust"
	"yohaku/internal/wire"
)

// TestFlood: a member with a good certificate and a NATS server of its own floods every subject of
// the run with rubbish. The run ends on the same checkpoint, and says so in few lines.
func TestFlood(t *testing.T) {
	c := newCluster(t)
	quiet := c.up("quiet", "--local-workers", "2")
	c.ends(quiet)
	p := c.up("flooded", "--local-workers", "2")
	addr, token, err := p.joinLine()
	if err != nil {
		t.Fatal(err)
	}
	p.committed(t, 3)
	id, err := trust.Join(t.Context(), trust.JoinConfig{Addr: addr, Token: token, NodeName: "flooder", Version: cli.Version()})
	if err != nil {
		t.Fatal(err)
	}
	mutual, err := id.MutualTLS()
	if err != nil {
		t.Fatal(err)
	}
	b, err := bus.Start(bus.Config{NodeName: "flooder", RunID: "flooded", RouteListen: "127.0.0.1:0", Routes: id.Welcome.RouteAddrs, TLS: mutual})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.WaitPeers(t.Context(), c.status().Nodes[0].Name); err != nil {
		t.Fatal(err)
	}
	s := wire.Subjects{RunID: "flooded"}
	subjects := []string{s.Hello(), s.Report(), s.Blobs() + ".blob.get"}
	for _, n := range c.status().Nodes {
		subjects = append(subjects, s.Node(n.Name))
	}
	sent, began := 0, time.Now()
	for ended := false; !ended; {
		for _, subject := range subjects {
			for _, rubbish := range []string{"", "{}", `{"leave":true}`, "YS1" + strings.Repeat("x", 4000)} {
				if err := b.Conn().Publish(subject, []byte(rubbish)); err != nil {
					t.Fatal(err)
				}
				sent++
			}
		}
		select {
		case <-p.exited:
			ended = true
		case <-time.After(time.Millisecond): // About ten thousand a second.
		}
	}
	took := time.Since(began)
	c.ends(p)
	if got, want := c.report("flooded").CheckpointSHA256, c.report("quiet").CheckpointSHA256; got != want {
		t.Errorf("checkpoint %s under the flood, %s without", got, want)
	}
	lines := 0
	for _, line := range p.log.all() {
		if strings.Contains(line, `"level":"warn"`) {
			lines++
		}
	}
	if lines > 20 {
		t.Errorf("%d warnings about %d messages:\n%s", lines, sent, p.logText())
	}
	t.Logf("%d messages in %v, %d warnings; training %.2f s, without %.2f s", sent, took.Round(time.Millisecond), lines, c.report("flooded").Seconds, c.report("quiet").Seconds)
}
