package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeSide makes the test binary a side: its value is where it notes that it was started.
const fakeSide = "YOHAKU_BENCH_FAKE_SIDE"

func TestMain(m *testing.M) {
	if path := os.Getenv(fakeSide); path != "" {
		if err := fake(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fake answers by the name of the side and of the work, and lets "dies" end the process.
func fake(path string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteString("started\n"); err != nil {
		return err
	}
	name := filepath.Base(path)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var r Request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return err
		}
		reply := Reply{About: name}
		switch {
		case r.Kind == kindHello:
		case r.Work == "dies" && name == "peer":
			return errors.New("out of luck")
		case r.Work == "fails" && name == "peer":
			reply = Reply{Error: "no such thing"}
		case name == "ours":
			reply = Reply{MS: map[string][]float64{"": {1, 2, 30}}, FLOPs: 4e6, PeakBytes: 5e6}
		default:
			reply = Reply{MS: map[string][]float64{"slow": {9}, "quick": {4, 6}}, PeakBytes: 20e6}
		}
		if err := json.NewEncoder(os.Stdout).Encode(reply); err != nil {
			return err
		}
	}
	return f.Close()
}

func fakeCommand(path string) Command {
	return func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), fakeSide+"="+path)
		return cmd
	}
}

// comparison has two fake sides; starts tells how often each was started.
func comparison(t *testing.T) (c *Comparison, starts func() [2]int) {
	t.Helper()
	dir := t.TempDir()
	paths := [2]string{filepath.Join(dir, "ours"), filepath.Join(dir, "peer")}
	c = &Comparison{Ours: fakeCommand(paths[ours]), Peer: fakeCommand(paths[peer]), Turns: 3}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, func() (n [2]int) {
		for i, p := range paths {
			data, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			n[i] = strings.Count(string(data), "started")
		}
		return n
	}
}

func named(name string) Work { return Work{Request: Request{Work: name, DType: Float32}} }

func TestRunTakesTurns(t *testing.T) {
	c, starts := comparison(t)
	r, err := c.Run(context.WithoutCancel(t.Context()), named("works"))
	if err != nil || r.PeerError != nil {
		t.Fatal(err, r.PeerError)
	}
	if diff := cmp.Diff(Figures{MS: 2, Turns: []float64{2, 2, 2}, FLOPs: 4e6, PeakBytes: 5e6}, r.Ours); diff != "" {
		t.Errorf("ours (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Figures{MS: 5, Turns: []float64{5, 5, 5}, Variant: "quick", PeakBytes: 20e6}, r.Peer); diff != "" {
		t.Errorf("peer (-want +got):\n%s", diff)
	}
	if r.Ratio() != 2.5 {
		t.Errorf("ratio %g, want 2.5", r.Ratio())
	}
	if got := starts(); got != [2]int{1, 1} {
		t.Errorf("starts %v, want one each", got)
	}
}

func TestProcessesOfSteps(t *testing.T) {
	c, starts := comparison(t)
	kernel, step, large := named("kernel"), named("step"), named("large")
	step.Step, large.Step, large.Large = true, true, true
	for i, tt := range []struct {
		work Work
		want [2]int
	}{
		{kernel, [2]int{1, 1}}, {kernel, [2]int{1, 1}}, {step, [2]int{2, 2}}, {kernel, [2]int{2, 2}},
		{large, [2]int{6, 6}}, // A turn that does not count and three that do.
	} {
		if _, err := c.Run(context.WithoutCancel(t.Context()), tt.work); err != nil {
			t.Fatal(err)
		}
		if got := starts(); got != tt.want {
			t.Errorf("after work %d, %s: starts %v, want %v", i, tt.work.Work, got, tt.want)
		}
	}
}

func TestPeerThatFails(t *testing.T) {
	c, starts := comparison(t)
	for i, tt := range []struct {
		work, want string
		starts     [2]int
	}{
		{"fails", "no such thing", [2]int{1, 1}},
		{"dies", "out of luck", [2]int{1, 1}},
		{"works", "", [2]int{1, 2}},
	} {
		r, err := c.Run(context.WithoutCancel(t.Context()), named(tt.work))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(r.PeerError); tt.want != "" && (!strings.Contains(got, tt.want) || r.Peer.MS != 0) || tt.want == "" && r.PeerError != nil {
			t.Errorf("work %d, %s: peer %v with error %q, want %q", i, tt.work, r.Peer, got, tt.want)
		}
		if r.Ours.MS != 2 {
			t.Errorf("work %d, %s: ours %v, want 2 ms", i, tt.work, r.Ours)
		}
		if got := starts(); got != tt.starts {
			t.Errorf("work %d, %s: starts %v, want %v", i, tt.work, got, tt.starts)
		}
	}
}

func TestPeerThatDoesNotStart(t *testing.T) {
	c, _ := comparison(t)
	c.Peer = Peer(filepath.Join(t.TempDir(), "python"), 1)
	us, them, peerError, err := c.About(context.WithoutCancel(t.Context()))
	if us != "ours" || them != "" || peerError == nil || err != nil {
		t.Errorf("got %q %q %v %v, want ours alone", us, them, peerError, err)
	}
	r, err := c.Run(context.WithoutCancel(t.Context()), named("works"))
	if err != nil || r.PeerError != nil || r.Peer.MS != 0 {
		t.Errorf("got %v, peer's error %v, error %v; want ours alone", r, r.PeerError, err)
	}
}

func TestPeerEnvironment(t *testing.T) {
	got := peerEnviron([]string{"HOME=/h", "OPENBLAS_CORETYPE=Haswell", "OPENBLAS_L2_SIZE=1", "OPENBLAS_NUM=1"})
	if diff := cmp.Diff([]string{"HOME=/h", "OPENBLAS_NUM=1"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		x    []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 2}, 2}} {
		if got := median(tt.x); got != tt.want {
			t.Errorf("median of %v: got %g, want %g", tt.x, got, tt.want)
		}
	}
}

func TestOrderAlternates(t *testing.T) {
	if diff := cmp.Diff([][]int{{ours, peer}, {peer, ours}, {ours}}, [][]int{order(0, true), order(1, true), order(1, false)}); diff != "" {
		t.Error(diff)
	}
}

// TestServeAnswers: a work that fails is answered, and the next one served.
func TestServeAnswers(t *testing.T) {
	var in, out strings.Builder
	for _, r := range []Request{
		{Kind: kindHello},
		{Work: "a", Kind: "nothing", DType: Float32},
		{Work: "b", Kind: "silu", DType: "bfloat16"},
		{Work: "c", Kind: "silu", DType: Float32, Shape: map[string]int{"elements": 100}, WarmMS: 0.01},
	} {
		if err := json.NewEncoder(&in).Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := Serve(strings.NewReader(in.String()), &out, 1, nil); err != nil {
		t.Fatal(err)
	}
	replies := json.NewDecoder(strings.NewReader(out.String()))
	for i, want := range []string{"1 threads", `kind "nothing"`, "not in bfloat16", `"ms":{"":[`} {
		var reply Reply
		if err := replies.Decode(&reply); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(reply)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.ReplaceAll(string(data), `\"`, `"`), want) {
			t.Errorf("reply %d: got %s, want %s", i, data, want)
		}
	}
	if err := Serve(strings.NewReader("nonsense\n"), io.Discard, 1, nil); err == nil {
		t.Error("a line that is no request passes")
	}
}
