package runstore

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"yohaku/internal/wire"
)

// EachStep gives the recorded steps after one to visit, in order, until it returns
// false. It may be called while the run goes on: a line that is being written is left out.
func (r *Run) EachStep(after int, visit func(wire.StepReport) bool) error {
	path := r.Path("metrics.jsonl")
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read run: %w", err)
	}
	defer f.Close() // Only read.
	lines := bufio.NewReaderSize(f, 1<<16)
	for {
		line, err := lines.ReadBytes('\n')
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
