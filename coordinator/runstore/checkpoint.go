package runstore

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"yohaku/internal/atomicfile"
	"yohaku/internal/wire"
)

// digestName holds the canonical digest.
const digestName = "digest.txt"

// File is one file of a checkpoint to be: a path in its folder, and where its content is now.
type File struct {
	Path   string // Slash-separated, relative.
	Source string
	SHA256 string
	Own    bool // The source is the run's own, synced, and never changes: the folder gets it without a copy.
}

// Checkpoint is a finished checkpoint folder.
type Checkpoint struct {
	Step int
	Dir  string
	Sums Sums // SHA-256 by slash-separated path.
}

// checkpointDir is the folder of the checkpoint after step.
func (r *Run) checkpointDir(step int) string {
	return r.Path("checkpoints", fmt.Sprintf("step-%06d", step))
}

// temporaryPattern names the folders of checkpoints that are being made.
const temporaryPattern = ".step-*.tmp"

// removeUnfinished removes what checkpoints left that a crash cut off.
func (r *Run) removeUnfinished() error {
	left, err := filepath.Glob(r.Path("checkpoints", temporaryPattern))
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		return fmt.Errorf("remove unfinished checkpoint: %w", err)
	}
	return nil
}

// SaveCheckpoint makes the folder checkpoints/step-NNNNNN of files, with SHA256SUMS and, as
// digest.txt, the checkpoint's canonical digest, and points final at it unless the run is gated. The folder appears whole or not at all.
func (r *Run) SaveCheckpoint(step int, digest string, files []File) error {
	return r.AdoptCheckpoint(step, func(dir string) error { return fillCheckpoint(dir, digest, files) })
}

// AdoptCheckpoint is SaveCheckpoint for a folder that fill writes whole.
func (r *Run) AdoptCheckpoint(step int, fill func(dir string) error) error {
	dir := r.checkpointDir(step)
	tmp, err := os.MkdirTemp(r.Path("checkpoints"), temporaryPattern)
	if err != nil {
		return fmt.Errorf("create checkpoint folder: %w", err)
	}
	defer os.RemoveAll(tmp) // Gone already when the rename went well.
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fmt.Errorf("checkpoint folder: %w", err)
	}
	if err := fill(tmp); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil { // Of an earlier attempt at the same step.
		return fmt.Errorf("replace checkpoint: %w", err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("finish checkpoint: %w", err)
	}
	if err := atomicfile.SyncDir(r.Path("checkpoints")); err != nil {
		return err
	}
	if r.Gated {
		return nil // Final waits for the gate.
	}
	return r.pointFinal(dir)
}

func fillCheckpoint(dir, digest string, files []File) error {
	k := Checkpoint{Dir: dir, Sums: Sums{}}
	for _, f := range files {
		to := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return fmt.Errorf("create checkpoint folder: %w", err)
		}
		if err := f.fill(to); err != nil {
			return err
		}
		k.Sums[f.Path] = f.SHA256
	}
	return k.Add(digestName, []byte(digest+"\n"))
}

// fill makes the file at to, as another name of its own source where the file system has that.
func (f File) fill(to string) error {
	if f.Own {
		if err := os.Link(f.Source, to); err == nil {
			return atomicfile.SyncDir(filepath.Dir(to))
		}
	}
	return copyFile(to, f.Source)
}

// copyFile copies a file and syncs it.
func copyFile(to, from string) error {
	return atomicfile.WriteFunc(to, func(w io.Writer) error {
		f, err := os.Open(from)
		if err != nil {
			return err
		}
		defer f.Close() // Only read.
		_, err = io.Copy(w, f)
		return err
	})
}

// pointFinal makes `final` lead to dir: a relative link, or a text file where links are not allowed.
func (r *Run) pointFinal(dir string) error {
	target, err := filepath.Rel(r.Dir, dir)
	if err != nil {
		return fmt.Errorf("point final: %w", err)
	}
	tmp := r.Path(".final.tmp")
	_ = os.Remove(tmp) // Of a crash.
	if err := os.Symlink(target, tmp); err != nil {
		return atomicfile.Write(r.Path("final"), []byte(target+"\n"))
	}
	if err := os.Rename(tmp, r.Path("final")); err != nil {
		return fmt.Errorf("point final: %w", err)
	}
	return nil
}

// Checkpoints lists the finished checkpoints, oldest first.
func (r *Run) Checkpoints() ([]Checkpoint, error) {
	entries, err := os.ReadDir(r.Path("checkpoints"))
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	var all []Checkpoint
	for _, e := range entries {
		var step int
		if n, err := fmt.Sscanf(e.Name(), "step-%d", &step); n != 1 || err != nil {
			continue
		}
		dir := r.Path("checkpoints", e.Name())
		sums, err := readSums(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, Checkpoint{step, dir, sums})
	}
	slices.SortFunc(all, func(a, b Checkpoint) int { return a.Step - b.Step })
	return all, nil
}

func readSums(dir string) (Sums, error) {
	f, err := os.Open(filepath.Join(dir, SumsName))
	if err != nil {
		return nil, err
	}
	defer f.Close() // Only read.
	sums, err := ReadSums(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; the checkpoint is damaged, remove the folder to use an earlier one", f.Name(), err)
	}
	return sums, nil
}

// Verify reads every file of the checkpoint and compares its digest.
func (c Checkpoint) Verify() error {
	for path, want := range c.Sums {
		ref, err := HashFile(filepath.Join(c.Dir, filepath.FromSlash(path)))
		if err != nil {
			return fmt.Errorf("checkpoint %s: %w; remove the folder to resume from an earlier one", c.Dir, err)
		}
		if ref.SHA256 != want {
			return fmt.Errorf("checkpoint %s: %s has SHA-256 %s, SHA256SUMS says %s; remove the folder to resume from an earlier one", c.Dir, path, ref.SHA256, want)
		}
	}
	return nil
}

// Digest is the checkpoint's canonical digest.
func (c Checkpoint) Digest() (string, error) {
	data, err := os.ReadFile(filepath.Join(c.Dir, digestName))
	return strings.TrimSpace(string(data)), err
}

// HashFile gives the content reference of a file.
func HashFile(path string) (wire.Ref, error) {
	f, err := os.Open(path)
	if err != nil {
		return wire.Ref{}, err
	}
	defer f.Close() // Only read.
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return wire.Ref{}, fmt.Errorf("read %s: %w", path, err)
	}
	return wire.Ref{SHA256: hex.EncodeToString(h.Sum(nil)), Size: n}, nil
}

// Prune removes the oldest checkpoints so that at most limit stay; 0 keeps all.
func (r *Run) Prune(limit int) error {
	all, err := r.Checkpoints()
	if err != nil || limit <= 0 {
		return err
	}
	for _, c := range all[:max(0, len(all)-limit)] {
		if err := os.RemoveAll(c.Dir); err != nil {
			return fmt.Errorf("remove old checkpoint: %w", err)
		}
	}
	return nil
}
