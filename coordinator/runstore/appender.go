package runstore

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"yohaku/internal/atomicfile"
	"yohaku/internal/wire"
)

// appender adds JSON lines to a file. A line cut off by a crash is dropped at the next opening.
type appender struct{ file *os.File }

func openAppender(path string) (*appender, error) {
	if err := keepLines(path, func([]byte) bool { return true }); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &appender{f}, nil
}

// Append writes one line in one call, so that a reader never sees half of it unless the disk is full.
func (a *appender) Append(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode line of %s: %w", a.file.Name(), err)
	}
	if _, err := a.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("append to %s: %w; free some space and --resume the run", a.file.Name(), err)
	}
	return nil
}

// Sync makes the lines durable.
func (a *appender) Sync() error { return a.file.Sync() }

// Close closes the file.
func (a *appender) Close() error { return a.file.Close() }

// keepLines rewrites the file at path with its whole, valid JSON lines for which keep is true.
// A file that is complete already, or absent, is left alone.
func keepLines(path string, keep func(line []byte) bool) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	var kept []byte
	r := bufio.NewReader(bytes.NewReader(data))
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break // An unfinished last line is dropped with it.
		}
		if json.Valid(line) && keep(line) {
			kept = append(kept, line...)
		}
	}
	if bytes.Equal(kept, data) {
		return nil
	}
	return atomicfile.Write(path, kept)
}

// keepSteps keeps the lines of steps up to last.
func keepSteps(path string, last int) error {
	return keepLines(path, func(line []byte) bool {
		var at struct{ Step int }
		return json.Unmarshal(line, &at) == nil && at.Step <= last
	})
}

// AppendStep records a committed step in metrics.jsonl, the ledger and the TensorBoard events. The
// step has one share for each of its nodes.
func (r *Run) AppendStep(s wire.StepReport) error {
	if err := r.metrics.Append(s); err != nil {
		return err
	}
	if err := r.ledger.append(s); err != nil {
		return err
	}
	if r.events == nil {
		var err error
		if r.events, err = createEventFile(r.Dir, time.Now()); err != nil {
			return err
		}
	}
	return r.events.appendStep(s)
}

// SyncLogs makes all recorded steps durable; the caller does so before it names a checkpoint.
func (r *Run) SyncLogs() error {
	err := errors.Join(r.metrics.Sync(), r.ledger.file.Sync())
	if r.events != nil {
		err = errors.Join(err, r.events.file.Sync())
	}
	return err
}

// LastStep is the last step that both metrics and ledger have; the zero report when there is none. A
// crash may fall between the two, so both are cut back to it.
func (r *Run) LastStep() (wire.StepReport, error) {
	metrics, err := lastLine(r.Path("metrics.jsonl"), wire.StepReport{})
	if err != nil {
		return metrics, err
	}
	ledger, err := lastLine(r.Path("ledger.jsonl"), LedgerLine{})
	if err != nil || metrics.Step == ledger.Step {
		return metrics, err
	}
	if err := r.RewindTo(min(metrics.Step, ledger.Step)); err != nil {
		return metrics, err
	}
	return lastLine(r.Path("metrics.jsonl"), wire.StepReport{})
}

// lastLine decodes the last line of a file, or returns none when it is empty.
func lastLine[T any](path string, none T) (T, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return none, fmt.Errorf("read run: %w", err)
	}
	data = bytes.TrimRight(data, "\n")
	if len(data) == 0 {
		return none, nil
	}
	last := none
	if err := json.Unmarshal(data[bytes.LastIndexByte(data, '\n')+1:], &last); err != nil {
		return none, fmt.Errorf("read the last line of %s: %w", path, err)
	}
	return last, nil
}

// RewindTo forgets the steps after the checkpoint of step, which will be computed again.
func (r *Run) RewindTo(step int) error {
	if err := r.closeLogs(); err != nil {
		return fmt.Errorf("close logs: %w", err)
	}
	if err := errors.Join(keepSteps(r.Path("metrics.jsonl"), step), keepSteps(r.Path("ledger.jsonl"), step)); err != nil {
		return err
	}
	return r.openLogs()
}
