package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"

	"yohaku/model/bench"
)

//go:embed ring_peer.py
var ringPeerScript string

// ringWork is a row of the ring: an all-reduce of so many float32 elements, or as many sums of ours.
type ringWork struct {
	bench.Work
	peer string // The peer's implementation.
}

// ringSizes are the vectors by their bytes as float32.
var ringSizes = []struct {
	name     string
	elements int
	timedMS  float64
}{{"4KB", 1024, 150}, {"16MB", 4_000_000, 300}, {"128MB", 32_000_000, 600}}

// ringWorks lists the rows: beside Gloo in both wire formats, and beside OpenMPI.
func ringWorks() []ringWork {
	var all []ringWork
	for _, peer := range []string{"gloo", "openmpi"} {
		for world := 2; world <= 4; world++ {
			for _, s := range ringSizes {
				for _, dtype := range []string{"int32", "int16"} {
					if peer != "gloo" && dtype != "int32" {
						continue
					}
					w := ringWork{peer: peer, Work: bench.Work{Request: bench.Request{
						Work: fmt.Sprintf("ring-n%d-%s", world, s.name), Kind: "ring", DType: dtype,
						Shape: map[string]int{"world": world, "elements": s.elements}, WarmMS: s.timedMS / 5, TimedMS: s.timedMS,
					}}}
					if peer != "gloo" {
						w.Work.Work += "-" + peer
					}
					all = append(all, w)
				}
			}
		}
	}
	return all
}

// compareRing prints the table of the ring beside each peer, and then the lines of JSON.
func compareRing(ctx context.Context, o options, pattern *regexp.Regexp) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	fmt.Printf("machine: %s; load average %s\ncommit:  %s\n", bench.Machine(), bench.Load(), commit())
	fmt.Printf("all-reduce between processes on loopback, medians of %d turns of each side, taken alternately; ratio = peer's time for float32 / ours\n", o.turns)
	var results []bench.Result
	for _, peer := range []string{"gloo", "openmpi"} {
		works := slices.DeleteFunc(ringWorks(), func(w ringWork) bool { return w.peer != peer || !pattern.MatchString(w.ID()) })
		if len(works) == 0 {
			continue
		}
		c := &bench.Comparison{Ours: ringCommand(self, o.profile), Turns: o.turns}
		python, missing := findPython(o.venv)
		if missing == nil {
			c.Peer = ringPeer(python, peer)
		}
		rows, err := runRing(ctx, c, peer, missing, works)
		results = append(results, rows...)
		if err := errors.Join(err, c.Close()); err != nil {
			return err
		}
	}
	conclude(results)
	for _, r := range results {
		if err := r.WriteJSON(os.Stdout); err != nil {
			return err
		}
	}
	return nil
}

func runRing(ctx context.Context, c *bench.Comparison, peer string, missing error, works []ringWork) (results []bench.Result, err error) {
	us, them, failed, err := c.About(ctx)
	if err != nil {
		return nil, err
	}
	if missing == nil {
		missing = failed
	}
	if missing != nil {
		them = fmt.Sprintf("no %s, so ours alone is timed: %v (make bench-deps, or set YOHAKU_VENV)", peer, missing)
	}
	fmt.Printf("\nours:    %s\npeer:    %s\n", us, them)
	if err := bench.Header(os.Stdout); err != nil {
		return nil, err
	}
	for _, w := range works {
		r, err := c.Run(ctx, w.Work)
		if err != nil {
			return results, fmt.Errorf("time %s: %w", w.ID(), err)
		}
		r.Others = -1 // The ranks are processes of the sides' own: nothing tells them from others.
		if err := r.WriteRow(os.Stdout); err != nil {
			return results, err
		}
		if r.PeerError != nil {
			fmt.Printf("  %s: ours alone: %v\n", w.ID(), r.PeerError)
		}
		results = append(results, r)
	}
	return results, nil
}

func ringCommand(self, profile string) bench.Command {
	return func(ctx context.Context) *exec.Cmd {
		return exec.CommandContext(ctx, self, "-serve-ring", "-profile", profile)
	}
}

func ringPeer(python, kind string) bench.Command {
	return func(ctx context.Context) *exec.Cmd {
		return exec.CommandContext(ctx, python, "-c", ringPeerScript, kind)
	}
}

// ringOrder asks a rank for count all-reduces, one after the other.
type ringOrder struct {
	Elements int    `json:"elements"`
	DType    string `json:"dtype"`
	Count    int    `json:"count"`
}

// ringAnswer is what a rank says: first where it is, then the time of each all-reduce.
type ringAnswer struct {
	Route string    `json:"route,omitempty"`
	MS    []float64 `json:"ms,omitempty"`
	Error string    `json:"error,omitempty"`
}

