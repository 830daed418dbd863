package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var mutations = flag.Bool("sim.mutations", false, "break the machines in one place after the other, and hold the simulation to finding it")

// mutation is a line of the machines made wrong, and a seed that finds it.
type mutation struct {
	name, file, from, to string
	restarting           bool // The seed is one of clusters whose coordinator crashes.
	seed                 int
}

var mutants = []mutation{
	{"a lower epoch takes a worker over", "worker/lifecycle/fence.go", "case of > f.highest.Epoch:", "case of != f.highest.Epoch:", true, 3},
	{"an epoch is any owner's", "internal/epoch/epoch.go", "| tag&(1<<tagBits-1)", "| tag&0", true, 38},
	{"half of the states are a majority", "worker/replica/replica.go", "if 2*n > rest {", "if 2*n >= rest {", false, 28},
	{"a state that changed is not noticed", "worker/replica/replica.go", "\t\tif c.Then != c.Now {\n\t\t\tv.Wrong", "\t\tif false {\n\t\t\tv.Wrong", false, 14},
	{"of two that differ neither is in doubt", "worker/replica/replica.go", "case v.Want == Digest{}:", "case v.Want == Digest{} && len(claims) > 2:", false, 28},
	{"a wrong state is kept", "coordinator/rendezvous/differ.go", "n.wrong, n.forgets, n.holding, n.prepared = m.generation, m.generation, Holding{}, false", "n.wrong, n.prepared = m.generation, false", false, 103},
	{"what is given away stays in the queue", "worker/lifecycle/attempt.go", "m.queue, m.settled = m.queue[:last], true", "m.settled = true", true, 13},
	{"exponents of a broken attempt are not taken back", "worker/lifecycle/attempt.go", "if m.attempt > 0 && (m.state", "if false && (m.state", false, 7},
	{"sums of an attempt stay for the next", "worker/lifecycle/lifecycle.go", "m.attempt++\n\t\tm.holding.Partial = nil", "m.attempt++", false, 1},
	{"a step is committed though not all have it", "worker/lifecycle/lifecycle.go", "return []Effect{Confirm{Step: ev.Step, Attempt: m.attempt}}", "m.state = Committing\n\treturn []Effect{Commit{Step: ev.Step + 1}}", false, 35},
	{"who is a step behind is told to keep what it has", "coordinator/rendezvous/form.go", "case h.Loaded && h.Applied == step:\n", "case h.Loaded && h.Applied >= step-1:\n", false, 2},
	{"training goes on a step too early", "coordinator/rendezvous/form.go", "step = max(step, n.holding.Applied)", "step = max(step, n.holding.Applied-1)", false, 0},
	{"partial sums stay of what another rank computes", "worker/lifecycle/lifecycle.go", "if !slices.Contains(m.shares[m.c.Rank], mb) {", "if !slices.Contains(m.shares[m.c.Rank], mb) && false {", true, 283},
	{"a living coordinator is not respected", "coordinator/rendezvous/claim.go", "if held != nil && !takeover {", "if false {", true, 0},
	{"a minority of ranks is enough for a takeover", "coordinator/rendezvous/claim.go", "if 2*reached <= len(ranks) {", "if false {", true, 51},
}

// TestMutationsAreFound: a simulation that cannot fail is a defect. Each mutant is built by an overlay, so
// that nothing in the machines serves this test, and its seed must fail.
func TestMutationsAreFound(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			source := filepath.Join(root, m.file)
			text, err := os.ReadFile(source)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), m.from); n != 1 {
				t.Fatalf("%s has the line %d times, want once:\n%s", m.file, n, m.from)
			}
			if *mutations {
				m.mustFail(t, source, strings.Replace(string(text), m.from, m.to, 1))
			}
		})
	}
}

func (m mutation) mustFail(t *testing.T, source, mutated string) {
	t.Helper()
	dir := t.TempDir()
	file, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {source: file}})
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{file: []byte(mutated), overlay: replace} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run, seed := "FaultsChangeNoBit", fmt.Sprint("-sim.seed=", m.seed)
	if m.restarting {
		run, seed = "ComesBackChangesNoBit", fmt.Sprint("-sim.restart-seed=", m.seed)
	}
	out, err := exec.Command("go", "test", "-overlay", overlay, "-count=1", "-timeout=2m", "-run", run, ".", seed).CombinedOutput()
	switch {
	case err == nil:
		t.Errorf("seed %d passes with %s: %s", m.seed, m.file, m.to)
	case !strings.Contains(string(out), "--- FAIL") && !strings.Contains(string(out), "panic:"):
		t.Fatalf("no test failed: %v\n%s", err, out)
	}
}
