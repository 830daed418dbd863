package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// namespace is a network of its own, as another machine has one.
type namespace string

// twoNamespaces makes two namespaces with a link between 10.213.7.1 and 10.213.7.2.
func twoNamespaces(t *testing.T) (a, b namespace) {
	t.Helper()
	a, b, why := tryNamespaces(t)
	if why != "" {
		t.Skip(why)
	}
	return a, b
}

// tryNamespaces is twoNamespaces, or says why there are none.
func tryNamespaces(t *testing.T) (a, b namespace, why string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return "", "", "network namespaces need root"
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return "", "", "network namespaces need the ip command"
	}
	id := os.Getpid() % 100000
	a, b = namespace(fmt.Sprintf("yohaku-a%d", id)), namespace(fmt.Sprintf("yohaku-b%d", id))
	for _, n := range []namespace{a, b} {
		if out, err := exec.Command("ip", "netns", "add", string(n)).CombinedOutput(); err != nil {
			return "", "", "this system gives no network namespaces: " + strings.TrimSpace(string(out))
		}
		t.Cleanup(func() { ip(t, "netns", "del", string(n)) }) // Its devices go with it.
	}
	ip(t, "link", "add", a.device(), "netns", string(a), "type", "veth", "peer", "name", b.device(), "netns", string(b))
	for _, end := range []struct {
		n    namespace
		addr string
	}{{a, "10.213.7.1/24"}, {b, "10.213.7.2/24"}} {
		ip(t, "-n", string(end.n), "addr", "add", end.addr, "dev", end.n.device())
		end.n.link(t, "up")
		ip(t, "-n", string(end.n), "link", "set", "lo", "up")
	}
	return a, b, ""
}

// device is the name of the namespace's end of the link.
func (n namespace) device() string { return "yh" + strings.TrimPrefix(string(n), "yohaku-") }

// link sets the namespace's end of the link up or down.
func (n namespace) link(t *testing.T, state string) {
	t.Helper()
	ip(t, "-n", string(n), "link", "set", n.device(), state)
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

// prefix runs a command in the namespace; ip becomes the command, so signals reach it.
func (n namespace) prefix() []string { return []string{"ip", "netns", "exec", string(n)} }

// start runs a command in the namespace.
func (n namespace) start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := startProcess("testdata", "ip", append(append(n.prefix()[1:], path), args...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

// TestAnotherMachine: a worker in another network namespace joins by the printed line and takes
// part, over TLS, with no loopback between it and the others.
func TestAnotherMachine(t *testing.T) {
	here, there := twoNamespaces(t)
	c := newCluster(t)
	p := here.start(t, "coordinator", "up", "--data", "pairs.parquet", "--model", "tiny-pipeline", "--steps", "12", "--gradient-accumulation-steps", "5",
		"--train-batch-size", "2", "--no-eval", "--log-format", "json", "--out", c.out, "--run-id", "run",
		"--listen", "10.213.7.1:0", "--local-workers", "1", "--min-workers", "2")
	addr, token, err := p.joinLine()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(addr, "10.213.7.1:") {
		t.Fatalf("join line names %s, want 10.213.7.1", addr)
	}
	w := there.start(t, "worker", "join", addr, "--token", token, "--name", "far", "--log-format", "json")
	c.ends(p)
	c.ends(w)
	checkQuiet(t, p)
	checkQuiet(t, w)
	checkRunFolder(t, filepath.Join(c.out, "run"))
	checkTookPart(t, filepath.Join(c.out, "run"), "far", 1)

	// Every address of the machine, with the one to reach it by.
	all := here.start(t, "coordinator", "up", "--resume", "run", "--out", c.out, "--steps", "20",
		"--listen", "0.0.0.0:0", "--advertise", "10.213.7.1", "--local-workers", "0", "--min-workers", "1")
	if addr, token, err = all.joinLine(); err != nil {
		t.Fatal(err)
	}
	w = there.start(t, "worker", "join", addr, "--token", token, "--name", "far", "--log-format", "json")
	c.ends(all)
	c.ends(w)
	checkQuiet(t, all)
}