// serveRing is our side: it has a process for each rank, and passes requests on to them.
func serveRing(in io.Reader, out io.Writer, profile string) error {
	world := &ringWorld{profile: profile}
	defer world.end()
	lines, replies := bufio.NewScanner(in), json.NewEncoder(out)
	for lines.Scan() {
		var r bench.Request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("read request %.80q: %w", lines.Bytes(), err)
		}
		reply, err := world.answer(r)
		if err != nil {
			reply = bench.Reply{Error: err.Error()}
		}
		if err := replies.Encode(reply); err != nil {
			return fmt.Errorf("write reply: %w", err)
		}
	}
	return lines.Err()
}

// ringWorld is the ranks that run.
type ringWorld struct {
	ranks   []*ringProcess
	profile string // Folder for a profile of each rank, "" for none.
}

type ringProcess struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func (w *ringWorld) answer(r bench.Request) (bench.Reply, error) {
	if r.Kind != "ring" {
		return bench.Reply{About: "natsring over embedded NATS servers"}, nil
	}
	if err := w.resize(r.Shape["world"]); err != nil {
		return bench.Reply{}, err
	}
	order := ringOrder{Elements: r.Shape["elements"], DType: r.DType, Count: 1}
	warm, err := w.ask(order)
	for sum := 0.0; err == nil && sum < r.WarmMS; {
		order.Count = calls(r.WarmMS, warm)
		warm, err = w.ask(order)
		for _, ms := range warm {
			sum += ms
		}
	}
	if err != nil {
		return bench.Reply{}, err
	}
	order.Count = calls(r.TimedMS, warm)
	ms, err := w.ask(order)
	return bench.Reply{MS: map[string][]float64{"": ms}}, err
}

// calls is how many calls fill a time, judged by the latest one.
func calls(ms float64, seen []float64) int {
	return min(2000, 1+int(ms/max(seen[len(seen)-1], 1e-3)))
}

// resize ends the ranks of another world and starts those of this one.
func (w *ringWorld) resize(world int) error {
	if len(w.ranks) == world {
		return nil
	}
	w.end()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	first := ""
	for rank := range world {
		p := &ringProcess{cmd: exec.Command(self, "-ring-rank", strconv.Itoa(rank), "-ring-world", strconv.Itoa(world), "-ring-route", first, "-profile", w.profile)}
		p.cmd.Stderr = os.Stderr
		p.cmd.Env = append(os.Environ(), fmt.Sprint("GOMAXPROCS=", max(1, runtime.NumCPU()/world))) // As the peer's ranks have one thread.
		p.in, err = p.cmd.StdinPipe()
		if err != nil {
			return fmt.Errorf("connect to rank %d: %w", rank, err)
		}
		out, err := p.cmd.StdoutPipe()
		if err != nil {
			return fmt.Errorf("connect to rank %d: %w", rank, err)
		}
		p.out = bufio.NewScanner(out)
		p.out.Buffer(nil, 1<<20)
		if err := p.cmd.Start(); err != nil {
			return fmt.Errorf("start rank %d: %w", rank, err)
		}
		w.ranks = append(w.ranks, p)
		hello, err := p.read()
		if err != nil {
			return fmt.Errorf("rank %d: %w", rank, err)
		}
		if rank == 0 {
			first = hello.Route
		}
	}
	return nil
}

// ask has all ranks run the order and returns rank 0's times.
func (w *ringWorld) ask(o ringOrder) ([]float64, error) {
	for rank, p := range w.ranks {
		if err := json.NewEncoder(p.in).Encode(o); err != nil {
			return nil, fmt.Errorf("ask rank %d: %w", rank, err)
		}
	}
	var first []float64
	for rank, p := range w.ranks {
		a, err := p.read()
		if err != nil {
			return nil, fmt.Errorf("rank %d: %w", rank, err)
		}
		if rank == 0 {
			first = a.MS
		}
	}
	return first, nil
}

func (p *ringProcess) read() (ringAnswer, error) {
	var a ringAnswer
	if !p.out.Scan() {
		return a, errors.Join(errors.New("its process has ended"), p.out.Err())
	}
	if err := json.Unmarshal(p.out.Bytes(), &a); err != nil {
		return a, fmt.Errorf("read answer %.80q: %w", p.out.Bytes(), err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// end ends the ranks by the end of their input.
func (w *ringWorld) end() {
	for _, p := range w.ranks {
		_ = p.in.Close() // It may be gone.
	}
	for _, p := range w.ranks {
		_ = p.cmd.Wait() // What failed was answered.
	}
	w.ranks = nil
}
