package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/coordinator/config"
	"yohaku/coordinator/runstore"
	"yohaku/dataset/latents"
	"yohaku/internal/wire"
)

// Of the run under test: steps 1 and 2 of generation 1, the others of generation 3.
const (
	steps      = 5
	checkpoint = 4
)

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// makeRun makes the folder of a run whose ledger holds.
func makeRun(t *testing.T) string {
	t.Helper()
	c := config.DemoDefaults()
	c.Steps, c.GradientAccumulationSteps, c.TrainBatchSize = steps, 4, 2
	r, err := runstore.Create(t.TempDir(), runstore.Manifest{RunID: "r", Config: wire.Encode(c), MaxGeneration: 3})
	if err != nil {
		t.Fatal(err)
	}
	weights := filepath.Join(t.TempDir(), "w")
	if err := os.WriteFile(weights, []byte("weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	for s := 1; s <= steps; s++ {
		report := wire.StepReport{
			Step: s, Epoch: 1, Generation: 1, Nodes: []string{"a", "b", "standby"}, Shares: [][]int{{0, 2}, {1, 3}, nil}, Items: 8, LearningRate: 1e-3, SumsSHA256: digestOf(fmt.Sprint("sums", s)), ParamsSHA256: digestOf(fmt.Sprint("params", s)),
		}
		if s > 2 {
			report.Generation, report.Nodes, report.Shares = 3, []string{"b"}, [][]int{{0, 1, 2, 3}}
		}
		if err := r.AppendStep(report); err != nil {
			t.Fatal(err)
		}
		if s == checkpoint {
			if err := r.SaveCheckpoint(s, "d", []runstore.File{{Path: "unet/w", Source: weights, SHA256: digestOf("weights")}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return r.Dir
}

// edit changes the lines of a file; each keeps its line end.
func edit(t *testing.T, path string, change func(lines [][]byte) [][]byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(data, []byte{'\n'})
	after := bytes.Join(change(lines[:len(lines)-1]), nil)
	if bytes.Equal(data, after) {
		t.Fatalf("the edit of %s changes nothing", path)
	}
	if err := os.WriteFile(path, after, 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace changes old to new in one line, counted from 1.
func replace(line int, old, new string) func([][]byte) [][]byte {
	return func(lines [][]byte) [][]byte {
		lines[line-1] = bytes.ReplaceAll(lines[line-1], []byte(old), []byte(new))
		return lines
	}
}

// rechained is change, after which whoever did it writes the chain anew.
func rechained(change func([][]byte) [][]byte) func([][]byte) [][]byte {
	return func(lines [][]byte) [][]byte {
		lines = change(lines)
		previous := ""
		for i, data := range lines {
			var line runstore.LedgerLine
			if err := json.Unmarshal(data, &line); err != nil {
				panic(err)
			}
			line.Previous = previous
			data, err := json.Marshal(line)
			if err != nil {
				panic(err)
			}
			previous = runstore.LineDigest(data)
			lines[i] = append(data, '\n')
		}
		return lines
	}
}

func remove(line int) func([][]byte) [][]byte {
	return func(lines [][]byte) [][]byte { return slices.Delete(lines, line-1, line) }
}

func swap(a, b int) func([][]byte) [][]byte {
	return func(lines [][]byte) [][]byte {
		lines[a-1], lines[b-1] = lines[b-1], lines[a-1]
		return lines
	}
}

func repeat(line int) func([][]byte) [][]byte {
	return func(lines [][]byte) [][]byte { return slices.Insert(lines, line, bytes.Clone(lines[line-1])) }
}

func cutAt(line int) func([][]byte) [][]byte {
	return func(lines [][]byte) [][]byte {
		return append(lines[:line-1:line-1], lines[line-1][:20])
	}
}

func TestARunThatHolds(t *testing.T) {
	r, err := Check(makeRun(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"run r holds", "steps 1 to 5, 0 skipped, 2 generations", "items        40: 4 micro-batches of 2", "by 2 workers", "checkpoints  1,"} {
		if !strings.Contains(r.Summary(), want) {
			t.Errorf("summary has no %q:\n%s", want, r.Summary())
		}
	}
}

func TestATamperedLedgerIsNamed(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func([][]byte) [][]byte
		want   []string // Exactly these problems, as prefixes.
	}{
		{"a changed line", replace(2, `"a"`, `"x"`), []string{"ledger.jsonl line 3: previous is "}},
		{"a removed line", remove(3), []string{"ledger.jsonl line 3: previous is ", "ledger.jsonl line 3: step is 4, want 3", "metrics.jsonl line 3: is of step 3, which ledger.jsonl does not have"}},
		{"the first line removed", remove(1), []string{"ledger.jsonl line 1: previous is ", "ledger.jsonl line 1: step is 2, want 1", "metrics.jsonl line 1: is of step 1, which ledger.jsonl does not have"}},
		{"lines swapped", swap(2, 3), []string{
			"ledger.jsonl line 2: previous is ", "ledger.jsonl line 2: step is 3, want 2", "ledger.jsonl line 3: previous is ",
			"ledger.jsonl line 3: step is 2, want 4", "ledger.jsonl line 3: generation is 1 after 3: generations only grow", "ledger.jsonl line 4: previous is ",
			"ledger.jsonl line 4: step is 4, want 3",
		}},
		{"a repeated line", repeat(4), []string{"ledger.jsonl line 5: previous is ", "ledger.jsonl line 5: step is 4, want 5"}},
		{"a file cut within a line", cutAt(5), []string{"ledger.jsonl line 5: the line is cut off"}},
		{"a file cut before the checkpoint", cutAt(4), []string{
			"ledger.jsonl line 4: the line is cut off", "checkpoints/step-000004: is of step 4, but ledger.jsonl ends at step 3", "metrics.jsonl line 5: is of step 5, which ledger.jsonl does not have",
		}},
		{"no line", func([][]byte) [][]byte { return nil }, []string{
			"ledger.jsonl: has no line", "checkpoints/step-000004: is of step 4", "metrics.jsonl line 2: is of step 2", "metrics.jsonl line 3: ", "metrics.jsonl line 4: ", "metrics.jsonl line 5: ",
		}},
		{"a line that is not JSON", replace(5, `"step"`, `step`), []string{"ledger.jsonl line 5: is no ledger line: "}},
		{"a micro-batch twice", rechained(replace(2, `[1,3]`, `[1,2,3]`)), []string{"ledger.jsonl line 2: micro-batch 2 counts twice: of a and of b"}},
		{"a micro-batch missing", rechained(replace(4, `[0,1,2,3]`, `[0,1,3]`)), []string{"ledger.jsonl line 4: micro-batch 2 of 0…3 is missing"}},
		{"a micro-batch too many", rechained(replace(4, `[0,1,2,3]`, `[0,1,2,3,4,-1]`)), []string{
			"ledger.jsonl line 4: micro-batch 4 of b is not among 0…3", "ledger.jsonl line 4: micro-batch -1 of b is not among 0…3",
		}},
		{"a nameless node", rechained(replace(4, `"b"`, `""`)), []string{
			"ledger.jsonl line 4: a share names no node", "ledger.jsonl line 4: micro-batch 0", "ledger.jsonl line 4: micro-batch 1",
			"ledger.jsonl line 4: micro-batch 2", "ledger.jsonl line 4: micro-batch 3",
		}},
		{"other items", rechained(replace(3, `"items":8`, `"items":9`)), []string{
			"ledger.jsonl line 3: items is 9, the plan has 8", "metrics.jsonl line 3: items is 8, line 3 of ledger.jsonl has 9",
		}},
		{"a generation that falls", rechained(replace(5, `"generation":3`, `"generation":2`)), []string{
			"ledger.jsonl line 5: generation is 2 after 3", "metrics.jsonl line 5: generation is 3, line 5 of ledger.jsonl has 2",
		}},
		{"a generation from nowhere", rechained(replace(5, `"generation":3`, `"generation":7`)), []string{
			"ledger.jsonl line 5: generation is 7, the manifest's max_generation is 3", "metrics.jsonl line 5: generation is 3",
		}},
		{"other sums", rechained(replace(5, digestOf("sums5"), digestOf("x"))), []string{"metrics.jsonl line 5: sums_sha256 is " + digestOf("sums5")}},
		{"other parameters", rechained(replace(1, digestOf("params1"), digestOf("x"))), []string{"metrics.jsonl line 1: params_sha256 is " + digestOf("params1")}},
		{"no digest", rechained(replace(1, digestOf("params1"), "")), []string{`ledger.jsonl line 1: params_sha256 is "", want 64 hexadecimal digits`, "metrics.jsonl line 1: "}},
		{"a skipped step", rechained(replace(2, `"items":8`, `"items":8,"skipped":true`)), []string{"metrics.jsonl line 2: skipped is false, line 2 of ledger.jsonl has true"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := makeRun(t)
			edit(t, filepath.Join(dir, ledgerFile), test.change)
			expect(t, dir, test.want)
		})
	}
}

// expect checks that Check finds exactly the problems that start with want, whatever their order.
func expect(t *testing.T, dir string, want []string) {
	t.Helper()
	_, err := Check(dir)
	var broken *BrokenError
	if !errors.As(err, &broken) {
		t.Fatalf("got %v, want a *BrokenError", err)
	}
	got := make([]string, len(broken.Problems))
	for i, p := range broken.Problems {
		got[i] = p.String()
		for _, w := range want {
			if strings.HasPrefix(got[i], w) {
				got[i] = w
			}
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("problems (-got +want):\n%s", diff)
	}
}

func TestOtherFilesOfTheRunMustAgree(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(t *testing.T, dir string)
		want   []string
	}{
		{"metrics cut short", func(t *testing.T, dir string) { edit(t, filepath.Join(dir, metricsFile), remove(5)) },
			[]string{"metrics.jsonl: ends at step 4, ledger.jsonl at step 5"}},
		{"metrics changed", func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, metricsFile), replace(3, digestOf("sums3"), digestOf("x")))
		}, []string{"metrics.jsonl line 3: sums_sha256 is " + digestOf("x")}},
		{"a changed weight", func(t *testing.T, dir string) { write(t, dir, "unet/w", "weightz") },
			[]string{"checkpoints/step-000004: checkpoint "}},
		{"a file that nobody vouches for", func(t *testing.T, dir string) { write(t, dir, "unet/x", "") },
			[]string{"checkpoints/step-000004: unet/x is not in SHA256SUMS"}},
		{"no SHA256SUMS", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "checkpoints", "step-000004", sumsFile)); err != nil {
				t.Fatal(err)
			}
		}, []string{"checkpoints: step-000004 has no SHA256SUMS"}},
		{"SHA256SUMS damaged", func(t *testing.T, dir string) { write(t, dir, sumsFile, "x\n") }, []string{"checkpoints: "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := makeRun(t)
			test.change(t, dir)
			expect(t, dir, test.want)
		})
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "checkpoints", "step-000004", filepath.FromSlash(name)), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestACrashBetweenTheFilesIsNoFault: metrics are written before the ledger.
func TestACrashBetweenTheFilesIsNoFault(t *testing.T) {
	dir := makeRun(t)
	edit(t, filepath.Join(dir, ledgerFile), remove(5))
	if _, err := Check(dir); err != nil {
		t.Errorf("metrics one step ahead: %v", err)
	}
}

func TestALongErrorIsCut(t *testing.T) {
	dir := makeRun(t)
	edit(t, filepath.Join(dir, ledgerFile), func(lines [][]byte) [][]byte { slices.Reverse(lines); return lines })
	_, err := Check(dir)
	if err == nil || strings.Count(err.Error(), "; ") > shownProblems || !strings.Contains(err.Error(), " more") {
		t.Errorf("got %v, want %d problems and the number of the others", err, shownProblems)
	}
}

func TestCompareNamesWhatDiffers(t *testing.T) {
	r, err := Check(makeRun(t))
	if err != nil {
		t.Fatal(err)
	}
	same := wire.StepReport{Step: 3, LearningRate: 1e-3, SumsSHA256: digestOf("sums3"), ParamsSHA256: digestOf("params3")}
	if err := r.Compare(same, Origin{}); err != nil {
		t.Errorf("the same step: %v", err)
	}
	for _, test := range []struct {
		change func(*wire.StepReport)
		want   string
	}{
		{func(s *wire.StepReport) { s.SumsSHA256 = digestOf("x") }, "step 3 computed again has sums_sha256 " + digestOf("x") + ", ledger.jsonl line 3 has " + digestOf("sums3") + ": the ledger, the state at step 0"},
		{func(s *wire.StepReport) { s.ParamsSHA256 = digestOf("x") }, "params_sha256"},
		{func(s *wire.StepReport) { s.Skipped = true }, "skipped true"},
		{func(s *wire.StepReport) { s.ParamsSHA256, s.LearningRate = digestOf("x"), 2e-3 }, "was 0.001, by the manifest it is 0.002"},
	} {
		s := same
		test.change(&s)
		if err := r.Compare(s, Origin{}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want an error with %q", err, test.want)
		}
	}
}

func TestOriginRefusesStepsThatAreNotThere(t *testing.T) {
	r, err := Check(makeRun(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{-1, 0, 6} {
		if _, err := r.Origin(t.Context(), n, ""); err == nil || !strings.Contains(err.Error(), "from 1 to 5") {
			t.Errorf("step %d: %v, want an error with the steps there are", n, err)
		}
	}
}

// TestLastStepOfARunThatWasResumedForLonger: learning rates depend on the end that a step was
// computed towards.
func TestLastStepOfARunThatWasResumedForLonger(t *testing.T) {
	r, err := Check(makeRun(t))
	if err != nil {
		t.Fatal(err)
	}
	r.Config.Steps = 3
	for n, want := range map[int]int{1: 3, 3: 3, 4: steps, 5: steps} {
		if got := r.LastStep(n); got != want {
			t.Errorf("step %d was computed towards %d, want %d", n, got, want)
		}
	}
}

func TestOrigin(t *testing.T) {
	dir := makeRun(t)
	store, err := latents.Open(filepath.Join(dir, "latents"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Check(dir)
	if err != nil {
		t.Fatal(err)
	}
	var keys, files []string
	for _, id := range []string{"b", "a"} {
		s := &latents.Shard{
			PairIDs: []string{id}, MomentsShape: []int{2, 1, 1}, EmbedsShape: []int{1, 1},
			Winner: make([]float32, 2), Loser: make([]float32, 2), Embeds: make([]float32, 1), Key: latents.Key([]string{id}, "e", "p", "k"),
		}
		if err := store.Put(s); err != nil {
			t.Fatal(err)
		}
		path, err := store.Path(s.Key)
		if err != nil {
			t.Fatal(err)
		}
		keys, files = append(keys, s.Key), append(files, path)
	}
	if _, err := r.Origin(t.Context(), 5, ""); err == nil || !strings.Contains(err.Error(), "order of the 2 shards") {
		t.Errorf("two shards and no order: %v, want an error", err)
	}
	if err := store.SetOrder(keys); err != nil {
		t.Fatal(err)
	}
	got, err := r.Origin(t.Context(), 5, "")
	want := Origin{Step: checkpoint, Base: r.Checkpoints[0].Dir, State: r.Checkpoints[0].Dir, Shards: files}
	if diff := cmp.Diff(got, want); err != nil || diff != "" {
		t.Errorf("%v (-got +want):\n%s", err, diff)
	}
	// A checkpoint of the step itself is of no use to compute it again.
	if _, err := r.Origin(t.Context(), checkpoint, t.TempDir()); err == nil || !strings.Contains(err.Error(), "the run was started on") {
		t.Errorf("step %d from a folder that is not the base model: %v, want an error", checkpoint, err)
	}
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Origin(t.Context(), 5, ""); !errors.Is(err, latents.ErrNotFound) {
		t.Errorf("a shard is gone: %v, want %v", err, latents.ErrNotFound)
	}
}
