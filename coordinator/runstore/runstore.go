// Package runstore is the run folder, the one place where a run is kept:
//
//	OUT/<run_id>/
//	  manifest.json      configuration, seed, data digest, kernel set, version
//	  metrics.jsonl      one line a committed step
//	  ledger.jsonl       one line a committed step: generation, micro-batches, digests, chained
//	  events.out.tfevents.*  the same figures for TensorBoard
//	  rejected.jsonl     rows set aside, with the reason
//	  blobs/             content-addressed files: batches, pictures
//	  latents/           encoded pairs: shards, and order.txt, their keys in the order of the pairs
//	  checkpoints/step-NNNNNN/   a diffusers folder, trainer_state.safetensors, SHA256SUMS
//	  final              → the last checkpoint; with --gate, or after `coordinator gate`, only one that passed
//	  samples/           before and after
//	  report.json        the answer
//	  gate.json          the verdict of the last gate
//
// Whole files are written atomically; appended files are cut back when training goes back to a
// checkpoint, so a step never stands in them twice.
package runstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"yohaku/internal/atomicfile"
)

// ErrExists reports that a run of this id is there already. The caller picks another id or resumes.
var ErrExists = errors.New("run exists")

const manifestName = "manifest.json"

// Manifest says what the run is, so that it can be resumed and reproduced.
type Manifest struct {
	RunID         string          `json:"run_id"`
	Version       string          `json:"version"`
	Created       time.Time       `json:"created"`
	Config        json.RawMessage `json:"config"`
	Seed          uint64          `json:"seed"`
	DataName      string          `json:"data_name"`
	DataDigest    string          `json:"data_digest"`
	ModelDigest   string          `json:"model_digest"`
	KernelSet     string          `json:"kernel_set,omitempty"`
	Pairs         int             `json:"pairs"`
	Ties          int             `json:"ties"`
	RejectedRows  int             `json:"rejected_rows"`
	Licenses      map[string]int  `json:"licenses,omitempty"` // Pairs by what the data says of them; the others say nothing.
	Origins       map[string]int  `json:"origins,omitempty"`
	Epoch         uint64          `json:"epoch"`
	MaxGeneration uint64          `json:"max_generation"`
	WorldSizes    []int           `json:"world_sizes"`
}

// Run is an open run folder, locked for this process.
type Run struct {
	Dir        string
	Manifest   Manifest
	Unfinished bool // Closed as it is, the same command takes the run up again.
	Gated      bool // Final leads only to a checkpoint that Release names.
	lock       *lock
	metrics    *appender
	ledger     *ledger
	events     *eventFile // Made with the first step, so that none is empty.
}

// Create makes the folder of a new run under out. It returns ErrExists when the id is taken.
func Create(out string, m Manifest) (*Run, error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, fmt.Errorf("--out: create folder %s: %w; name a folder that can be written", out, err)
	}
	dir := filepath.Join(out, m.RunID)
	if err := os.Mkdir(dir, 0o755); err != nil {
		if errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("%w: %s; give another --run-id, or --resume %s to continue it", ErrExists, dir, m.RunID)
		}
		return nil, fmt.Errorf("--out: create run folder: %w; name a folder that can be written", err)
	}
	r := &Run{Dir: dir, Manifest: m}
	if err := r.open(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return r, nil
}

// Open locks the run folder dir to continue the run.
func Open(dir string) (*Run, error) {
	m, err := ReadManifest(dir)
	if err != nil {
		return nil, err
	}
	r := &Run{Dir: dir, Manifest: m}
	return r, r.open()
}

// ReadManifest reads the manifest of the run in dir.
func ReadManifest(dir string) (Manifest, error) {
	var m Manifest
	path := filepath.Join(dir, manifestName)
	data, err := os.ReadFile(path)
	if err != nil {
		return m, fmt.Errorf("%s is no run folder: %w", dir, err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("read %s: %w", path, err)
	}
	return m, nil
}

// open locks the folder, makes its sub-folders and opens the appended files.
func (r *Run) open() error {
	var err error
	if r.lock, err = acquire(r.Dir); err != nil {
		return err
	}
	r.Unfinished = r.lock.died
	for _, dir := range []string{"blobs", "checkpoints", "samples"} {
		if err := os.MkdirAll(r.Path(dir), 0o755); err != nil {
			return errors.Join(fmt.Errorf("create folder: %w", err), r.Close())
		}
	}
	if err := errors.Join(r.removeUnfinished(), r.SaveManifest()); err != nil {
		return errors.Join(err, r.Close())
	}
	if err := r.openLogs(); err != nil {
		return errors.Join(err, r.Close())
	}
	return nil
}

func (r *Run) openLogs() error {
	var err error
	if r.metrics, err = openAppender(r.Path("metrics.jsonl")); err != nil {
		return err
	}
	r.ledger, err = openLedger(r.Path("ledger.jsonl"))
	return err
}

// Path is the path of a file in the run folder.
func (r *Run) Path(elem ...string) string {
	return filepath.Join(append([]string{r.Dir}, elem...)...)
}

// SaveManifest writes manifest.json.
func (r *Run) SaveManifest() error { return r.WriteJSON(manifestName, r.Manifest) }

// WriteJSON replaces a file of the run folder by v, indented.
func (r *Run) WriteJSON(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return atomicfile.Write(r.Path(name), append(data, '\n'))
}

// WriteLines replaces a file of the run folder by one JSON line for each row.
func WriteLines[T any](r *Run, name string, rows []T) error {
	var data []byte
	for _, row := range rows {
		line, err := json.Marshal(row)
		if err != nil {
			return fmt.Errorf("encode %s: %w", name, err)
		}
		data = append(append(data, line...), '\n')
	}
	return atomicfile.Write(r.Path(name), data)
}

// Close closes the files and gives the lock back. It may be called on a half-open run.
func (r *Run) Close() error {
	err := r.closeLogs()
	if r.lock != nil {
		err = errors.Join(err, r.lock.release(r.Unfinished))
	}
	r.lock = nil
	return err
}

// closeLogs closes those of the appended files that are open.
func (r *Run) closeLogs() error {
	var errs []error
	if r.metrics != nil {
		errs = append(errs, r.metrics.Close())
	}
	if r.ledger != nil {
		errs = append(errs, r.ledger.Close())
	}
	if r.events != nil {
		errs = append(errs, r.events.Close())
	}
	r.metrics, r.ledger, r.events = nil, nil, nil
	return errors.Join(errs...)
}
