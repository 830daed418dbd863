//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"yohaku/coordinator/api"
	"yohaku/coordinator/evidence"
)

// steps of the runs whose middle the tests must hit; a step takes about 30 ms.
const steps = 60

// runLimit bounds a run's orderly end.
const runLimit = 2 * time.Minute

// cluster is a folder of runs on the fixtures.
type cluster struct {
	t      *testing.T
	out    string
	prefix []string // Of every command, to run it on another machine.
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	return &cluster{t: t, out: t.TempDir()}
}

// up starts the run id with more flags.
func (c *cluster) up(id string, flags ...string) *process {
	c.t.Helper()
	return c.start(append([]string{
		"up", "--data", "pairs.parquet", "--model", "tiny-pipeline", "--steps", strconv.Itoa(steps), "--gradient-accumulation-steps", "5",
		"--train-batch-size", "2", "--learning-rate", "1e-3", "--checkpointing-steps", "20", "--threads", "1",
		"--no-eval", "--log-format", "json", "--out", c.out, "--run-id", id,
	}, flags...)...)
}

// resume continues the run id.
func (c *cluster) resume(id string, flags ...string) *process {
	c.t.Helper()
	return c.start(append([]string{"up", "--resume", id, "--out", c.out}, flags...)...)
}

func (c *cluster) start(args ...string) *process {
	c.t.Helper()
	words := append(append(slices.Clone(c.prefix), "coordinator"), args...)
	return c.command(words[0], words[1:]...)
}

func (c *cluster) command(name string, args ...string) *process {
	c.t.Helper()
	p, err := startProcess("testdata", name, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(p.kill)
	return p
}

// ends waits for the orderly end and checks the log.
func (c *cluster) ends(p *process) {
	c.t.Helper()
	if code := p.wait(runLimit); code != 0 {
		c.t.Fatalf("exit code %d, want 0:\n%s", code, p.logText())
	}
	for _, line := range p.log.all() {
		checkLogLine(c.t, line)
	}
}

// until waits for something that other processes bring about, and that only a look can tell.
func (c *cluster) until(what string, limit time.Duration, is func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(limit); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// checkQuiet: a healthy run warns of nothing.
func checkQuiet(t *testing.T, p *process) {
	t.Helper()
	for _, line := range p.log.all() {
		var e entry
		if json.Unmarshal([]byte(line), &e) == nil && e.Level != "info" {
			t.Errorf("a healthy run logs %s", line)
		}
	}
}

// checkLogLine: one JSON object with level, time and message, and no key twice.
func checkLogLine(t *testing.T, line string) {
	t.Helper()
	seen := map[string]bool{}
	d := json.NewDecoder(strings.NewReader(line))
	for depth := 0; d.More() || depth > 0; {
		token, err := d.Token()
		if err != nil {
			t.Errorf("log line is not JSON: %v: %s", err, line)
			return
		}
		if delim, ok := token.(json.Delim); ok {
			if delim == '{' || delim == '[' {
				depth++
			} else {
				depth--
			}
			continue
		}
		key, isKey := token.(string)
		if depth != 1 || !isKey {
			continue
		}
		if seen[key] {
			t.Errorf("key %q stands twice: %s", key, line)
		}
		seen[key] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Errorf("log line is not JSON: %v: %s", err, line)
			return
		}
	}
	for _, key := range []string{"level", "time", "message"} {
		if !seen[key] {
			t.Errorf("no %q in log line %s", key, line)
		}
	}
}

func (c *cluster) report(id string) evidence.Report {
	c.t.Helper()
	var r evidence.Report
	data, err := os.ReadFile(filepath.Join(c.out, id, "report.json"))
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// reference is the report of one worker that nobody disturbs: what every other run must equal.
var reference evidence.Report

// checkSame holds the run to the undisturbed one.
func (c *cluster) checkSame(id string) {
	c.t.Helper()
	got := c.report(id)
	if got.CheckpointSHA256 != reference.CheckpointSHA256 || got.Steps != steps || !got.Complete || got.Loss != reference.Loss {
		c.t.Errorf("run %s: checkpoint %s after %d steps, complete %v, loss %v; want %s, %d, true, %v",
			id, got.CheckpointSHA256, got.Steps, got.Complete, got.Loss, reference.CheckpointSHA256, steps, reference.Loss)
	}
	checkRunFolder(c.t, filepath.Join(c.out, id))
	c.coordinator("verify", id)
}

func (c *cluster) coordinator(args ...string) string {
	c.t.Helper()
	words := append(append(append(slices.Clone(c.prefix), "coordinator"), args...), "--out", c.out)
	out, err := exec.Command(words[0], words[1:]...).Output()
	if err != nil {
		c.t.Fatalf("coordinator %v: %v", args, err)
	}
	return string(out)
}

func (c *cluster) status() api.Status {
	c.t.Helper()
	var s api.Status
	if err := json.Unmarshal([]byte(c.coordinator("status", "--json")), &s); err != nil {
		c.t.Fatal(err)
	}
	return s
}

// TestEndToEnd: whatever happens to the workers and to the coordinator, the run ends on the
// checkpoint of one undisturbed worker.
func TestEndToEnd(t *testing.T) {
	c := newCluster(t)
	c.ends(c.up("one", "--local-workers", "1"))
	reference = c.report("one")
	checkRunFolder(t, filepath.Join(c.out, "one"))
	if len(reference.WorldSizes) != 1 || reference.WorldSizes[0] != 1 {
		t.Errorf("world sizes %v, want [1]", reference.WorldSizes)
	}
	for _, tc := range []struct {
		name string
		test func(t *testing.T)
	}{
		{"coordinator killed", testCoordinatorKilled},
		{"coordinator killed, and back too late for training", testCoordinatorAway},
		{"coordinator killed for good", testOrphans},
		{"two coordinators", testTakeover},
		{"two and three workers", testWorldSizes},
		{"int16", testInt16},
		{"stopped and resumed", testStopAndResume},
		{"worker killed", testWorkerKilled},
		{"all but one killed", testAllButOneKilled},
		{"asked to leave", testLeave},
		{"frozen", testFrozen},
		{"straggler", testStraggler},
		{"a bit flips", testBitFlips},
		{"revoked", testRevoked},
		{"a gradient is not finite", testNonFinite},
		{"last worker killed", testLastWorkerKilled},
		{"interrupted and resumed", testInterrupt},
		{"second interrupt", testSecondInterrupt},
		{"joined at the start", testJoinAtStart},
		{"joined in mid-run", testJoinInMidRun},
	} {
		t.Run(tc.name, tc.test)
	}
}

func testWorldSizes(t *testing.T) {
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			c := newCluster(t)
			p := c.up("run", "--local-workers", strconv.Itoa(n))
			c.ends(p)
			c.checkSame("run")
			checkQuiet(t, p)
			if r := c.report("run"); len(r.WorldSizes) != 1 || r.WorldSizes[0] != n {
				t.Errorf("world sizes %v, want [%d]", r.WorldSizes, n)
			}
		})
	}
}

