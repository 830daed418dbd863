//go:build unix

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"yohaku/coordinator/evidence"
)

// TestEvalWithAWorkerKilled: the evaluation is complete, each picture was made once, and its figures are those of one that
// nobody disturbed.
func TestEvalWithAWorkerKilled(t *testing.T) {
	c := newCluster(t)
	var prompts []string
	for _, colour := range []string{"red", "blue", "green", "teal", "pink", "white", "black", "brown"} {
		prompts = append(prompts, "a "+colour+" mug", "a "+colour+" bag", "a "+colour+" lamp")
	}
	list := filepath.Join(c.out, "prompts.txt")
	if err := os.WriteFile(list, []byte(strings.Join(prompts, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	eval := func(out, workers string) *process {
		return c.start("eval", "--base", "tiny-pipeline", "--tuned", "tiny-pipeline", "--prompts", list, "--seeds", "2", "--num-inference-steps", "4",
			"--workers", workers, "--threads", "1", "--log-format", "json", "--out", out)
	}
	read := func(out string) (e evidence.Evaluation) {
		data, err := os.ReadFile(filepath.Join(out, "report.json"))
		if err == nil {
			err = json.Unmarshal(data, &e)
		}
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	calm, rough := filepath.Join(c.out, "calm"), filepath.Join(c.out, "rough")
	c.ends(eval(calm, "1"))
	want := read(calm)
	if *want.WinRate != 0.5 || want.Ties != want.Comparisons || want.Comparisons != 2*len(prompts) {
		t.Errorf("a model against itself: win rate %v, %d ties of %d; want ½, all", *want.WinRate, want.Ties, want.Comparisons)
	}

	p := eval(rough, "3")
	var pid int
	p.event(t, "three workers", func(e entry) bool { return e.Message == "worker ready" && e.WorldSize == 3 })
	var s struct {
		Nodes []struct {
			PID   int    `json:"pid"`
			State string `json:"state"`
		} `json:"nodes"`
	}
	c.until("a worker that samples", runLimit, func() bool {
		out, err := statusOf(rough)
		if err != nil || json.Unmarshal(out, &s) != nil {
			return false
		}
		for _, n := range s.Nodes {
			if n.State == "sample" {
				pid = n.PID
			}
		}
		return pid != 0
	})
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.event(t, "the loss", func(e entry) bool { return e.Message == "worker gone" })
	c.ends(p)
	got := read(rough)
	if got.Samples != 4*len(prompts) || *got.WinRate != *want.WinRate || got.Models[0].Score != want.Models[0].Score || *got.DiversityTuned != *want.DiversityTuned {
		t.Errorf("with a worker killed: %d samples, %+v; want %d, %+v", got.Samples, got.Models[0], 4*len(prompts), want.Models[0])
	}
	for _, model := range []string{"base", "tuned"} {
		files, err := filepath.Glob(filepath.Join(rough, "samples", model, "*.png"))
		if err != nil || len(files) != 2*len(prompts) {
			t.Errorf("%s: %d pictures, %v; want %d", model, len(files), err, 2*len(prompts))
		}
	}
}

// statusOf asks the cluster of the evaluation in dir.
func statusOf(dir string) ([]byte, error) {
	return exec.Command("coordinator", "status", "--json", "--out", dir).Output()
}
