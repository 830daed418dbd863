package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"yohaku/coordinator/runstore"
)

// checkRunFolder checks everything that a run leaves behind.
func checkRunFolder(t *testing.T, dir string) {
	t.Helper()
	done := checkReport(t, dir)
	checkMetrics(t, dir, done)
	checkLedger(t, dir, done)
	checkSums(t, dir)
	checkEvents(t, dir, done)
	leftovers, err := filepath.Glob(filepath.Join(dir, "*", ".*tmp*"))
	if err != nil || len(leftovers) > 0 {
		t.Errorf("half-written files %v, error %v", leftovers, err)
	}
}

// reportKeys are promised to scripts.
var reportKeys = []string{
	"run_id", "steps", "items", "world_sizes", "generations", "checkpoint_sha256", "kernel_set", "loss", "win_rate", "win_rate_low",
	"win_rate_high", "seconds", "rejected_rows", "ties",
}

// checkReport returns the number of steps done.
func checkReport(t *testing.T, dir string) int {
	t.Helper()
	var r map[string]any
	data, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range reportKeys {
		if _, there := r[key]; !there {
			t.Errorf("report.json has no %s", key)
		}
	}
	if r["rejected_rows"] != 1.0 || r["ties"] != 3.0 || r["items"] != r["steps"].(float64)*10 {
		t.Errorf("report: rejected_rows %v, ties %v, items %v of %v steps; want 1, 3, 10 a step", r["rejected_rows"], r["ties"], r["items"], r["steps"])
	}
	var reject struct {
		File, Reason string
		Row          int
	}
	if err := json.Unmarshal([]byte(lines(t, filepath.Join(dir, "rejected.jsonl"))[0]), &reject); err != nil || reject.Row != 10 || reject.Reason == "" || filepath.Base(reject.File) != "pairs.parquet" {
		t.Errorf("rejected.jsonl: %+v, error %v; want row 10, counted from 0, of pairs.parquet with a reason", reject, err)
	}
	return int(r["steps"].(float64))
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // Only read.
	var all []string
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		all = append(all, s.Text())
	}
	if s.Err() != nil || len(all) == 0 {
		t.Fatalf("%s: %d lines, error %v", path, len(all), s.Err())
	}
	return all
}

// checkMetrics: one line a step, in order.
func checkMetrics(t *testing.T, dir string, done int) {
	t.Helper()
	all := lines(t, filepath.Join(dir, "metrics.jsonl"))
	if len(all) != done {
		t.Errorf("metrics.jsonl has %d lines after %d steps", len(all), done)
	}
	for i, line := range all {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil || m["step"] != float64(i+1) {
			t.Errorf("line %d of metrics.jsonl: step %v, error %v", i+1, m["step"], err)
		}
		for _, key := range []string{"loss", "loss_mse", "loss_ratio", "winner_mse", "loser_mse", "log_odds", "grad_norm", "learning_rate", "items_per_second"} {
			if _, number := m[key].(float64); !number {
				t.Fatalf("line %d of metrics.jsonl: %s is %v", i+1, key, m[key])
			}
		}
	}
}

// checkLedger: the chain holds, and every step's micro-batches are shared out once.
func checkLedger(t *testing.T, dir string, done int) {
	t.Helper()
	all := lines(t, filepath.Join(dir, "ledger.jsonl"))
	if len(all) != done {
		t.Errorf("ledger.jsonl has %d lines after %d steps", len(all), done)
	}
	previous, generation := "", uint64(0)
	for i, line := range all {
		var l runstore.LedgerLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("line %d of ledger.jsonl: %v", i+1, err)
		}
		var shared []int
		for _, s := range l.Shares {
			shared = append(shared, s.MicroBatches...)
		}
		slices.Sort(shared)
		if l.Previous != previous || l.Step != i+1 || l.Generation < generation || !slices.Equal(shared, []int{0, 1, 2, 3, 4}) {
			t.Errorf("line %d of ledger.jsonl: step %d, generation %d after %d, shares %v, previous %s, want %s", i+1, l.Step, l.Generation, generation, shared, l.Previous, previous)
		}
		sum := sha256.Sum256([]byte(line))
		previous, generation = hex.EncodeToString(sum[:]), l.Generation
	}
}

// checkTookPart: the worker's name stands in the shares of some step, and of none before first.
func checkTookPart(t *testing.T, dir, name string, first int) {
	t.Helper()
	count := 0
	for _, line := range lines(t, filepath.Join(dir, "ledger.jsonl")) {
		var l runstore.LedgerLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		for _, s := range l.Shares {
			if !strings.HasPrefix(s.Node, name+"-") || len(s.MicroBatches) == 0 {
				continue
			}
			count++
			if l.Step < first {
				t.Errorf("%s took part in step %d, before step %d", name, l.Step, first)
			}
		}
	}
	if count == 0 {
		t.Errorf("%s took part in no step", name)
	}
}

// checkSums: every checkpoint's SHA256SUMS names every file and holds, and final is the last one.
func checkSums(t *testing.T, dir string) {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(dir, "checkpoints", "step-*"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("checkpoints %v, error %v", folders, err)
	}
	for _, folder := range folders {
		named := map[string]bool{"SHA256SUMS": true}
		for _, line := range lines(t, filepath.Join(folder, "SHA256SUMS")) {
			want, name, _ := strings.Cut(line, "  ")
			data, err := os.ReadFile(filepath.Join(folder, name))
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != want {
				t.Errorf("%s of %s does not have its SHA-256", name, folder)
			}
			named[name] = true
		}
		err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
			if rel, _ := filepath.Rel(folder, path); err == nil && !d.IsDir() && !named[rel] {
				t.Errorf("SHA256SUMS of %s leaves %s out", folder, rel)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	target, err := os.Readlink(filepath.Join(dir, "final"))
	slices.Sort(folders)
	if err != nil || filepath.Base(target) != filepath.Base(folders[len(folders)-1]) {
		t.Errorf("final leads to %s, error %v; want the last checkpoint", target, err)
	}
}

// checkEvents reads the TensorBoard files frame by frame with their checksums.
//
// Source: tensorflow/core/lib/io/record_writer.h.
func checkEvents(t *testing.T, dir string, done int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("event files %v, error %v", files, err)
	}
	scalars := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for first := true; len(data) > 0; first = false {
			n := binary.LittleEndian.Uint64(data)
			if binary.LittleEndian.Uint32(data[8:]) != maskedCRC(data[:8]) || uint64(len(data)) < 16+n {
				t.Fatalf("%s: a frame's length is damaged", file)
			}
			event := data[12 : 12+n]
			if binary.LittleEndian.Uint32(data[12+n:]) != maskedCRC(event) {
				t.Fatalf("%s: a frame's data is damaged", file)
			}
			if first && !strings.Contains(string(event), "brain.Event:2") {
				t.Errorf("%s does not begin with the version", file)
			}
			if strings.Contains(string(event), "train/loss") {
				scalars++
			}
			data = data[16+n:]
		}
	}
	if scalars < done { // Steps done again stand there twice.
		t.Errorf("%d events with scalars after %d steps", scalars, done)
	}
}

func maskedCRC(data []byte) uint32 {
	c := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	return (c>>15 | c<<17) + 0xa282ead8
}
