package runstore

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"yohaku/internal/wire"
)

// EachStep gives the recorded steps after one of the run in dir to visit, in order, until it returns
// false. It may be called while the run goes on: a line that is being written is left out.
func EachStep(dir string, after int, visit func(wire.StepReport) bool) error {
	path := filepath.Join(dir, "metrics.jsonl")
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read run: %w", err)
	}
	defer f.Close() // Only read.
	r := bufio.NewReaderSize(f, 1<<16)
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		var s wire.StepReport
		if err := json.Unmarshal(line, &s); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if s.Step > after && !visit(s) {
			return nil
		}
	}
}
