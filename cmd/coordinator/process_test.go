package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// background holds the processes of scripts, by their work folder.
var background = map[string]*process{}

// eventTimeout bounds the wait for an event of a process.
const eventTimeout = 90 * time.Second

// process is a coordinator or worker under test. Its output is read as it comes.
type process struct {
	cmd    *exec.Cmd
	out    *lineLog // Standard output.
	log    *lineLog // Standard error.
	exited chan struct{}
}

// lineLog collects lines and wakes those that wait for one.
type lineLog struct {
	mu      sync.Mutex
	lines   []string
	changed chan struct{} // Closed and replaced at every line, and closed at the end.
	ended   bool
}

func (l *lineLog) read(r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		l.mu.Lock()
		l.lines = append(l.lines, s.Text())
		close(l.changed)
		l.changed = make(chan struct{})
		l.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	close(l.changed)
}

// wait returns the first line that match accepts, once it is there.
func (l *lineLog) wait(what string, match func(string) bool) (string, error) {
	deadline := time.After(eventTimeout)
	for seen := 0; ; {
		l.mu.Lock()
		fresh, changed, ended := l.lines[seen:], l.changed, l.ended
		l.mu.Unlock()
		if i := slices.IndexFunc(fresh, match); i >= 0 {
			return fresh[i], nil
		}
		if ended {
			return "", fmt.Errorf("the process ended without %s", what)
		}
		seen += len(fresh)
		select {
		case <-changed:
		case <-deadline:
			return "", fmt.Errorf("no %s within %v", what, eventTimeout)
		}
	}
}

func (l *lineLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

// startProcess starts a command of TestMain in dir. The caller ends it with kill at the latest.
func startProcess(dir, name string, args ...string) (*process, error) {
	return startCmd(exec.Command(name, args...), dir)
}

func startCmd(cmd *exec.Cmd, dir string) (*process, error) {
	p := &process{cmd: cmd, out: &lineLog{changed: make(chan struct{})}, log: &lineLog{changed: make(chan struct{})}, exited: make(chan struct{})}
	cmd.Dir = dir
	// Pipes of our own, since exec's would be closed by Wait while local workers still write.
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	logR, logW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = outW, logW
	if err := errors.Join(cmd.Start(), outW.Close(), logW.Close()); err != nil {
		return nil, err
	}
	go p.out.read(outR)
	go p.log.read(logR)
	go func() {
		defer close(p.exited)
		_ = cmd.Wait() // ProcessState tells.
	}()
	return p, nil
}

// joinLine waits for the printed line and returns its parts.
func (p *process) joinLine() (addr, token string, err error) {
	line, err := p.out.wait("a join line", func(s string) bool { return strings.Contains(s, "worker join ") })
	if err != nil {
		return "", "", fmt.Errorf("%w:\n%s", err, p.logText())
	}
	f := strings.Fields(line)
	if len(f) != 5 || f[3] != "--token" {
		return "", "", fmt.Errorf("join line %q, want 'worker join ADDR --token TOKEN'", line)
	}
	return f[2], f[4], nil
}

func (p *process) interrupt() error { return p.cmd.Process.Signal(os.Interrupt) }

// kill ends the process at once, if it lives.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // It may have ended.
	<-p.exited
}

// wait returns the exit code, or −1 for a process that a signal ended or that did not end.
func (p *process) wait(limit time.Duration) int {
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		return -1
	}
}

func (p *process) logText() string { return strings.Join(p.log.all(), "\n") }

// entry is what the tests read of a JSON log line.
type entry struct {
	Level      string `json:"level"`
	Message    string `json:"message"`
	Component  string `json:"component"`
	Node       string `json:"node"`
	Parts      string `json:"parts"`
	Step       int    `json:"step"`
	WorldSize  int    `json:"world_size"`
	Generation uint64 `json:"generation"`
}

// event waits for the first log line that match accepts.
func (p *process) event(t *testing.T, what string, match func(entry) bool) entry {
	t.Helper()
	var e entry
	if _, err := p.log.wait(what, func(line string) bool {
		e = entry{}
		return json.Unmarshal([]byte(line), &e) == nil && match(e)
	}); err != nil {
		t.Fatalf("%v; log:\n%s", err, p.logText())
	}
	return e
}

// committed waits until the step is committed.
func (p *process) committed(t *testing.T, step int) {
	t.Helper()
	p.event(t, fmt.Sprint("commit of step ", step), func(e entry) bool { return e.Message == "step committed" && e.Step >= step })
}
