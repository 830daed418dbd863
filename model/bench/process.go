package bench

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

//go:embed peer.py
var peerScript string

// maxReplyBytes bounds a reply: ten thousand times in three variants fit easily.
const maxReplyBytes = 4 << 20

// Command makes a side's process, not yet started.
type Command func(ctx context.Context) *exec.Cmd

// Self is our side: this program, which must call Serve when it is run with -serve.
func Self(program string, threads int) Command {
	return func(ctx context.Context) *exec.Cmd {
		return exec.CommandContext(ctx, program, "-serve", "-threads", strconv.Itoa(threads))
	}
}

// Peer is peer.py in that Python.
func Peer(python string, threads int) Command {
	return func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, python, "-c", peerScript)
		n := strconv.Itoa(threads)
		cmd.Env = append(peerEnviron(os.Environ()), "YOHAKU_BENCH_THREADS="+n, "OMP_NUM_THREADS="+n, "HF_HUB_OFFLINE=1")
		return cmd
	}
}

// peerEnviron leaves out what would tie the peer's libraries to kernels that are not its own choice.
func peerEnviron(env []string) []string {
	var kept []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		switch name {
		case "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE":
		default:
			kept = append(kept, e)
		}
	}
	return kept
}

// process is a side that runs.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errors *tail
	about  string
	ended  bool
}

// start starts a side and asks what it is.
func start(ctx context.Context, c Command) (*process, error) {
	cmd := c(ctx)
	p := &process{cmd: cmd, errors: &tail{}}
	cmd.Stderr = p.errors
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cmd.Path, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cmd.Path, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p.in, p.out = in, bufio.NewReaderSize(out, maxReplyBytes)
	hello, err := p.ask(Request{Kind: kindHello})
	if err != nil {
		return nil, errors.Join(err, p.kill())
	}
	p.about = hello.About
	return p, nil
}

// ask takes one turn. It returns an error when the process is gone, or the work fails there.
func (p *process) ask(r Request) (Reply, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return Reply{}, fmt.Errorf("encode request: %w", err)
	}
	_, err = p.in.Write(append(line, '\n'))
	if err == nil {
		line, err = p.out.ReadSlice('\n')
	}
	if err != nil {
		return Reply{}, errors.Join(fmt.Errorf("talk to %s: %w", p.cmd.Path, err), p.kill())
	}
	var reply Reply
	if err := json.Unmarshal(line, &reply); err != nil {
		return Reply{}, fmt.Errorf("reply %.80q of %s: %w", line, p.cmd.Path, err)
	}
	if reply.Error != "" {
		return Reply{}, fmt.Errorf("%s: %s", p.cmd.Path, reply.Error)
	}
	return reply, nil
}

// cpu is the processor time taken so far, where the system tells.
func (p *process) cpu() time.Duration { return processCPU(p.cmd.Process.Pid) }

// close ends the process by the end of its input and returns the processor time it took in all.
func (p *process) close() (time.Duration, error) {
	if p.ended {
		return 0, nil
	}
	closed := p.in.Close()
	if err := p.wait(); err != nil {
		return 0, err
	}
	s := p.cmd.ProcessState
	return s.UserTime() + s.SystemTime(), closed
}

// kill ends a process that does not follow the protocol, and returns why it ended, if it did not end well.
func (p *process) kill() error {
	if p.ended {
		return nil
	}
	if err := p.in.Close(); err != nil {
		return fmt.Errorf("leave %s: %w", p.cmd.Path, err)
	}
	time.AfterFunc(grace, func() { _ = p.cmd.Process.Kill() }) // Of no effect on one that ended.
	return p.wait()
}

// grace is how long a process has to end by itself, once its input has ended.
const grace = 2 * time.Second

func (p *process) wait() error {
	p.ended = true
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("end %s: %w%s", p.cmd.Path, err, p.errors.lastLine())
	}
	return nil
}

// tail keeps the end of what a process writes to its standard error.
type tail struct{ data []byte }

func (t *tail) Write(b []byte) (int, error) {
	const keep = 4096
	t.data = append(t.data, b...)
	t.data = t.data[max(0, len(t.data)-keep):]
	return len(b), nil
}

// lastLine is ": LINE", or nothing. Call it when the process is gone.
func (t *tail) lastLine() string {
	lines := bytes.Split(bytes.TrimSpace(t.data), []byte("\n"))
	if last := lines[len(lines)-1]; len(last) > 0 {
		return ": " + string(last)
	}
	return ""
}
