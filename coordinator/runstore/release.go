package runstore

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"yohaku/internal/atomicfile"
)

// ReleasedName is the file in a checkpoint folder that says by which verdict it was released.
const ReleasedName = "released.json"

// ErrNoCheckpoint reports that the run has no checkpoint of the digest asked for. The caller trains on, or
// judges the run as it is now.
var ErrNoCheckpoint = errors.New("no such checkpoint")

// Release marks the checkpoint of that digest as released, and points final at it.
func (r *Run) Release(digest string, verdict []byte) error {
	k, err := r.ByDigest(digest)
	if err != nil {
		return err
	}
	if err := k.Add(ReleasedName, verdict); err != nil {
		return err
	}
	return r.pointFinal(k.Dir)
}

// Withhold takes the mark from the checkpoint of that digest, if it is there, and removes final, so that
// final leads to no model that failed.
func (r *Run) Withhold(digest string) error {
	if err := r.RemoveFinal(); err != nil {
		return err
	}
	k, err := r.ByDigest(digest)
	if errors.Is(err, ErrNoCheckpoint) {
		return nil
	}
	if err != nil {
		return err
	}
	return k.drop(ReleasedName)
}

// RemoveFinal removes final, if it is there.
func (r *Run) RemoveFinal() error {
	if err := os.Remove(r.Path("final")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove final: %w", err)
	}
	return nil
}

// ByDigest is the newest checkpoint of that canonical digest, or ErrNoCheckpoint.
func (r *Run) ByDigest(digest string) (Checkpoint, error) {
	all, err := r.Checkpoints()
	if err != nil {
		return Checkpoint{}, err
	}
	for _, c := range slices.Backward(all) {
		got, err := c.Digest()
		if err != nil {
			return Checkpoint{}, fmt.Errorf("read checkpoint digest: %w", err)
		}
		if got == digest {
			return c, nil
		}
	}
	return Checkpoint{}, fmt.Errorf("%w: %s has none of digest %.12s…; --resume the run to its end", ErrNoCheckpoint, r.Dir, digest)
}

// Add puts a file beside the weights, and into SHA256SUMS. The canonical digest, of weights and trainer
// state, does not change.
func (c Checkpoint) Add(name string, data []byte) error {
	if err := atomicfile.Write(filepath.Join(c.Dir, name), data); err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	c.Sums[name] = hex.EncodeToString(sum[:])
	return c.writeSums()
}

func (c Checkpoint) drop(name string) error {
	if _, ok := c.Sums[name]; !ok {
		return nil
	}
	delete(c.Sums, name)
	if err := c.writeSums(); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(c.Dir, name)); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

func (c Checkpoint) writeSums() error {
	return atomicfile.Write(filepath.Join(c.Dir, SumsName), c.Sums.text())
}

// ReportedCheckpoint is the digest that report.json names.
func (r *Run) ReportedCheckpoint() (string, error) {
	var report struct {
		CheckpointSHA256 string `json:"checkpoint_sha256"`
	}
	data, err := os.ReadFile(r.Path("report.json"))
	if err == nil {
		err = json.Unmarshal(data, &report)
	}
	if err != nil {
		return "", fmt.Errorf("read report: %w; let the run end, or --resume it", err)
	}
	return report.CheckpointSHA256, nil
}