// testInt16: with 16 bits on the wire the checkpoint is another one, but the same for any number of workers, also when one is
// killed, and its steps can be computed again.
func testInt16(t *testing.T) {
	c := newCluster(t)
	var want string
	for _, n := range []int{1, 3} {
		id := fmt.Sprint("int16-", n)
		p := c.up(id, "--wire-format", "int16", "--local-workers", strconv.Itoa(n))
		if n > 1 {
			p.committed(t, 25)
			if err := syscall.Kill(c.status().Nodes[1].PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		c.ends(p)
		got := c.report(id).CheckpointSHA256
		if n == 1 {
			want = got
		}
		if got != want || got == reference.CheckpointSHA256 {
			t.Errorf("%d workers: checkpoint %s, want %s, and not int32's %s", n, got, want, reference.CheckpointSHA256)
		}
		c.coordinator("verify", id, "--step", "43")
	}
}

func testStopAndResume(t *testing.T) {
	c := newCluster(t)
	p := c.up("run", "--local-workers", "2")
	p.committed(t, 25)
	s := c.status()
	if s.RunID != "run" || s.State != "training" || s.Steps != steps || s.Generation != 1 || len(s.Nodes) != 2 {
		t.Errorf("status %+v, want run 'run' training with 2 nodes", s)
	}
	for rank, n := range s.Nodes {
		if n.Rank != rank || n.PID == 0 || n.Name == "" || n.Device != "cpu" || n.KernelSet == "" || n.State != "training" {
			t.Errorf("node %d: %+v, want rank, pid, name, device, kernel set, training", rank, n)
		}
	}
	c.coordinator("stop")
	c.ends(p)
	half := c.report("run")
	if half.Complete || half.Steps < 25 || half.Steps >= steps || half.CheckpointSHA256 == "" {
		t.Fatalf("report of the stopped run: %+v, want steps from 25 to %d and a checkpoint", half, steps-1)
	}
	checkRunFolder(t, filepath.Join(c.out, "run"))
	c.ends(c.resume("run", "--local-workers", "1"))
	c.checkSame("run")
}

func testWorkerKilled(t *testing.T) {
	c := newCluster(t)
	p := c.up("run", "--local-workers", "3")
	p.committed(t, 25)
	victim := c.status().Nodes[1]
	if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.event(t, "generation of two", func(e entry) bool { return e.Message == "generation formed" && e.WorldSize == 2 })
	c.ends(p)
	c.checkSame("run")
}

func testLastWorkerKilled(t *testing.T) {
	c := newCluster(t)
	p := c.up("run", "--local-workers", "1")
	p.committed(t, 25)
	if err := syscall.Kill(c.status().Nodes[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(runLimit); code != 1 {
		t.Fatalf("exit code %d, want 1:\n%s", code, p.logText())
	}
	says := func(line string) bool {
		return strings.Contains(line, `"level":"error"`) && strings.Contains(line, "--resume run")
	}
	if _, err := p.log.wait("an error that says how to go on", says); err != nil {
		t.Errorf("%v:\n%s", err, p.logText())
	}
	c.ends(c.resume("run"))
	c.checkSame("run")
}

func testInterrupt(t *testing.T) {
	c := newCluster(t)
	p := c.up("run", "--local-workers", "2")
	p.committed(t, 25)
	if err := p.interrupt(); err != nil {
		t.Fatal(err)
	}
	c.ends(p)
	if half := c.report("run"); half.Complete || half.Steps < 25 {
		t.Fatalf("report of the interrupted run: %+v", half)
	}
	c.ends(c.resume("run"))
	c.checkSame("run")
}

func testSecondInterrupt(t *testing.T) {
	c := newCluster(t)
	p := c.up("run", "--local-workers", "2")
	p.committed(t, 25)
	if err := p.interrupt(); err != nil {
		t.Fatal(err)
	}
	p.event(t, "word of stopping", func(e entry) bool { return strings.Contains(e.Message, "a second Ctrl-C ends at once") })
	if err := p.interrupt(); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(10 * time.Second); code != 130 && code != 0 { // 0: the stop was quicker.
		t.Fatalf("exit code %d after the second interrupt, want 130", code)
	}
	c.ends(c.resume("run"))
	c.checkSame("run")
}

func testJoinAtStart(t *testing.T) {
	c := newCluster(t)
	p := c.up("run", "--local-workers", "1", "--min-workers", "2")
	addr, token, err := p.joinLine()
	if err != nil {
		t.Fatal(err)
	}
	w := c.command("worker", "join", addr, "--token", token, "--name", "guest", "--threads", "1", "--log-format", "json")
	c.ends(p)
	c.ends(w)
	checkQuiet(t, p)
	checkQuiet(t, w)
	c.checkSame("run")
	checkTookPart(t, filepath.Join(c.out, "run"), "guest", 1)
}

func testJoinInMidRun(t *testing.T) {
	c := newCluster(t)
	p := c.up("run", "--local-workers", "1")
	addr, token, err := p.joinLine()
	if err != nil {
		t.Fatal(err)
	}
	p.committed(t, 5)
	w := c.command("worker", "join", addr, "--token", token, "--name", "guest", "--threads", "1", "--log-format", "json")
	second := p.event(t, "generation of two", func(e entry) bool { return e.Message == "generation formed" && e.WorldSize == 2 })
	if second.Step < 5 {
		t.Errorf("the second generation begins at step %d: the guest did not enter at the boundary it came to", second.Step)
	}
	c.ends(p)
	c.ends(w)
	checkQuiet(t, p)
	checkQuiet(t, w)
	if !strings.Contains(w.logText(), "caught up with the ring while it went on") || strings.Contains(p.logText(), "while the ring stood still") {
		t.Error("the guest did not catch up while the ring went on")
	}
	c.checkSame("run")
	checkTookPart(t, filepath.Join(c.out, "run"), "guest", second.Step+1)
}
