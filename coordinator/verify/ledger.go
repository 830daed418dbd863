package verify

import (
	"encoding/json"
	"regexp"

	"yohaku/coordinator/runstore"
	"yohaku/internal/epoch"
)

const ledgerFile = "ledger.jsonl"

// Rules are what the run's configuration asks of every line.
type Rules struct {
	MicroBatches  int    // M: a step's micro-batches are 0…M−1.
	Items         int    // Of a step, by the plan.
	MaxGeneration uint64 // The highest that the manifest knows.
}

// step is what other files are compared with of a ledger line.
type step struct {
	Line         int    `json:"-"`
	Epoch        uint64 `json:"epoch"`
	Generation   uint64 `json:"generation"`
	Step         int    `json:"step"`
	Items        int    `json:"items"`
	Skipped      bool   `json:"skipped"`
	SumsSHA256   string `json:"sums_sha256"`
	ParamsSHA256 string `json:"params_sha256"`
}

// ledger is the state of reading one.
type ledger struct {
	problems
	rules      Rules
	previous   string // SHA-256 of the line before.
	next       int    // The step that must come.
	epoch      uint64
	generation uint64
	steps      map[int]step
	last       int            // The highest step.
	nodes      map[string]int // Micro-batches by node.
	skipped    int
	worlds     map[uint64]bool
}

// readLedger checks the ledger of the run in dir by itself.
func readLedger(dir string, rules Rules) (*ledger, error) {
	l := &ledger{problems: problems{file: ledgerFile}, rules: rules, next: 1, steps: map[int]step{}, nodes: map[string]int{}, worlds: map[uint64]bool{}}
	err := eachLine(dir, ledgerFile, l.line)
	if l.previous == "" && len(l.all) == 0 {
		l.add(0, "has no line: no step was committed, or the ledger is gone")
	}
	return l, err
}

// line checks one line against those before it.
func (l *ledger) line(number int, data []byte, whole bool) {
	if !whole {
		l.add(number, "%s", cutOff)
		return
	}
	previous := l.previous
	l.previous = runstore.LineDigest(data)
	var line runstore.LedgerLine
	if err := json.Unmarshal(data, &line); err != nil {
		l.add(number, "is no ledger line: %v", err)
		l.next++
		return
	}
	l.chain(number, line.Previous, previous)
	l.order(number, line)
	l.shares(number, line.Shares)
	if line.Items != l.rules.Items {
		l.add(number, "items is %d, the plan has %d in every step", line.Items, l.rules.Items)
	}
	for _, d := range []struct{ key, value string }{{"sums_sha256", line.SumsSHA256}, {"params_sha256", line.ParamsSHA256}} {
		if !digestForm.MatchString(d.value) {
			l.add(number, "%s is %q, want 64 hexadecimal digits", d.key, d.value)
		}
	}
	if line.Skipped {
		l.skipped++
	}
	l.last = max(l.last, line.Step)
	if _, twice := l.steps[line.Step]; !twice {
		l.steps[line.Step] = step{number, line.Epoch, line.Generation, line.Step, line.Items, line.Skipped, line.SumsSHA256, line.ParamsSHA256}
	}
}

var digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// chain: each line holds the SHA-256 of the one before it, the first none.
func (l *ledger) chain(number int, got, want string) {
	switch {
	case got == want:
	case want == "":
		l.add(number, "previous is %.16s…, the first line has none: lines before it are gone", got)
	case got == "":
		l.add(number, "previous is empty, but line %d stands before it, with SHA-256 %.16s…: a line was added or moved", number-1, want)
	default:
		l.add(number, "previous is %.16s…, line %d has SHA-256 %.16s…: line %d was changed, or lines were removed, added or moved here", got, number-1, want, number-1)
	}
}

// order: steps count from 1 without gap or repeat, generations only grow.
func (l *ledger) order(number int, line runstore.LedgerLine) {
	if line.Step != l.next {
		l.add(number, "step is %d, want %d: steps count from 1 without gap or repeat", line.Step, l.next)
	}
	l.next = line.Step + 1
	switch {
	case line.Generation == 0:
		l.add(number, "generation is 0, they count from 1")
	case line.Generation < l.generation:
		l.add(number, "generation is %d after %d: generations only grow", line.Generation, l.generation)
	case line.Epoch < l.epoch:
		l.add(number, "epoch is %s after %s: epochs only grow", epoch.String(line.Epoch), epoch.String(l.epoch))
	case line.Generation > l.rules.MaxGeneration:
		l.add(number, "generation is %d, the manifest's max_generation is %d", line.Generation, l.rules.MaxGeneration)
	}
	l.epoch, l.generation = max(l.epoch, line.Epoch), max(l.generation, line.Generation)
	l.worlds[line.Generation] = true
}

// shares: every micro-batch counts exactly once.
func (l *ledger) shares(number int, shares []runstore.Share) {
	by := make([]string, l.rules.MicroBatches)
	for _, s := range shares {
		if s.Node == "" {
			l.add(number, "a share names no node")
		}
		for _, mb := range s.MicroBatches {
			switch {
			case mb < 0 || mb >= len(by):
				l.add(number, "micro-batch %d of %s is not among 0…%d", mb, s.Node, len(by)-1)
				continue
			case by[mb] != "":
				l.add(number, "micro-batch %d counts twice: of %s and of %s", mb, by[mb], s.Node)
			}
			by[mb] = s.Node
			l.nodes[s.Node]++
		}
	}
	for mb, node := range by {
		if node == "" {
			l.add(number, "micro-batch %d of 0…%d is missing: no share has it", mb, len(by)-1)
		}
	}
}
