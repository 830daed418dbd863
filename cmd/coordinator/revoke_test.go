//go:build unix

package main

import (
	"strings"
	"testing"
)

// testRevoked: a guest in the ring is put out by its name. It ends with one line, nobody comes in
// with the old token, a newcomer with the new one does, and the result is the same.
func testRevoked(t *testing.T) {
	c := newCluster(t)
	p := c.up("run", "--local-workers", "1")
	addr, token, err := p.joinLine()
	if err != nil {
		t.Fatal(err)
	}
	p.committed(t, 5)
	guest := c.command("worker", "join", addr, "--token", token, "--name", "guest", "--threads", "1", "--log-format", "json")
	p.event(t, "generation of two", func(e entry) bool { return e.Message == "generation formed" && e.WorldSize == 2 })
	out := c.coordinator("node", "revoke", c.nodeNamed("guest"))
	fresh := strings.Fields(out)[len(strings.Fields(out))-1]
	if !strings.HasPrefix(fresh, "yohaku1.") || fresh == token {
		t.Fatalf("revoke prints %q, want a new token at the end", out)
	}
	refused(t, guest, "revoked", "coordinator token")
	refused(t, c.command("worker", "join", addr, "--token", token, "--log-format", "json"), "revoked at", "coordinator token")
	p.event(t, "generation of one", func(e entry) bool { return e.Message == "generation formed" && e.WorldSize == 1 && e.Step > 0 })
	second := c.command("worker", "join", addr, "--token", fresh, "--name", "second", "--threads", "1", "--log-format", "json")
	p.event(t, "another generation of two", func(e entry) bool {
		return e.Message == "generation formed" && e.WorldSize == 2 && e.Generation > 2
	})
	c.ends(second)
	c.ends(p)
	checkNothingRepeated(t, p.log.all())
	c.checkSame("run")
}

// TestGossipKeyRotates: the key changes under a worker that has joined, which stays, and one that
// joins afterwards finds it.
func TestGossipKeyRotates(t *testing.T) {
	c := newCluster(t)
	p := c.up("run", "--local-workers", "1", "--min-workers", "2")
	addr, _, err := p.joinLine()
	if err != nil {
		t.Fatal(err)
	}
	p.event(t, "a worker", func(e entry) bool { return e.Message == "worker ready" })
	line := strings.Fields(c.coordinator("token", "--rotate"))
	p.event(t, "a new gossip key", func(e entry) bool { return e.Message == "gossip key rotated" })
	guest := c.command("worker", "join", addr, "--token", line[len(line)-1], "--name", "guest", "--threads", "1", "--log-format", "json")
	c.ends(p)
	c.ends(guest)
	checkQuiet(t, p)
	if got := c.report("run").WorldSizes; len(got) != 1 || got[0] != 2 {
		t.Errorf("world sizes %v, want [2]: the first worker was lost", got)
	}
}

// nodeNamed is the full name of the worker called name.
func (c *cluster) nodeNamed(name string) string {
	c.t.Helper()
	for _, n := range c.status().Nodes {
		if strings.HasPrefix(n.Name, name+"-") {
			return n.Name
		}
	}
	c.t.Fatalf("no worker %s in the status", name)
	return ""
}

// refused: the process ends with exit code 1 and one error line with these words.
func refused(t *testing.T, p *process, words ...string) {
	t.Helper()
	if code := p.wait(runLimit); code != 1 {
		t.Errorf("exit code %d, want 1:\n%s", code, p.logText())
	}
	var errors []string
	for _, line := range p.log.all() {
		if strings.Contains(line, `"level":"error"`) {
			errors = append(errors, line)
		}
	}
	if len(errors) != 1 {
		t.Fatalf("%d error lines, want one:\n%s", len(errors), p.logText())
	}
	for _, w := range words {
		if !strings.Contains(errors[0], w) {
			t.Errorf("error line %s, want %q in it", errors[0], w)
		}
	}
}
